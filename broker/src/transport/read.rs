//! Reading from a socket into a buffer that belongs to the thread, so that an idle connection
//! holds none.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Reads what has arrived, at most 64 KiB; empty at the end of the stream. What is returned is a
/// slice of the thread's buffer: keep it no longer than a step, or copy it.
///
/// # Errors
/// `WouldBlock` if nothing has arrived, or whatever ended the connection.
pub fn read(stream: &TcpStream) -> io::Result<BytesMut> {
    BUFFER.with_borrow_mut(|buffer| {
        // Takes the whole buffer back if nobody holds a slice of it any more.
        buffer.reserve(ROOM);
        let mut done = Ok(0);
        let cleared = stream.try_io(Interest::READABLE, || {
            let room = buffer.capacity() - buffer.len();
            done = stream.try_read_buf(buffer);
            // The kernel has given all it had: to be told so once more would cost another call.
            match done {
                Ok(bytes) if bytes > 0 && bytes < room => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        match (done, cleared) {
            (Ok(0), Err(error)) => Err(error),
            (done, _) => done.map(|_| buffer.split()),
        }
    })
}

/// Reads a stream and throws away what it brings, until its end, `deadline` or 16 MiB. A socket
/// that is closed with unread bytes makes the kernel send a reset, and the peer loses what was
/// written to it last.
pub async fn drain(stream: &TcpStream, deadline: Instant) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    await_end(stream, deadline).await;
}

/// As [`drain`], but leaves the sending side open.
pub async fn await_end(stream: &TcpStream, deadline: Instant) {
    let throw_away = async {
        let mut left = DRAIN_BYTES;
        while stream.readable().await.is_ok() {
            match read(stream) {
                Ok(bytes) if bytes.is_empty() || bytes.len() > left => return,
                Ok(bytes) => left -= bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    // When the time is over it is over: there is nothing to say to anybody.
    let _ = timeout_at(deadline, throw_away).await;
}

/// How long [`drain`] is usually given.
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// The most bytes of one read: large, because what one read brings is routed together.
const ROOM: usize = 64 * 1024;

/// The most bytes that are thrown away.
pub const DRAIN_BYTES: usize = 16 * 1024 * 1024;
