//! The handling of each frame from a client.

use std::mem;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use stomp_codec::{Command, Frame, Version};

use super::action::{Acknowledgement, Action, Closing, Credentials, Publication};
use super::replies::Ticket;
use super::reply::receipt;
use super::{Session, State};
use crate::engine::ack::AckVerdict;
use crate::engine::ack::{self, AckId};
use crate::engine::destination::{Destination, Pattern};
use crate::engine::heart_beat::Intervals;
use crate::engine::message::Message;
use crate::engine::refusal::{CloseCode, Refusal};
use crate::engine::subscription::{AckMode, Key, Prefetch, Subscription};

impl Session {
    pub(super) fn on_first_frame(&mut self, frame: &Frame) -> Result<(), Refusal> {
        match frame.command {
            Command::Connect | Command::Stomp => self.on_connect(frame),
            command if command.is_client() => Err(Refusal::ConnectFirst(command)),
            command => Err(Refusal::ServerFrame(command)),
        }
    }

    pub(super) fn on_next_frame(&mut self, frame: &mut Frame) -> Result<(), Refusal> {
        match frame.command {
            Command::Send => {
                let sent = self.on_send(frame);
                sent.or_else(|refusal| self.on_refused_send(refusal, frame))
            }
            Command::Subscribe => self.on_subscribe(frame),
            Command::Unsubscribe => self.on_unsubscribe(frame),
            Command::Disconnect => {
                self.on_disconnect(frame);
                Ok(())
            }
            Command::Nack if self.version == Version::V1_0 => Err(Refusal::NackIn10),
            Command::Ack => self.on_ack(frame, AckVerdict::Ack),
            Command::Nack => self.on_ack(frame, ack::nack(frame)),
            Command::Begin => self.on_begin(frame),
            Command::Commit => self.on_commit(frame),
            Command::Abort => self.on_abort(frame),
            Command::Connect | Command::Stomp => Err(Refusal::SecondConnect),
            Command::Connected | Command::Error | Command::Message | Command::Receipt => {
                Err(Refusal::ServerFrame(frame.command))
            }
        }
    }

    fn on_connect(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let offered = frame.header("accept-version");
        let Some(version) = Version::negotiate(offered) else {
            return Err(Refusal::NoCommonVersion(offered.unwrap_or_default().into()));
        };
        let intervals = match frame
            .header("heart-beat")
            .filter(|_| version > Version::V1_0)
        {
            Some(text) => {
                Intervals::parse(text).ok_or_else(|| Refusal::HeartBeatMalformed(text.into()))?
            }
            None => Intervals::default(),
        };
        self.version = version;
        self.lives_with_refusals = is_true(frame.header("x-refusals"));
        self.state = State::Authenticating { intervals };
        self.actions.push_back(Action::Authenticate(Credentials {
            login: frame.header("login").map(Into::into),
            passcode: frame.header("passcode").map(Into::into),
        }));
        Ok(())
    }

    pub(super) fn open(&mut self, intervals: Intervals, user: Option<String>, now: Instant) {
        let own = Intervals {
            send: milliseconds(self.settings.send),
            want: milliseconds(self.settings.want),
        }
        .answer(intervals);
        let mut connected = Frame::new(Command::Connected)
            .with_header("version", self.version.as_str())
            .with_header("session", &self.id.to_string())
            .with_header("server", &self.settings.server);
        if self.version > Version::V1_0 {
            connected = connected.with_header("heart-beat", &format!("{},{}", own.send, own.want));
        }
        if let Some(user) = user {
            connected = connected.with_header("user-name", &user);
        }
        self.heart_beat.agree(intervals, own, now);
        self.state = State::Ready;
        self.actions.push_back(Action::Open(self.version));
        self.replies.push(Box::new(connected));
    }

    /// Moves the accepted content out of the frame.
    fn on_send(&mut self, frame: &mut Frame) -> Result<(), Refusal> {
        let text = required(frame, "destination")?;
        let destination = match &self.last_destination {
            Some(last) if last.as_str() == text => last.clone(),
            _ => self
                .last_destination
                .insert(Destination::parse(text)?)
                .clone(),
        };
        if let Some(reply_to) = frame.header("reply-to") {
            let checked = Destination::check(reply_to);
            checked.map_err(|refusal| Refusal::ReplyTo(Box::new(refusal)))?;
        }
        if let Some(transaction) = frame.header("transaction") {
            let message = Message {
                destination,
                headers: frame.headers.clone(),
                body: frame.body.clone(),
            };
            self.transactions.hold_message(transaction, &message)?;
            self.reply(frame);
        } else {
            let ticket = self.ticket_of_send(frame);
            let message = Message {
                destination,
                headers: mem::take(&mut frame.headers),
                body: mem::take(&mut frame.body),
            };
            let publication = Publication { message, ticket };
            self.actions.push_back(Action::Publish(publication));
        }
        Ok(())
    }

    /// Handles a SEND that cannot be accepted. A client that asked for `x-refusals` continues; but
    /// the COMMIT of the SEND's transaction will be refused, as it would be incomplete.
    fn on_refused_send(&mut self, refusal: Refusal, frame: &Frame) -> Result<(), Refusal> {
        if !self.lives_with_refusals || !refusal.is_survivable() {
            return Err(refusal);
        }
        if let Some(transaction) = frame.header("transaction") {
            self.transactions.break_off(transaction)?;
        }
        let ticket = self.ticket_of_send(frame);
        self.actions
            .push_back(Action::Refuse(Box::new(refusal), ticket));
        Ok(())
    }

    fn on_ack(&mut self, frame: &Frame, verdict: AckVerdict) -> Result<(), Refusal> {
        let id = AckId::of(frame, self.version)?;
        let transaction = frame.header("transaction");
        if let Some(transaction) = transaction {
            self.transactions.check(transaction)?;
        }
        let delivery = match id {
            // Number 0 is not a subscription: its messages are those of `x-refusals`.
            AckId::Delivery(id) if id.session == self.id && id.subscription > 0 => id,
            AckId::Delivery(_) | AckId::Nothing => {
                let ticket = self.ticket(frame);
                self.actions.push_back(Action::IgnoreAck(ticket));
                return Ok(());
            }
        };
        if !self.subscriptions.was_given(delivery.subscription) {
            return Err(Refusal::AckUnknown(delivery.to_string().into()));
        }
        let hold = |id| self.transactions.hold_delivery(id, delivery.subscription);
        let transaction = transaction.map(hold).transpose()?;
        let ticket = self.ticket(frame);
        self.actions.push_back(Action::Settle(Acknowledgement {
            delivery,
            verdict,
            transaction,
            ticket,
        }));
        Ok(())
    }

    fn on_begin(&mut self, frame: &Frame) -> Result<(), Refusal> {
        self.transactions.begin(required(frame, "transaction")?)?;
        self.reply(frame);
        Ok(())
    }

    fn on_commit(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let id = required(frame, "transaction")?;
        let transaction = self.transactions.end(id)?;
        let ticket = self.ticket(frame);
        if transaction.is_broken() {
            let refusal = Refusal::TransactionBroken(id.into());
            self.actions.push_back(Action::Abort(transaction, None));
            self.actions
                .push_back(Action::Refuse(Box::new(refusal), ticket));
        } else {
            self.actions.push_back(Action::Commit(transaction, ticket));
        }
        Ok(())
    }

    fn on_abort(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let transaction = self.transactions.end(required(frame, "transaction")?)?;
        let ticket = self.ticket(frame);
        self.actions.push_back(Action::Abort(transaction, ticket));
        Ok(())
    }

    fn on_subscribe(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let destination = required(frame, "destination")?;
        let id = match frame.header("id") {
            None if self.version > Version::V1_0 => required(frame, "id").map(Some)?,
            id => id,
        };
        let mode = frame.header("ack").unwrap_or("auto");
        let mode = AckMode::parse(mode).ok_or_else(|| Refusal::AckModeUnknown(mode.into()))?;
        let prefetch = prefetch(frame)?.unwrap_or(self.settings.prefetch);
        let pattern = Pattern::parse(destination)?;
        refuse_unsupported(frame)?;
        let id = id.map(ByteString::from);
        let key = match &id {
            Some(id) => Key::Id(id.clone()),
            None => Key::Destination(destination.into()),
        };
        let limits = &self.settings.subscriptions;
        let number = self.subscriptions.add(key, &pattern, limits)?;
        let subscription = Subscription {
            number,
            id,
            pattern,
            mode,
            prefetch,
            no_local: ["no-local", "activemq.noLocal"]
                .iter()
                .any(|name| is_true(frame.header(name))),
        };
        self.actions
            .push_back(Action::Subscribe(subscription, receipt(frame)));
        Ok(())
    }

    fn on_unsubscribe(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let key = match (frame.header("id"), frame.header("destination")) {
            (Some(id), _) => Key::Id(id.into()),
            (None, Some(destination)) if self.version == Version::V1_0 => {
                Key::Destination(destination.into())
            }
            (None, _) => {
                return Err(Refusal::HeaderMissing {
                    command: frame.command,
                    header: "id",
                });
            }
        };
        // For an unknown subscription the client's goal, that it does not exist, is already met.
        if let Some(number) = self.subscriptions.remove(&key) {
            let ticket = self.ticket(frame);
            self.actions.push_back(Action::Unsubscribe(number, ticket));
        } else {
            self.reply(frame);
        }
        Ok(())
    }

    fn on_disconnect(&mut self, frame: &Frame) {
        self.close(Closing {
            farewell: receipt(frame).map(|receipt| *receipt),
            code: CloseCode::Normal,
            reason: "DISCONNECT".into(),
            label: "disconnect",
            absent: false,
        });
    }

    /// Sends the RECEIPT that a frame asks for, after those before it.
    fn reply(&mut self, frame: &Frame) {
        if let Some(receipt) = receipt(frame) {
            self.replies.push(receipt);
        }
    }

    /// Returns the ticket of the RECEIPT that a frame asks for.
    fn ticket(&mut self, frame: &Frame) -> Option<Ticket> {
        let receipt = receipt(frame)?;
        Some(self.replies.wait(Some(receipt)))
    }

    /// Like [`Session::ticket`], but a client that stays connected when a SEND is refused gets the
    /// refusal in place of the RECEIPT, also if it did not ask for one.
    fn ticket_of_send(&mut self, frame: &Frame) -> Option<Ticket> {
        let receipt = receipt(frame);
        (receipt.is_some() || self.lives_with_refusals).then(|| self.replies.wait(receipt))
    }
}

/// Returns the prefetch that a SUBSCRIBE asks for; `None` if it leaves that to the broker. Limited
/// to AMQP's maximum, since it costs memory.
fn prefetch(frame: &Frame) -> Result<Option<Prefetch>, Refusal> {
    let named = ["prefetch-count", "activemq.prefetchSize"];
    let Some(text) = named.iter().find_map(|name| frame.header(name)) else {
        return Ok(None);
    };
    let malformed = || Refusal::PrefetchMalformed(text.into());
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let count = text.parse().unwrap_or(MAX_PREFETCH).min(MAX_PREFETCH);
    Ok((count > 0).then_some(Prefetch {
        messages: count,
        bytes: None,
    }))
}

fn required<'a>(frame: &'a Frame, header: &'static str) -> Result<&'a str, Refusal> {
    frame.header(header).ok_or(Refusal::HeaderMissing {
        command: frame.command,
        header,
    })
}

/// A subscriber that wants only some messages, or only to browse, must not receive and consume all.
fn refuse_unsupported(frame: &Frame) -> Result<(), Refusal> {
    if frame
        .header("selector")
        .is_some_and(|text| !text.is_empty())
    {
        return Err(Refusal::NotSupported("a selector"));
    }
    if is_true(frame.header("browser")) {
        return Err(Refusal::NotSupported("browsing a queue"));
    }
    Ok(())
}

fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("true" | "True"))
}

fn milliseconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}

/// Maximum prefetch that a client can ask for.
const MAX_PREFETCH: usize = 65_535;
