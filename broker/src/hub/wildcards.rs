//! The subscriptions with wildcards: which of them receive what is sent to a destination?
//!
//! Subscriptions with the same pattern share a [`Cell`], so a match returns patterns and not
//! subscriptions. The cells that match a destination are cached until a pattern is added or
//! removed; a subscription to an existing pattern changes only its cell.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::audience::{Audience, Receiver, Receivers};
use crate::engine::destination::Destination;
use crate::engine::patterns::{Full, Patterns};
use crate::outbox::SubscriberId;

/// The subscriptions with wildcards.
#[derive(Debug)]
pub(super) struct Wildcards {
    patterns: RwLock<Patterns<Arc<Cell>>>,
    /// Number of patterns, so that nothing is looked up if there are none.
    len: AtomicUsize,
    /// Incremented when a pattern is added or removed, which makes older cache entries invalid.
    generation: AtomicU64,
    remembered: Vec<Mutex<Remembered>>,
    keys: RandomState,
}

/// The subscriptions with one pattern.
#[derive(Debug, Default)]
pub(super) struct Cell(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    members: Receivers,
    /// Number of subscriptions that are about to become members.
    pinned: usize,
    /// It was removed from the patterns, because it had no members.
    gone: bool,
}

/// A reserved place in a cell, taken before the subscription is created.
#[derive(Debug)]
pub(super) struct Pin(Arc<Cell>);

/// The cells that match a destination.
type Cells = Arc<[Arc<Cell>]>;

/// Cached matches of one shard of the destinations, so that publishers do not wait for each other.
#[derive(Debug, Default)]
struct Remembered {
    /// With the generation of the patterns.
    cells: HashMap<Destination, (u64, Cells)>,
    /// Number of entries plus the cells in them.
    weight: usize,
}

impl Wildcards {
    /// Returns an empty table; `limit` is the maximum cost of matching the patterns (see
    /// [`Patterns::new`]).
    pub(super) fn new(limit: usize) -> Self {
        Self {
            patterns: RwLock::new(Patterns::new(limit)),
            len: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            remembered: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys: RandomState::new(),
        }
    }

    /// Reserves a place for a subscription.
    ///
    /// # Errors
    /// The patterns would make a match too expensive.
    pub(super) fn pin(&self, pattern: &Destination) -> Result<Pin, Full> {
        loop {
            let cell = self.cell(pattern)?;
            if cell.pin() {
                return Ok(Pin(cell));
            }
            // The task that emptied it also does this.
            self.forget(pattern, &cell);
        }
    }

    /// Removes a subscription.
    pub(super) fn remove(&self, pattern: &Destination, id: SubscriberId) {
        let cell = self.read(|patterns| patterns.get(pattern).cloned());
        if let Some(cell) = cell
            && cell.remove(id)
        {
            self.forget(pattern, &cell);
        }
    }

    /// Calls `found` with each audience that receives messages to a destination.
    pub(super) fn audiences(&self, destination: &Destination, found: impl FnMut(Audience)) {
        if self.len.load(Ordering::Acquire) > 0 {
            let cells = self.cells(destination);
            cells
                .iter()
                .filter_map(|cell| cell.audience())
                .for_each(found);
        }
    }

    /// Returns the maximum cost of a match (see [`Patterns::cost`]), and the number of patterns.
    pub(super) fn load(&self) -> (usize, usize) {
        self.read(|patterns| (patterns.cost(), patterns.len()))
    }

    /// Frees the memory of invalid cache entries.
    pub(super) fn tidy(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        for shard in &self.remembered {
            let mut shard = lock(shard);
            shard.cells.retain(|_, (made, _)| *made == generation);
            if shard.cells.capacity() > 4 * shard.cells.len() {
                shard.cells.shrink_to_fit();
            }
            shard.weight = shard.cells.values().map(|(_, cells)| 1 + cells.len()).sum();
        }
    }

    fn cell(&self, pattern: &Destination) -> Result<Arc<Cell>, Full> {
        if let Some(cell) = self.read(|patterns| patterns.get(pattern).cloned()) {
            return Ok(cell);
        }
        let mut patterns = self
            .patterns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = patterns.get(pattern) {
            return Ok(Arc::clone(cell));
        }
        let cell = Arc::new(Cell::default());
        patterns.insert(pattern, Arc::clone(&cell))?;
        self.changed(patterns.len());
        Ok(cell)
    }

    /// Removes a cell from the patterns, unless another one has taken its place.
    fn forget(&self, pattern: &Destination, gone: &Arc<Cell>) {
        let mut patterns = self
            .patterns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let removed = patterns.remove_if(pattern, |cell| Arc::ptr_eq(cell, gone));
        if removed.is_some() {
            self.changed(patterns.len());
        }
    }

    /// Records a change of the patterns. Called under their lock: a publisher that reads the new
    /// patterns then reads the new generation.
    fn changed(&self, len: usize) {
        self.len.store(len, Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn cells(&self, destination: &Destination) -> Cells {
        // Read before the patterns: if they change meanwhile, the cache entry is invalid.
        let generation = self.generation.load(Ordering::Acquire);
        let hash = self.keys.hash_one(destination);
        let shard = &self.remembered[usize::from(hash.to_ne_bytes()[0]) % SHARDS];
        if let Some((made, cells)) = lock(shard).cells.get(destination)
            && *made == generation
        {
            return Arc::clone(cells);
        }
        let mut found = Vec::new();
        self.read(|patterns| patterns.matches(destination, |cell| found.push(Arc::clone(cell))));
        let cells: Cells = found.into();
        lock(shard).insert(destination, generation, &cells);
        cells
    }

    fn read<T>(&self, read: impl FnOnce(&Patterns<Arc<Cell>>) -> T) -> T {
        read(&self.patterns.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pin {
    /// Uses the reserved place.
    pub(super) fn insert(self, id: SubscriberId, receiver: Receiver) {
        let mut state = lock(&self.0.0);
        state.pinned -= 1;
        state.members.insert(id, receiver);
    }
}

impl Cell {
    fn audience(&self) -> Option<Audience> {
        lock(&self.0).members.audience()
    }

    /// Returns `false` if the cell was removed.
    fn pin(&self) -> bool {
        let mut state = lock(&self.0);
        state.pinned += usize::from(!state.gone);
        !state.gone
    }

    /// Returns whether the cell is removed with that.
    fn remove(&self, id: SubscriberId) -> bool {
        let mut state = lock(&self.0);
        state.members.remove(id) && state.end_if_unused()
    }
}

impl State {
    fn end_if_unused(&mut self) -> bool {
        self.gone |= self.members.is_empty() && self.pinned == 0;
        self.gone
    }
}

impl Remembered {
    fn insert(&mut self, destination: &Destination, generation: u64, cells: &Cells) {
        let weight = 1 + cells.len();
        if self.weight + weight > MAX_WEIGHT {
            // Few enough that clearing is fast, and needed entries are soon found again.
            self.cells = HashMap::new();
            self.weight = 0;
        }
        let entry = (generation, Arc::clone(cells));
        let old = self.cells.insert(destination.clone(), entry);
        self.weight += weight;
        self.weight -= old.map_or(0, |(_, cells)| 1 + cells.len());
    }
}

/// Each of these locks is held for a few instructions. A panic under a lock leaves its data
/// consistent, so poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of shards of the cache.
const SHARDS: usize = 64;

/// Maximum weight of a shard: all shards together take about 32 MiB at most.
const MAX_WEIGHT: usize = 4096;
