//! Who is connected: what others may know of a client without asking its task.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use dashmap::DashMap;

use super::SHARDS;
use crate::engine::SessionId;
use crate::outbox::{Outbox, Traffic};

/// A connected client.
#[derive(Debug)]
pub struct Client {
    /// Its session.
    pub session: SessionId,
    /// The address it connects from.
    pub peer: SocketAddr,
    /// The name of its transport in metrics and logs.
    pub transport: &'static str,
    /// When its connection was accepted.
    pub accepted: Instant,
    /// Its outgoing side.
    pub outbox: Arc<Outbox>,
    user: OnceLock<Box<str>>,
    frames: AtomicU64,
    bytes: AtomicU64,
}

/// All connected clients.
#[derive(Debug)]
pub struct Clients(DashMap<SessionId, Arc<Client>>);

impl Client {
    /// Returns a client that was accepted just now.
    pub fn new(
        session: SessionId,
        peer: SocketAddr,
        transport: &'static str,
        accepted: Instant,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            session,
            peer,
            transport,
            accepted,
            outbox,
            user: OnceLock::new(),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Returns its user name; `None` before the login and for a client without a name.
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }

    /// Records its user name. A session has at most one login.
    pub fn set_user(&self, user: &str) {
        // A second name would be ignored.
        let _ = self.user.set(user.into());
    }

    /// Returns how many STOMP frames, and how many bytes of all kinds, were received from it.
    pub fn received(&self) -> Traffic {
        Traffic {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Adds to what was received. Only the client's own task calls this, so there is nothing to
    /// lose between reading and writing.
    pub fn count_received(&self, frames: u64, bytes: usize) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.frames, frames);
        add(&self.bytes, bytes as u64);
    }

    /// Returns how many messages and deliveries were handed to it, and how many bytes of all kinds
    /// its socket took.
    pub fn sent(&self) -> Traffic {
        self.outbox.traffic()
    }
}

impl Clients {
    pub(super) fn new() -> Self {
        Self(DashMap::with_shard_amount(SHARDS))
    }

    pub(super) fn insert(&self, client: Arc<Client>) {
        self.0.insert(client.session, client);
    }

    pub(super) fn remove(&self, session: SessionId) {
        self.0.remove(&session);
    }

    /// Returns the number of clients.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no client is connected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the client with this session.
    pub fn get(&self, session: SessionId) -> Option<Arc<Client>> {
        self.0
            .get(&session)
            .map(|client| Arc::clone(client.value()))
    }

    /// Returns all clients, so that none is visited under a lock of the table.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.0
            .iter()
            .map(|client| Arc::clone(client.value()))
            .collect()
    }
}
