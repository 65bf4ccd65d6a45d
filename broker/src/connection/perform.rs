//! Performs the actions of a session.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use stomp_codec::{Frame, Version};
use tracing::debug;

use super::{Connection, End, now};
use crate::encoding::Framing;
use crate::encoding::Kind;
use crate::engine::queue::Settled;
use crate::engine::refusal::Refusal;
use crate::engine::session::{Acknowledgement, Action, LoginVerdict, Receipt, Ticket};
use crate::engine::subscription::Subscription;
use crate::outbox::Progress;
use crate::outbox::Subscriber;
use crate::turn;

impl Connection {
    /// Sends the replies of the session and performs its actions, in order.
    pub(super) async fn perform(&mut self) -> Result<(), End> {
        while let Some(action) = self.next_action() {
            if !matches!(action, Action::Publish(_)) {
                self.hand_over().await?;
            }
            match action {
                Action::Authenticate(credentials) => {
                    let verdict = self.shared.authenticator.verdict(credentials);
                    if let LoginVerdict::Welcome { user: Some(user) } = &verdict {
                        self.client.set_user(user);
                    }
                    self.session.on_verdict(verdict, now());
                }
                Action::Open(version) => self.open(version),
                Action::Subscribe(subscription, receipt) => {
                    self.subscribe(subscription, receipt)?;
                }
                Action::Unsubscribe(number, ticket) => self.unsubscribe(number, ticket),
                Action::Publish(publication) => {
                    // Not async: each message would be moved into the future.
                    if self.gather(publication) {
                        self.hand_over().await?;
                        self.yield_if_due(true).await;
                    }
                }
                Action::Settle(acknowledgement) => self.settle(&acknowledgement)?,
                Action::IgnoreAck(ticket) => {
                    self.shared.hub.queues().count_ignored();
                    self.done(ticket);
                }
                Action::Commit(transaction, ticket) => {
                    self.commit(transaction, ticket).await?;
                }
                Action::Abort(transaction, ticket) => {
                    let hub = &self.shared.hub;
                    let held = |number| self.members.held(number);
                    hub.queues().abort(&transaction, held, now());
                    self.done(ticket);
                }
                Action::Refuse(refusal, ticket) => self.refuse(&refusal, ticket)?,
                Action::Beat => self.beat(),
                Action::Ping => self.ping(),
                Action::Close(closing) => return Err(End::Closing(Box::new(closing))),
            }
        }
        Ok(())
    }

    pub(super) fn beat(&self) {
        self.shared.metrics.beats.inc();
        self.outbox.beat(self.framing().beat());
    }

    pub(super) fn ping(&mut self) {
        if self.outbox.ping(self.framing().ping()) {
            self.clocks.ping(now());
            self.shared.metrics.pings.inc();
        }
    }

    /// Returns the next action, after the replies before it are sent.
    #[inline]
    fn next_action(&mut self) -> Option<Action> {
        self.send_replies();
        self.session.next_action()
    }

    /// Handles a frame that cannot be done: the refusal replaces its RECEIPT, or ends the
    /// connection.
    pub(super) fn refuse(&mut self, refusal: &Refusal, ticket: Option<Ticket>) -> Result<(), End> {
        if self.session.on_refused(refusal, ticket) {
            self.shared.metrics.refuse(refusal.label());
            return Ok(());
        }
        self.end_by_session()
    }

    /// The RECEIPT with this ticket, if there is one, can be sent.
    pub(super) fn done(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.session.on_done(ticket);
        }
    }

    /// Sends the replies that need not wait.
    #[inline]
    pub(super) fn send_replies(&mut self) {
        while let Some(frame) = self.session.next_reply() {
            self.reply(&frame);
        }
    }

    fn settle(&mut self, acknowledgement: &Acknowledgement) -> Result<(), End> {
        match self.members.settle(acknowledgement, self.read_at) {
            Settled::Done(_) => {}
            Settled::Ignored => self.shared.hub.queues().count_ignored(),
            Settled::Unknown => {
                let refusal = Refusal::AckUnknown(acknowledgement.delivery.to_string().into());
                return self.refuse(&refusal, acknowledgement.ticket);
            }
        }
        self.done(acknowledgement.ticket);
        Ok(())
    }

    /// Ends the connection for a frame that cannot be performed.
    fn end_for(&mut self, refusal: &Refusal, receipt: Option<&Frame>) -> Result<(), End> {
        self.session.on_failure(refusal, receipt_id(receipt));
        self.end_by_session()
    }

    /// Ends the connection if the session has ended and waits for nothing.
    pub(super) fn end_by_session(&mut self) -> Result<(), End> {
        if self.session.has_ended() {
            while let Some(action) = self.next_action() {
                if let Action::Close(closing) = action {
                    return Err(End::Closing(Box::new(closing)));
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, version: Version) {
        if self
            .subprotocol
            .is_some_and(|subprotocol| subprotocol != version)
        {
            self.shared.metrics.version_mismatches.inc();
        }
        self.decoder.set_version(version);
        self.decoder.set_limits(self.shared.limits);
        self.transport.set_limit(self.shared.largest_frame());
        debug!(parent: &self.span, version = version.as_str(), "connected");
    }

    fn subscribe(
        &mut self,
        subscription: Subscription,
        receipt: Option<Receipt>,
    ) -> Result<(), End> {
        turn::add(1, 0);
        let limit = self.shared.settings.subscriptions.count;
        if self.members.len() >= limit {
            return self.end_for(&Refusal::TooManySubscriptions(limit), receipt.as_deref());
        }
        let place = match self.shared.hub.take_place(&subscription.pattern) {
            Ok(place) => place,
            Err(refusal) => return self.end_for(&refusal, receipt.as_deref()),
        };
        let subscriber = Arc::new(Subscriber {
            session: self.id,
            kind: Kind {
                version: self.session.version(),
                framing: self.framing(),
            },
            outbox: Arc::clone(&self.outbox),
            ended: AtomicBool::new(false),
            progress: Arc::new(Progress::default()),
            subscription,
        });
        // The RECEIPT is in the outbox before a publisher can see the subscription, and leaves when
        // every publisher sees it.
        let holds = receipt.is_some();
        if let Some(receipt) = receipt {
            let bytes = self.encode(&receipt);
            self.outbox.reply_and_hold(bytes, now());
        }
        self.members
            .subscribe(subscriber, place, &self.shared.hub, now());
        if holds {
            self.outbox.release();
        }
        Ok(())
    }

    fn unsubscribe(&mut self, number: u32, ticket: Option<Ticket>) {
        turn::add(1, 0);
        self.members.unsubscribe(number, &self.shared.hub, now());
        self.done(ticket);
    }

    pub(super) fn reply(&self, frame: &Frame) {
        self.outbox.reply(self.encode(frame), now());
    }

    fn encode(&self, frame: &Frame) -> Bytes {
        self.shared.metrics.sent(frame.command);
        self.framing().wrap(&frame.encode(self.session.version()))
    }

    pub(super) fn framing(&self) -> Framing {
        self.transport.framing()
    }
}

/// Returns the id that a RECEIPT answers.
fn receipt_id(receipt: Option<&Frame>) -> Option<&str> {
    receipt.and_then(|receipt| receipt.header("receipt-id"))
}
