//! The socket of a client, as its outbox sees it, and its TCP options.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::outbox::Wire;

/// A connected socket, shared by the task that reads it and the outbox that writes it.
#[derive(Clone, Debug)]
pub struct Socket(Arc<TcpStream>);

impl Socket {
    /// Wraps a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }

    /// Returns the stream.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Whether unread input has arrived. Asks the kernel, since the runtime may not know yet: after
    /// the whole process was suspended, timers can fire before events.
    pub fn has_input(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        SockRef::from(&*self.0)
            .peek(&mut byte)
            .is_ok_and(|bytes| bytes > 0)
    }

    /// Lets the kernel detect a dead peer: keep-alive after 60 s of silence, every 10 s, three
    /// times.
    ///
    /// # Errors
    /// The error of the kernel.
    pub fn set_keep_alive(&self) -> io::Result<()> {
        let keep_alive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        SockRef::from(&*self.0).set_tcp_keepalive(&keep_alive)
    }

    /// While we do not read from a client we do not see its heart-beats, so the kernel ends the
    /// connection if sent data is not acknowledged for 60 s. Only then: Linux applies the limit to
    /// a live peer with a closed window too.
    pub fn set_user_timeout(&self, on: bool) {
        #[cfg(target_os = "linux")]
        {
            let limit = on.then_some(Duration::from_secs(60));
            // If this fails the socket is broken, which reading or writing will show.
            let _ = SockRef::from(&*self.0).set_tcp_user_timeout(limit);
        }
    }
}

impl Wire for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
}
