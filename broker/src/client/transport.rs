//! Bytes of STOMP over TCP or WebSocket, with TLS or without.
//!
//! Reading and writing go on at the same time: a broker that does not read before it has written
//! is no deadlock. Everything that is under way is kept in here, so each call may be dropped.

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
    /// Nothing can be written any more. What the broker said last can still be read.
    is_broken: bool,
}

#[derive(Debug)]
enum Wire {
    Tcp(Tcp),
    WebSocket(Box<WebSocketStream<Socket>>),
}

/// STOMP without anything around it.
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
    /// Nothing any more.
    End(Error),
}

impl Transport {
    pub(super) async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        // What is wrong with a file is said before anybody is bothered.
        let is_tls = address.scheme.is_tls();
        let tls = is_tls.then(|| tls::connector(options)).transpose()?;
        let connected = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = connected.map_err(|source| Error::Connect {
            address: address.authority(),
            source,
        })?;
        // Small frames are wanted now. Where this cannot be set it works all the same.
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

    /// Puts a frame, or an EOL, into the buffer of what is to be sent. Over WebSocket it is a
    /// message, as text if it is text.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match &mut self.wire {
            Wire::Tcp(wire) => wire.output.extend_from_slice(&bytes),
            Wire::WebSocket(stream) => {
                let message = match Utf8Bytes::try_from(bytes.clone()) {
                    Ok(text) => Message::Text(text),
                    Err(_) => Message::Binary(bytes),
                };
                // Its buffer has no limit; it tells only that the connection is over, and so does
                // whatever is done next.
                let _ = stream.start_send_unpin(message);
            }
        }
    }

    /// Sends what was pushed; `None` when all is sent. What arrives before that is handed out.
    pub(super) async fn flush(&mut self) -> Option<Incoming> {
        poll_fn(|context| {
            if self.poll_send(context).is_ready() && !self.is_broken {
                return Poll::Ready(None);
            }
            self.poll_read(context).map(Some)
        })
        .await
    }

    /// The next that arrives. Sends meanwhile.
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

    /// Closes, after the last word. How that ends is of no interest any more.
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

/// A peer that goes without a word does so in many ways.
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

/// What a message of a WebSocket may hold; without a limit the room for whatever a server announces
/// would be made at once.
const MOST_BYTES: usize = LIMITS.body + LIMITS.header_bytes + (1 << 10);

/// What is read at once.
const CHUNK: usize = 32 << 10;
