//! Listening sockets and the accept loop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::error::Error;
use crate::metrics::{Counter, Counters, Registry};
use crate::transport::{TCP, WEBSOCKET};

/// Opens a listener at `address`; returns `None` if there is no address.
///
/// # Errors
/// If it cannot be opened; the error names `what` it was for.
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

/// Returns the address of a listener, which with port 0 only the kernel knows.
pub(super) fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

/// Accepts connections of one listener, forever, and counts failures.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    /// The label in metrics and logs.
    name: &'static str,
    errors: Counter,
    unsaid: Unsaid,
}

/// Failures that are not logged yet. Each line covers all failures since the previous one, so that
/// a persistent condition does not fill the log.
#[derive(Debug, Default)]
struct Unsaid {
    count: u64,
    said: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, name: &'static str, errors: &Counters) -> Self {
        Self {
            listener,
            name,
            errors: errors.with(name),
            unsaid: Unsaid::default(),
        }
    }

    /// Returns the next connection.
    pub(super) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                // The client closed the connection first, which is not a failure.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.errors.inc();
                    if let Some(failures) = self.unsaid.add(Instant::now()) {
                        warn!(
                            listener = self.name, failures, %error,
                            "cannot accept connections; is the limit of open files (LimitNOFILE, \
                             ulimit -n) too low?"
                        );
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Passes each connection to `serve`, forever.
    pub(super) async fn serve(mut self, serve: impl Fn(TcpStream, SocketAddr)) {
        loop {
            let (stream, peer) = self.accept().await;
            serve(stream, peer);
        }
    }
}

impl Unsaid {
    /// Counts one failure. Returns the number of failures to log, if a log line is due.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let is_due = |said| now.duration_since(said) >= QUIET;
        if !self.said.is_none_or(is_due) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

/// Registers the counters of failures, one for each listener.
pub(super) fn errors(registry: &Registry) -> Counters {
    registry.counters(
        "stompd_accept_errors_total",
        "Connections that could not be accepted.",
        "listener",
        [WEBSOCKET, TCP, ADMIN],
    )
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
    // Accepted sockets inherit it from the listening one. The broker works without it too, on a
    // kernel that does not know it.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(NOT_SENT);
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Number of connections that the kernel may queue: when a broker restarts, all its clients come
/// back at once. The kernel reduces it to its own limit.
const BACKLOG: u32 = 16 * 1024;

/// The kernel asks for more when less than half of this is unsent, and buffers at most this much.
/// Otherwise it buffers megabytes for a slow client, and asks when a third of them has left.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 128 * 1024;

const PAUSE: Duration = Duration::from_millis(100);

/// Minimum time between two log lines about failures.
const QUIET: Duration = Duration::from_secs(60);

/// The admin port in metrics and logs.
pub(super) const ADMIN: &str = "admin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_of_failures_once_a_minute_and_of_how_many() {
        let begin = Instant::now();
        let mut unsaid = Unsaid::default();
        let mut logged = Vec::new();
        // Ten failures per second, as with a lasting shortage of file descriptors.
        for failure in 0..1300 {
            let now = begin + Duration::from_millis(failure * 100);
            logged.extend(unsaid.add(now));
        }
        assert_eq!(logged, [1, 600, 600]);
    }
}
