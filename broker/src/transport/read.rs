//! Reads from a socket into a buffer that belongs to the thread, so that an idle connection holds
//! none.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Reads what has arrived, at most 64 KiB; empty at the end of the stream. The result is a slice of
/// the thread's buffer: keep it no longer than a step, or copy it.
///
/// # Errors
/// `WouldBlock` if nothing has arrived, or the error that ended the connection.
pub fn read(stream: &TcpStream) -> io::Result<BytesMut> {
    BUFFER.with_borrow_mut(|buffer| {
        // Reclaims the whole buffer if no slice of it is left.
        buffer.reserve(ROOM);
        let mut done = Ok(0);
        let cleared = stream.try_io(Interest::READABLE, || {
            let room = buffer.capacity() - buffer.len();
            done = stream.try_read_buf(buffer);
            // The kernel has returned all it had: asking once more would cost another call.
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

/// Reads and discards input until the end of the stream, `deadline` or 16 MiB. If a socket is
/// closed with unread bytes, the kernel sends a reset, and the peer loses what was written last.
pub async fn drain(stream: &TcpStream, deadline: Instant) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    await_end(stream, deadline).await;
}

/// Like [`drain`], but leaves the sending side open.
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
    // A timeout is not an error: there is nothing left to send.
    let _ = timeout_at(deadline, throw_away).await;
}

/// The usual time limit of [`drain`].
pub const DRAIN_TIME: Duration = Duration::from_secs(5);

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

/// Maximum bytes of one read: large, because the messages of one read are routed together.
const ROOM: usize = 64 * 1024;

/// Maximum number of bytes that are discarded.
pub const DRAIN_BYTES: usize = 16 * 1024 * 1024;
