//! Which patterns does a destination match?
//!
//! Patterns are grouped by the arrangement of their wildcards, their [`Shape`]. In a pattern with
//! at most one multi-segment wildcard each literal segment has a fixed place, counted from the
//! beginning or from the end, so a match digests the segments of the destination at these places
//! and looks the digest up: once per shape, however many patterns have it. A pattern with several
//! multi-segment wildcards is matched separately. So the cost of a match is the total cost of the
//! [`Arrangement`]s, which [`Patterns::insert`] limits; it does not depend on the number of
//! patterns or the nesting of their wildcards.

mod arrangement;
mod scan;

use std::collections::BTreeMap;
use std::hash::RandomState;

use super::destination::Destination;

pub use self::arrangement::{Arrangement, Shape};
use self::scan::{Floating, Scan};

/// Patterns, each with a value.
#[derive(Debug)]
pub struct Patterns<T> {
    /// A balanced tree grows without the pauses of a hash table that is moved, and shrinks by
    /// itself.
    anchored: Vec<(Shape, BTreeMap<u64, Bucket<T>>)>,
    floating: Vec<(Floating, Entry<T>)>,
    /// Keys for the digests of segments, so that no client can produce collisions.
    keys: RandomState,
    limit: usize,
    cost: usize,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    pattern: Destination,
    value: T,
}

/// The patterns with one digest: nearly always only one.
type Bucket<T> = Vec<Entry<T>>;

/// The arrangements of the patterns would make a match cost more than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<T> Patterns<T> {
    /// Returns an empty set; its patterns may cost a match `limit` look-ups of about 0.1 µs.
    pub fn new(limit: usize) -> Self {
        Self {
            anchored: Vec::new(),
            floating: Vec::new(),
            keys: RandomState::new(),
            limit,
            cost: 0,
            len: 0,
        }
    }

    /// Returns the value of a pattern.
    pub fn get(&self, pattern: &Destination) -> Option<&T> {
        let entry = match Arrangement::of(pattern) {
            Arrangement::Anchored(shape) => {
                let (_, tree) = self.anchored.iter().find(|(other, _)| *other == shape)?;
                let key = shape.key_of(&self.scan(pattern));
                tree.get(&key)?.iter().find(|entry| entry.is(pattern))?
            }
            Arrangement::Floating(_) => {
                let found = self.floating.iter().find(|(_, entry)| entry.is(pattern));
                &found?.1
            }
        };
        Some(&entry.value)
    }

    /// Adds a pattern that is not present.
    ///
    /// # Errors
    /// It would make a match cost more than the limit.
    pub fn insert(&mut self, pattern: &Destination, value: T) -> Result<(), Full> {
        debug_assert!(self.get(pattern).is_none(), "a pattern has one value");
        let arrangement = Arrangement::of(pattern);
        let entry = Entry {
            pattern: pattern.clone(),
            value,
        };
        let cost = arrangement.cost();
        match arrangement {
            Arrangement::Anchored(shape) => {
                let key = shape.key_of(&self.scan(pattern));
                let known = self.anchored.iter_mut().find(|(other, _)| *other == shape);
                if let Some((_, tree)) = known {
                    tree.entry(key).or_default().push(entry);
                } else {
                    self.charge(cost)?;
                    let tree = BTreeMap::from([(key, vec![entry])]);
                    self.anchored.push((shape, tree));
                }
            }
            Arrangement::Floating(_) => {
                self.charge(cost)?;
                let floating = Floating::of(pattern, &self.keys);
                self.floating.push((floating, entry));
            }
        }
        self.len += 1;
        Ok(())
    }

    /// Removes a pattern if `should` returns `true` for its value.
    pub fn remove_if(
        &mut self,
        pattern: &Destination,
        should: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let arrangement = Arrangement::of(pattern);
        let entry = match arrangement {
            Arrangement::Anchored(shape) => {
                let known = |(other, _): &(Shape, _)| *other == shape;
                let place = self.anchored.iter().position(known)?;
                let key = shape.key_of(&self.scan(pattern));
                let tree = &mut self.anchored[place].1;
                let bucket = tree.get_mut(&key)?;
                let at = bucket.iter().position(|entry| entry.is(pattern))?;
                if !should(&bucket[at].value) {
                    return None;
                }
                let entry = bucket.swap_remove(at);
                if bucket.is_empty() {
                    tree.remove(&key);
                }
                if tree.is_empty() {
                    self.anchored.swap_remove(place);
                    self.cost -= arrangement.cost();
                }
                entry
            }
            Arrangement::Floating(_) => {
                let known = |(_, entry): &(_, Entry<T>)| entry.is(pattern);
                let at = self.floating.iter().position(known)?;
                if !should(&self.floating[at].1.value) {
                    return None;
                }
                self.cost -= arrangement.cost();
                self.floating.swap_remove(at).1
            }
        };
        self.len -= 1;
        Some(entry.value)
    }

    /// Returns the number of patterns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the maximum cost of a match, in look-ups of about 0.1 µs.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Calls `found` with the value of each pattern that matches a destination.
    pub fn matches<'a>(&'a self, destination: &Destination, mut found: impl FnMut(&'a T)) {
        if self.is_empty() {
            return;
        }
        let scan = self.scan(destination);
        for (shape, tree) in &self.anchored {
            let bucket = shape.key(&scan).and_then(|key| tree.get(&key));
            let entries = bucket.into_iter().flatten();
            entries
                .filter(|entry| shape.agrees(&entry.pattern, &scan))
                .for_each(|entry| found(&entry.value));
        }
        for (floating, entry) in &self.floating {
            if floating.sees(&entry.pattern, &scan) {
                found(&entry.value);
            }
        }
    }

    fn charge(&mut self, cost: usize) -> Result<(), Full> {
        if self.cost + cost > self.limit {
            return Err(Full);
        }
        self.cost += cost;
        Ok(())
    }

    fn scan<'a>(&self, text: &'a Destination) -> Scan<'a> {
        Scan::new(text, &self.keys)
    }
}

impl<T> Entry<T> {
    fn is(&self, pattern: &Destination) -> bool {
        self.pattern == *pattern
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::Pattern;
    use super::*;

    fn wild(text: &str) -> Destination {
        match Pattern::parse(text).expect(text) {
            Pattern::Exact(destination) | Pattern::Wild(destination) => destination,
        }
    }

    fn sees(pattern: &str, destination: &str) -> bool {
        let mut patterns = Patterns::new(100);
        patterns.insert(&wild(pattern), ()).expect("room");
        let mut found = 0;
        patterns.matches(&Destination::parse(destination).expect(destination), |()| {
            found += 1;
        });
        assert!(found <= 1, "{pattern} found {destination} twice");
        found == 1
    }

    #[test]
    fn one_star_is_one_segment() {
        assert!(sees("/topic/a.*", "/topic/a.b"));
        assert!(sees("/topic/a.*", "/topic/a."));
        assert!(!sees("/topic/a.*", "/topic/a/b"));
        assert!(!sees("/topic/a.*", "/topic/a"));
        assert!(!sees("/topic/a.*", "/topic/a.b.c"));
        assert!(sees("/topic/*.c", "/topic/b.c"));
        assert!(sees("a.*", "a.b"));
        assert!(!sees("a.*", "/a.b/c"));
    }

    #[test]
    fn many_is_zero_or_more_with_the_separator_before_them() {
        for many in ["#", "**", ">"] {
            assert!(sees(&format!("/topic/{many}"), "/topic/a.b/c"));
            assert!(sees(&format!("/topic/a.{many}"), "/topic/a"));
            assert!(sees(&format!("/topic/a.{many}"), "/topic/a.b/c"));
            assert!(!sees(&format!("/topic/a.{many}"), "/topic/a/b"));
        }
        assert!(sees("/topic/#/b", "/topic/b"));
        assert!(sees("/topic/#/b", "/topic/a.c/b"));
        assert!(sees("/topic/a.#.z", "/topic/a.z"));
        assert!(sees("/topic/a.#.z", "/topic/a.b.z"));
        assert!(!sees("/topic/a.#.z", "/topic/a.b/z"));
        assert!(sees("/topic/#.#.#.#", "/topic/a.b.c.d.e"));
        assert!(!sees("/topic/#", "/other/a"));
    }

    #[test]
    fn what_floats_is_not_taken_at_its_first_place_only() {
        // The first `a` is followed by a dot, and only the second one by the required slash.
        assert!(sees("/topic/#.a/#.b", "/topic/x.a.a/y.b"));
        assert!(!sees("/topic/#.a/#.b", "/topic/x.a.a.y.b"));
        assert!(sees("/topic/#.a.*.#.b", "/topic/a.a.c.b"));
    }

    #[test]
    fn a_pattern_with_all_segments_there_may_be_is_matched() {
        let long = vec!["a"; 62].join(".");
        assert!(sees(&format!("/topic/{long}.#"), &format!("/topic/{long}")));
        assert!(sees(&format!("/topic/#/{long}"), &format!("/topic/{long}")));
        let stars = vec!["*"; 62].join(".");
        assert!(sees(&format!("/topic/{stars}"), &format!("/topic/{long}")));
    }

    #[test]
    fn values_come_once_each_and_go() {
        let mut patterns = Patterns::new(100);
        let names = ["/topic/#", "/topic/a.*", "/topic/*.b", "/topic/a.#.#"];
        for name in names {
            patterns.insert(&wild(name), name).expect("room");
        }
        let destination = Destination::parse("/topic/a.b").expect("valid");
        let mut found = Vec::new();
        patterns.matches(&destination, |name| found.push(*name));
        found.sort_unstable();
        assert_eq!(
            found,
            ["/topic/#", "/topic/*.b", "/topic/a.#.#", "/topic/a.*"]
        );
        assert_eq!(patterns.get(&wild("/topic/#")), Some(&"/topic/#"));
        assert_eq!(patterns.get(&wild("/topic/>")), None);
        assert_eq!(patterns.remove_if(&wild("/topic/none.*"), |_| true), None);
        assert_eq!(patterns.remove_if(&wild(names[0]), |_| false), None);
        for name in names {
            assert_eq!(patterns.remove_if(&wild(name), |_| true), Some(name));
        }
        assert!(
            patterns.is_empty() && patterns.anchored.is_empty() && patterns.floating.is_empty()
        );
        assert_eq!(patterns.cost(), 0);
    }

    #[test]
    fn patterns_of_one_shape_cost_a_match_as_much_as_one() {
        let mut patterns = Patterns::new(1);
        for number in 0..1000 {
            patterns
                .insert(&wild(&format!("/topic/*.{number}")), number)
                .expect("room");
        }
        assert_eq!(patterns.cost(), 1);
        assert_eq!(patterns.insert(&wild("/topic/*.1.2"), 0), Err(Full));
        assert_eq!(patterns.insert(&wild("/topic/#.1.#"), 0), Err(Full));
        for number in 0..1000 {
            patterns.remove_if(&wild(&format!("/topic/*.{number}")), |_| true);
        }
        assert_eq!(patterns.insert(&wild("/topic/*.1.2"), 0), Ok(()));
    }
}
