//! Bytes of STOMP over TCP or WebSocket, with TLS or without.
//!
//! Reading and writing go on at the same time: a broker that does not read before it has written
//! causes no deadlock. All state is kept in here, so each call may be dropped.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Address, Error, LIMITS, Options, tls};

/// One connection.
#[derive(Debug)]
pub(super) struct Transport {
    wire: Wire,
    /// Nothing can be written any more. The last input from the broker can still be read.
    is_broken: bool,
}

#[derive(Debug)]
enum Wire {
    Tcp(Tcp),
    WebSocket(Box<WebSocketStream<Socket>>),
}

/// STOMP directly over TCP or TLS.
#[derive(Debug)]
struct Tcp {
    socket: Socket,
    input: BytesMut,
    output: BytesMut,
}

/// TCP, with TLS or without.
type Socket = Box<dyn Stream>;

pub(super) trait Stream: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Stream for T {}

/// What arrives.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Bytes of STOMP.
    Data(Bytes),
    /// A sign of life.
    Sign,
    /// The end of the connection.
    End(Error),
}

impl Transport {
    pub(super) async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        // Errors in a file are reported before connecting.
        let is_tls = address.scheme.is_tls();
        let tls = is_tls.then(|| tls::connector(options)).transpose()?;
        let connected = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = connected.map_err(|source| Error::Connect {
            address: address.authority(),
            source,
        })?;
        // Small frames must not be delayed. Without this option it works all the same.
        let _ = stream.set_nodelay(true);
        let socket: Socket = match tls {
            Some(tls) => Box::new(tls::shake_hands(&tls, stream, address).await?),
            None => Box::new(stream),
        };
        let wire = if address.scheme.is_websocket() {
            Wire::WebSocket(Box::new(upgrade(socket, address, options).await?))
        } else {
            Wire::Tcp(Tcp {
                socket,
                input: BytesMut::new(),
                output: BytesMut::new(),
            })
        };
        Ok(Self {
            wire,
            is_broken: false,
        })
    }

    /// Adds a frame, or an EOL, to the output buffer. Over WebSocket it is a message, as text if it
    /// is text.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match &mut self.wire {
            Wire::Tcp(wire) => wire.output.extend_from_slice(&bytes),
            Wire::WebSocket(stream) => {
                let message = match Utf8Bytes::try_from(bytes.clone()) {
                    Ok(text) => Message::Text(text),
                    Err(_) => Message::Binary(bytes),
                };
                // The buffer has no limit; an error only means that the connection is over, and so
                // does the next call.
                let _ = stream.start_send_unpin(message);
            }
        }
    }

    /// Sends the output buffer; returns `None` when all is sent. Input that arrives earlier is
    /// returned.
    pub(super) async fn flush(&mut self) -> Option<Incoming> {
        poll_fn(|context| {
            if self.poll_send(context).is_ready() && !self.is_broken {
                return Poll::Ready(None);
            }
            self.poll_read(context).map(Some)
        })
        .await
    }

    /// Returns the next input. Sends meanwhile.
    pub(super) async fn exchange(&mut self) -> Incoming {
        poll_fn(|context| {
            let _ = self.poll_send(context);
            self.poll_read(context)
        })
        .await
    }

    /// Sends what can be sent at once.
    pub(super) async fn send(&mut self) {
        poll_fn(|context| {
            let _ = self.poll_send(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Closes after the last frame. The result does not matter.
    pub(super) async fn close(&mut self, patience: std::time::Duration) {
        let closed = async {
            match &mut self.wire {
                Wire::Tcp(wire) => {
                    let _ = wire.socket.shutdown().await;
                }
                Wire::WebSocket(stream) => {
                    let _ = stream.close(None).await;
                    while let Some(Ok(_)) = stream.next().await {}
                }
            }
        };
        let _ = timeout(patience, closed).await;
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_broken {
            return Poll::Ready(());
        }
        let sent = match &mut self.wire {
            Wire::Tcp(wire) => ready!(wire.poll_send(context)).is_ok(),
            Wire::WebSocket(stream) => ready!(stream.poll_flush_unpin(context)).is_ok(),
        };
        self.is_broken = !sent;
        Poll::Ready(())
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Ready(match &mut self.wire {
            Wire::Tcp(wire) => ready!(wire.poll_read(context)),
            Wire::WebSocket(stream) => incoming(ready!(stream.poll_next_unpin(context))),
        })
    }
}

impl Tcp {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = Pin::new(&mut self.socket);
        while self.output.has_remaining() {
            let sent = ready!(socket.as_mut().poll_write(context, &self.output))?;
            self.output.advance(sent);
        }
        socket.poll_flush(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        self.input.reserve(CHUNK);
        let read = pin!(self.socket.read_buf(&mut self.input));
        Poll::Ready(match ready!(read.poll(context)) {
            Ok(0) => Incoming::End(Error::Ended),
            Ok(_) => Incoming::Data(self.input.split().freeze()),
            Err(error) => Incoming::End(lost(error)),
        })
    }
}

fn incoming(message: Option<Result<Message, tungstenite::Error>>) -> Incoming {
    match message {
        Some(Ok(Message::Text(text))) => Incoming::Data(text.into()),
        Some(Ok(Message::Binary(bytes))) => Incoming::Data(bytes),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Sign,
        Some(Ok(Message::Close(frame))) => Incoming::End(Error::Closed {
            code: frame.as_ref().map(|frame| frame.code.into()),
            reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
        }),
        Some(Err(tungstenite::Error::Io(error))) => Incoming::End(lost(error)),
        Some(Err(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )))
        | None => Incoming::End(Error::Ended),
        Some(Err(error)) => Incoming::End(Error::WebSocket {
            source: Box::new(error),
        }),
    }
}

/// A peer that disconnects without notice causes various errors.
fn lost(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Ended,
        _ => Error::Lost(error),
    }
}

/// Opens a WebSocket on a socket.
async fn upgrade(
    socket: Socket,
    address: &Address,
    options: &Options,
) -> Result<WebSocketStream<Socket>, Error> {
    let failed = |error| Error::upgrade(address, error);
    let mut request = address.to_string().into_client_request().map_err(failed)?;
    if options.subprotocols {
        let names = match options.version {
            Some(version) => version.subprotocol(),
            None => "v12.stomp, v11.stomp, v10.stomp",
        };
        let names = HeaderValue::from_static(names);
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", names);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .max_message_size(Some(MOST_BYTES))
        .max_frame_size(Some(MOST_BYTES));
    let (stream, _) = client_async_with_config(request, socket, Some(config))
        .await
        .map_err(failed)?;
    Ok(stream)
}

/// Maximum size of a WebSocket message; without a limit, the buffer for any size that a server
/// announces would be allocated at once.
const MOST_BYTES: usize = LIMITS.body + LIMITS.header_bytes + (1 << 10);

/// Number of bytes read at once.
const CHUNK: usize = 32 << 10;
