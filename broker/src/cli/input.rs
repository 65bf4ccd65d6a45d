//! Reads the bodies of the messages to be sent.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin, stdin};

/// Where bodies come from.
#[derive(Debug)]
pub(super) enum Bodies {
    /// One body, and how many more times to send it.
    Same(Bytes, u64),
    /// One body per line, and the part of the next line that has been read.
    Lines(BufReader<Stdin>, Vec<u8>),
}

impl Bodies {
    pub(super) fn lines() -> Self {
        Self::Lines(BufReader::with_capacity(64 << 10, stdin()), Vec::new())
    }

    /// Returns the next body; `None` after the last. May be dropped and called again.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Same(_, 0) => Ok(None),
            Self::Same(body, left) => {
                *left -= 1;
                Ok(Some(body.clone()))
            }
            Self::Lines(input, line) => {
                let read = input.read_until(b'\n', line).await?;
                if read == 0 && line.is_empty() {
                    return Ok(None);
                }
                if line.ends_with(b"\n") {
                    line.pop();
                }
                Ok(Some(std::mem::take(line).into()))
            }
        }
    }
}

/// Reads all of standard input.
pub(super) async fn whole() -> io::Result<Bytes> {
    let mut body = Vec::new();
    stdin().read_to_end(&mut body).await?;
    Ok(body.into())
}
