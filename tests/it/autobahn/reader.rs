//! The cases against the reader, in the pieces of the client and in others.

use bytes::BytesMut;
use stompd::engine::refusal::Refusal;
use stompd::websocket::{Incoming, WebSocket};
use support::websocket::{BINARY, CONTINUATION, FIN, Reader, TEXT};

use super::table::{self, Case, End, Event};
use super::{Outcome, check};

#[test]
fn the_reader_passes_each_case() {
    for case in table::cases() {
        check(&case, &run(&case));
    }
}

#[test]
fn the_reader_does_the_same_wherever_a_case_is_cut() {
    for case in table::cases() {
        let expected = run(&case);
        for size in [1, 2, 7, 1000, usize::MAX] {
            let outcome = run_in_pieces(&case, size);
            assert_eq!(outcome.end, expected.end, "case {}", case.id);
            // Which of them arrives first depends on the pieces.
            for is_kind in [is_pong, is_message] {
                let of_kind = |outcome: &Outcome| -> Vec<_> {
                    let events = outcome.events.iter().cloned();
                    events.filter(is_kind).collect()
                };
                assert_eq!(
                    of_kind(&outcome),
                    of_kind(&expected),
                    "case {} by {size}",
                    case.id
                );
            }
        }
    }
}

fn is_pong(event: &Event) -> bool {
    matches!(event, Event::Pong(_))
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Text(_) | Event::Binary(_))
}

/// Sends what the client sends, as it does.
fn run(case: &Case) -> Outcome {
    let mut server = Server::new(case);
    for frame in case.frames() {
        for (number, part) in frame.parts().iter().enumerate() {
            if number > 0 {
                server.wait();
            }
            case.pieces.cut(part).for_each(|piece| server.feed(piece));
        }
    }
    server.outcome
}

/// Sends it in pieces of this size, without waiting.
fn run_in_pieces(case: &Case, size: usize) -> Outcome {
    let mut server = Server::new(case);
    let frames = case.frames().flat_map(table::Frame::parts);
    let bytes = frames.collect::<Vec<_>>().concat();
    bytes.chunks(size).for_each(|piece| server.feed(piece));
    server.outcome
}

/// A server that returns each message.
struct Server {
    websocket: WebSocket,
    /// The ends of the messages that are not read yet, the next one last.
    ends: Vec<MessageEnd>,
    /// Number of bytes fed.
    fed: usize,
    /// The data of the current message and of those behind it.
    data: BytesMut,
    replies: Reader,
    /// Number of events at the last wait.
    seen: usize,
    outcome: Outcome,
}

struct MessageEnd {
    text: bool,
    /// Size of the message.
    length: usize,
    /// Its end in what the client sends.
    at: usize,
}

impl Server {
    fn new(case: &Case) -> Self {
        let mut ends = message_ends(case);
        ends.reverse();
        Self {
            websocket: WebSocket::new(1 << 20),
            ends,
            fed: 0,
            data: BytesMut::new(),
            replies: Reader::default(),
            seen: 0,
            outcome: Outcome::default(),
        }
    }

    /// As a socket that is closed, it takes nothing after the end.
    fn feed(&mut self, bytes: &[u8]) {
        if self.outcome.end.is_some() {
            return;
        }
        self.websocket.feed(BytesMut::from(bytes));
        self.fed += bytes.len();
        while self.outcome.end.is_none() {
            match self.websocket.take_input() {
                Ok(None) => break,
                Ok(Some(Incoming::Data(data))) => self.data.extend_from_slice(&data),
                Ok(Some(Incoming::Pong)) => {}
                Ok(Some(Incoming::Close(reply))) => {
                    let code = reply[2..].first_chunk().copied().map(u16::from_be_bytes);
                    self.outcome.end = Some(End::Closes(code));
                }
                Err(fault) => {
                    let code = Refusal::WebSocket(fault).code();
                    self.outcome.end = Some(End::Fails(code.number()));
                }
            }
        }
        self.return_messages();
        self.replies.push(&self.websocket.take_output());
        while let Some((_, payload)) = self.replies.take() {
            self.outcome.events.push(Event::Pong(payload.to_vec()));
        }
    }

    fn return_messages(&mut self) {
        while let Some(end) = self
            .ends
            .pop_if(|end| end.length <= self.data.len() && end.at <= self.fed)
        {
            let message = self.data.split_to(end.length).to_vec();
            self.outcome.events.push(if end.text {
                Event::Text(message)
            } else {
                Event::Binary(message)
            });
        }
    }

    fn wait(&mut self) {
        let events = &mut self.outcome.events;
        if self.outcome.end.is_none() && events.len() == self.seen {
            events.push(Event::Timeout);
        }
        self.seen = events.len();
    }
}

/// Returns the ends of all messages, as if the server read them all.
fn message_ends(case: &Case) -> Vec<MessageEnd> {
    let (mut ends, mut text, mut length, mut at) = (Vec::new(), false, 0, 0);
    for frame in case.frames() {
        at += frame.parts().concat().len();
        match frame.first & 0x0f {
            TEXT => text = true,
            BINARY => text = false,
            CONTINUATION => {}
            _ => continue,
        }
        length += frame.payload.len();
        if frame.first & FIN != 0 {
            ends.push(MessageEnd { text, length, at });
            length = 0;
        }
    }
    ends
}
