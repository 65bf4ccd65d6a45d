//! The cases against a broker, over a socket.

use std::time::Duration;

use support::broker::TestBroker;
use support::peer::{Peer, Seen};
use support::script;
use support::websocket::{FIN, TEXT, masked};
use tokio::time::timeout;

use super::table::{self, Case, End, Event, Frame, Pieces, Step};
use super::{Outcome, check};

#[tokio::test]
async fn a_broker_passes_each_case() {
    let broker = TestBroker::start().await;
    for mut case in table::cases() {
        join_messages(&mut case.strict);
        case.lenient.as_mut().map(join_messages);
        let outcome = Client::start(&broker, &case).await.run().await;
        case.strict.iter_mut().for_each(show);
        check(&case, &outcome);
    }
}

/// The client of a case.
struct Client<'a> {
    case: &'a Case,
    peer: Peer,
    /// What is not sent yet.
    unsent: Vec<u8>,
    /// Bytes of the SEND's body that are not sent yet; `None` if it is not to be complete.
    body: Option<usize>,
    /// Whether the broker refused the client.
    refused: bool,
    outcome: Outcome,
}

impl<'a> Client<'a> {
    /// Begins a SEND to the client itself, whose body is the messages of the case.
    async fn start(broker: &TestBroker, case: &'a Case) -> Self {
        let mut peer = broker.connected_ws().await;
        let destination = format!("/topic/autobahn.{}", case.id);
        peer.subscribe("echo", &destination).await;
        let body = case.strict.iter().find_map(message).map(<[u8]>::len);
        let length = body.unwrap_or(1_000_000);
        let head = format!("SEND\ndestination:{destination}\ncontent-length:{length}\n\n");
        peer.raw(&masked(FIN | TEXT, head.as_bytes())).await;
        Self {
            case,
            peer,
            unsent: Vec::new(),
            body,
            refused: false,
            outcome: Outcome::default(),
        }
    }

    async fn run(mut self) -> Outcome {
        for step in &self.case.sent {
            match step {
                Step::Frame(frame) => self.send(frame).await,
                Step::Then => {
                    self.flush().await;
                    while self.outcome.events.len() < self.case.strict.len() {
                        let seen = self.peer.seen().await;
                        self.take(seen);
                    }
                }
            }
        }
        self.flush().await;
        while self.outcome.end.is_none() {
            let seen = self.peer.seen().await;
            self.take(seen);
        }
        assert_eq!(self.peer.seen().await, Seen::End, "case {}", self.case.id);
        self.outcome
    }

    async fn send(&mut self, frame: &Frame) {
        for (number, part) in frame.parts().iter().enumerate() {
            if number > 0 {
                self.flush().await;
                self.wait().await;
            }
            self.unsent.extend_from_slice(part);
        }
        if self.completes_body(frame) {
            self.unsent.extend(masked(FIN | TEXT, b"\0"));
        }
        if self.case.pieces == Pieces::Frames {
            self.flush().await;
        }
    }

    /// Whether the body of the SEND ends with this frame.
    fn completes_body(&mut self, frame: &Frame) -> bool {
        let is_message = frame.first & 0x0f < 3;
        let Some(left) = self.body.as_mut().filter(|_| is_message) else {
            return false;
        };
        *left -= frame.payload.len();
        let completes = *left == 0 && frame.first & FIN != 0;
        if completes {
            self.body = None;
        }
        completes
    }

    async fn flush(&mut self) {
        for piece in self.case.pieces.cut(&self.unsent) {
            self.peer.raw(piece).await;
        }
        self.unsent.clear();
    }

    /// Waits until something arrives. Where nothing is to arrive, a short while is enough: a broker
    /// that is slow to fail does so at the next wait.
    async fn wait(&mut self) {
        let events = self.outcome.events.len();
        if self.case.strict.get(events) != Some(&Event::Timeout) {
            let seen = self.peer.seen().await;
            self.take(seen);
        } else if let Ok(seen) = timeout(SHORT, self.peer.seen()).await {
            self.take(seen);
        } else {
            self.outcome.events.push(Event::Timeout);
        }
    }

    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Pong(payload) => self.outcome.events.push(Event::Pong(payload.to_vec())),
            Seen::Frame(frame, _) if frame.starts_with("MESSAGE\n") => {
                let body = script::body(&frame).as_bytes().to_vec();
                self.outcome.events.push(Event::Text(body));
            }
            Seen::Frame(frame, _) => {
                assert!(frame.starts_with("ERROR\nmessage:WebSocket: "), "{frame}");
                self.refused = true;
            }
            Seen::Close(code, _) => {
                self.outcome.end = Some(match code {
                    code if self.refused => End::Fails(code),
                    NO_CODE => End::Closes(None),
                    code => End::Closes(Some(code)),
                });
            }
            other => panic!("case {}: {other:?}", self.case.id),
        }
    }
}

/// A broker returns the messages of a case in one.
fn join_messages(events: &mut Vec<Event>) {
    let bodies: Vec<_> = events.iter().filter_map(message).collect();
    let (messages, body) = (bodies.len(), bodies.concat());
    events.retain(|event| message(event).is_none());
    if messages > 0 {
        events.push(Event::Text(body));
    }
}

/// Makes a message what the peer shows of it.
fn show(event: &mut Event) {
    if let Event::Text(body) = event {
        *body = String::from_utf8_lossy(body).into_owned().into_bytes();
    }
}

fn message(event: &Event) -> Option<&[u8]> {
    match event {
        Event::Text(payload) | Event::Binary(payload) => Some(payload),
        Event::Pong(_) | Event::Timeout => None,
    }
}

/// How the peer shows a Close without a code.
const NO_CODE: u16 = 1005;

const SHORT: Duration = Duration::from_millis(50);
