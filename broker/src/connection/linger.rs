//! Delivers the last bytes of a connection: writes what is queued, shuts down the sending side, and
//! discards input until the peer ends too.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::outbox::{Flushed, Outbox};
use crate::transport;

/// Writes what is queued in the outbox, gives the peer the time of `courtesy` to end first, then
/// drains the stream; `deadline` covers all of it.
pub(super) async fn linger(
    stream: &TcpStream,
    outbox: &Outbox,
    courtesy: Duration,
    deadline: Instant,
) {
    let written = timeout_at(deadline, flush(stream, outbox)).await;
    if matches!(written, Ok(Ok(()))) {
        if !courtesy.is_zero() {
            transport::await_end(stream, deadline.min(Instant::now() + courtesy)).await;
        }
        transport::drain(stream, deadline).await;
    }
}

/// Writes all that is queued. Discards input meanwhile: a peer that is blocked in writing may not
/// read either.
async fn flush(stream: &TcpStream, outbox: &Outbox) -> io::Result<()> {
    let mut interest = Interest::READABLE | Interest::WRITABLE;
    let mut left = transport::DRAIN_BYTES;
    while outbox.flush(Instant::now().into_std())? != Flushed::All {
        let ready = stream.ready(interest).await?;
        if ready.is_readable() {
            match transport::read(stream) {
                Ok(bytes) if bytes.is_empty() => interest = Interest::WRITABLE,
                Ok(bytes) if bytes.len() > left => interest = Interest::WRITABLE,
                Ok(bytes) => left -= bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        // There is no limit to the discarded input, so yield to others.
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(1);
