//! Memory overhead of stored data: allocations, and tables that grow.
//!
//! The numbers apply to glibc on 64-bit machines and to the tables of Rust's library. Other
//! allocators round differently, but by too little to matter for a limit.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Returns the memory of an allocation of this size, including its header and rounding.
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32,
        _ => bytes.saturating_add(HEAD + ROUND - 1) & !(ROUND - 1),
    }
}

/// Returns the memory of a line, by its capacity.
pub fn line<T>(line: &VecDeque<T>) -> usize {
    allocated(line.capacity() * size_of::<T>())
}

/// Returns the memory of a table, by its capacity.
pub fn table<K, V, S: BuildHasher>(table: &HashMap<K, V, S>) -> usize {
    match table.capacity() {
        0 => 0,
        // At most seven of eight places are used.
        capacity => allocated((capacity + 1).next_power_of_two() * (size_of::<(K, V)>() + 1)),
    }
}

/// Releases the spare capacity of a line that was long and is now short. It costs a step for each
/// place, and most of them were used since the last time.
pub fn shrink<T>(line: &mut VecDeque<T>) {
    if line.capacity() > SPARE && line.len() < line.capacity() / 8 {
        line.shrink_to(SPARE.max(line.len() * 2));
    }
}

/// Releases the spare capacity of a table that was large and is now small.
pub fn shrink_table<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > SPARE && table.len() < table.capacity() / 8 {
        table.shrink_to(SPARE.max(table.len() * 2));
    }
}

const HEAD: usize = 8;
const ROUND: usize = 16;

/// A line or table with at most this capacity is not shrunk.
const SPARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_have_a_head_and_are_rounded_up() {
        let sizes = [0, 1, 24, 25, 40, 41, 1000];
        assert_eq!(sizes.map(allocated), [0, 32, 32, 48, 48, 64, 1008]);
    }

    #[test]
    fn a_line_gives_back_what_it_does_not_need() {
        let mut all: VecDeque<u64> = (0..100_000).collect();
        while all.pop_front().is_some() {
            shrink(&mut all);
            assert!(
                all.capacity() < (SPARE + 1).max((all.len() + 1) * 8),
                "{}",
                all.len()
            );
        }
        assert!(line(&all) <= allocated(SPARE * 8));
    }

    #[test]
    fn a_table_gives_back_what_it_does_not_need() {
        let mut all: HashMap<u64, u64> = (0..10_000).map(|number| (number, number)).collect();
        let full = table(&all);
        for number in 0..10_000 {
            all.remove(&number);
            shrink_table(&mut all);
        }
        assert!(table(&all) < full / 100, "{} of {full}", table(&all));
    }
}
