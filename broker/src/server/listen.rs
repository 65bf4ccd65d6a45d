//! Listening sockets, and the loop that accepts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::sleep;
use tracing::warn;

use crate::error::Error;

/// Opens a listener at `address`; `None` if there is none to open.
///
/// # Errors
/// That it cannot be opened, with `what` it was for.
pub(super) async fn bind(
    what: &'static str,
    address: Option<&str>,
) -> Result<Option<TcpListener>, Error> {
    let Some(address) = address else {
        return Ok(None);
    };
    match open(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) => Err(Error::Listen {
            what,
            address: address.to_owned(),
            source,
        }),
    }
}

/// Where a listener listens, which with port 0 only the kernel knows.
pub(super) fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

/// Gives each connection to `serve`, for ever.
pub(super) async fn accept(listener: TcpListener, serve: impl Fn(TcpStream, SocketAddr)) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => serve(stream, peer),
            // The client was faster than we: nothing is wrong here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection; is the limit of open files (nofile) too low?");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn open(address: &str) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in lookup_host(address).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many connections the kernel may hold for us: when a broker restarts, all its clients come
/// back at once. The kernel cuts it to its own limit.
const BACKLOG: u32 = 16 * 1024;

const PAUSE: Duration = Duration::from_millis(100);
