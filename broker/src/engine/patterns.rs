//! The trie of patterns: which subscriptions with wildcards does a destination match?
//!
//! The trie is read as a nondeterministic automaton: the set of places that the segments read so
//! far can lead to is carried along, at most two for each node. So a match costs at most
//! segments × nodes (and sorting them), however the multi-segment wildcards are nested, and
//! inserting or removing costs the pattern's length.

use std::collections::HashMap;
use std::hash::Hash;

use super::destination::{Destination, Segment, Wildcard};

/// Patterns, each with the values of type `T` (subscribers) under keys of type `K`.
#[derive(Debug)]
pub struct Patterns<K, T> {
    nodes: Vec<Node<K, T>>,
    free: Vec<usize>,
    len: usize,
}

#[derive(Debug)]
struct Node<K, T> {
    /// The node above and the step that leads from it to this one; the root has none.
    above: Option<(usize, Edge)>,
    /// By the separator before the next segment: `.` (or none, before the very first), `/`.
    below: [Branch; 2],
    values: HashMap<K, T>,
}

#[derive(Debug, Default)]
struct Branch {
    literals: HashMap<Box<str>, usize>,
    one: Option<usize>,
    many: Option<usize>,
}

#[derive(Clone, Debug)]
struct Edge {
    side: usize,
    step: Step,
}

#[derive(Clone, Debug)]
enum Step {
    Literal(Box<str>),
    Any(Wildcard),
}

/// A place that the segments read so far can lead to. A multi-segment wildcard is entered
/// without reading; `consumed` says that it has read a segment since, after which it reads on
/// whatever the separator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    node: usize,
    consumed: bool,
}

impl<K: Eq + Hash, T> Default for Patterns<K, T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new()],
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<K: Eq + Hash, T> Patterns<K, T> {
    /// Adds `value` under `key` to a pattern; a value under the same key is replaced.
    pub fn insert(&mut self, pattern: &Destination, key: K, value: T) {
        let mut node = ROOT;
        for edge in edges(pattern) {
            node = match self.nodes[node].below(&edge) {
                Some(child) => child,
                None => self.grow(node, edge),
            };
        }
        self.len += usize::from(self.nodes[node].values.insert(key, value).is_none());
    }

    /// Takes out what `insert` put in, with the nodes that nobody needs any more.
    pub fn remove(&mut self, pattern: &Destination, key: &K) -> Option<T> {
        let mut node = ROOT;
        for edge in edges(pattern) {
            node = self.nodes[node].below(&edge)?;
        }
        let value = self.nodes[node].values.remove(key)?;
        self.len -= 1;
        self.prune(node);
        Some(value)
    }

    /// How many values there are in all patterns.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `found` once for each value whose pattern matches.
    pub fn matches<'a>(&'a self, destination: &Destination, mut found: impl FnMut(&'a T)) {
        if self.is_empty() {
            return;
        }
        let mut places = vec![Place {
            node: ROOT,
            consumed: false,
        }];
        let mut next = Vec::new();
        for segment in destination.segments() {
            for &place in &places {
                self.step(place, segment, &mut next);
            }
            // Below a multi-segment wildcard a place can be reached in several ways.
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut places, &mut next);
            next.clear();
            if places.is_empty() {
                return;
            }
        }
        places.dedup_by_key(|place| place.node);
        for place in places {
            self.nodes[place.node].values.values().for_each(&mut found);
        }
    }

    /// The places that reading `segment` at `place` leads to.
    fn step(&self, place: Place, segment: Segment<'_>, next: &mut Vec<Place>) {
        let node = &self.nodes[place.node];
        let side = side(segment.separator);
        let branch = &node.below[side];
        for child in [branch.one, branch.literals.get(segment.text).copied()]
            .into_iter()
            .flatten()
        {
            self.enter(
                Place {
                    node: child,
                    consumed: false,
                },
                next,
            );
        }
        if let Some((
            _,
            Edge {
                side: own,
                step: Step::Any(Wildcard::Many),
            },
        )) = node.above
            && (place.consumed || own == side)
        {
            self.enter(
                Place {
                    consumed: true,
                    ..place
                },
                next,
            );
        }
    }

    /// Adds a place and the multi-segment wildcards that can be entered from it without reading.
    fn enter(&self, place: Place, places: &mut Vec<Place>) {
        places.push(place);
        for child in self.nodes[place.node]
            .below
            .iter()
            .filter_map(|branch| branch.many)
        {
            self.enter(
                Place {
                    node: child,
                    consumed: false,
                },
                places,
            );
        }
    }

    fn grow(&mut self, parent: usize, edge: Edge) -> usize {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::new());
            self.nodes.len() - 1
        });
        self.nodes[parent].hang(&edge, Some(child));
        self.nodes[child].above = Some((parent, edge));
        child
    }

    fn prune(&mut self, mut node: usize) {
        while self.nodes[node].is_bare() {
            let Some((parent, edge)) = self.nodes[node].above.take() else {
                return;
            };
            self.nodes[parent].hang(&edge, None);
            self.nodes[node] = Node::new();
            self.free.push(node);
            node = parent;
        }
    }
}

impl<K, T> Node<K, T> {
    fn new() -> Self {
        Self {
            above: None,
            below: [Branch::default(), Branch::default()],
            values: HashMap::new(),
        }
    }

    fn below(&self, edge: &Edge) -> Option<usize> {
        let branch = &self.below[edge.side];
        match &edge.step {
            Step::Literal(text) => branch.literals.get(text).copied(),
            Step::Any(Wildcard::One) => branch.one,
            Step::Any(Wildcard::Many) => branch.many,
        }
    }

    fn hang(&mut self, edge: &Edge, child: Option<usize>) {
        let branch = &mut self.below[edge.side];
        match (&edge.step, child) {
            (Step::Any(Wildcard::One), child) => branch.one = child,
            (Step::Any(Wildcard::Many), child) => branch.many = child,
            (Step::Literal(text), Some(child)) => {
                branch.literals.insert(text.clone(), child);
            }
            (Step::Literal(text), None) => {
                branch.literals.remove(text);
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.values.is_empty() && self.below.iter().all(Branch::is_bare)
    }
}

impl Branch {
    fn is_bare(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.many.is_none()
    }
}

fn edges(pattern: &Destination) -> impl Iterator<Item = Edge> {
    let mut all = pattern.segments().peekable();
    std::iter::from_fn(move || {
        let segment = all.next()?;
        let step = match segment.wildcard(all.peek().is_none()) {
            Some(wildcard) => Step::Any(wildcard),
            None => Step::Literal(segment.text.into()),
        };
        Some(Edge {
            side: side(segment.separator),
            step,
        })
    })
}

fn side(separator: Option<u8>) -> usize {
    usize::from(separator == Some(b'/'))
}

const ROOT: usize = 0;

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
        let mut patterns = Patterns::default();
        patterns.insert(&wild(pattern), (), ());
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
    fn values_come_once_each_and_go_with_their_nodes() {
        let mut patterns = Patterns::default();
        let names = ["/topic/#", "/topic/a.*", "/topic/*.b", "/topic/a.#.#"];
        for (key, name) in names.iter().enumerate() {
            patterns.insert(&wild(name), key, *name);
        }
        patterns.insert(&wild(names[0]), 9, "again");
        let destination = Destination::parse("/topic/a.b").expect("valid");
        let mut found = Vec::new();
        patterns.matches(&destination, |name| found.push(*name));
        found.sort_unstable();
        assert_eq!(
            found,
            [
                "/topic/#",
                "/topic/*.b",
                "/topic/a.#.#",
                "/topic/a.*",
                "again"
            ]
        );

        assert_eq!(patterns.remove(&wild(names[0]), &9), Some("again"));
        assert_eq!(patterns.remove(&wild(names[0]), &9), None);
        assert_eq!(patterns.remove(&wild("/topic/none.*"), &0), None);
        for (key, name) in names.iter().enumerate() {
            assert_eq!(patterns.remove(&wild(name), &key), Some(*name));
        }
        assert!(patterns.is_empty());
        assert_eq!(
            patterns.free.len(),
            patterns.nodes.len() - 1,
            "only the root is left"
        );
    }

    #[test]
    fn nested_wildcards_cost_no_more_than_segments_times_nodes() {
        let mut patterns = Patterns::default();
        patterns.insert(&wild("/topic/#.a.#.a.#.a.#.z"), (), ());
        let long = format!("/topic/{}", vec!["a"; 62].join("."));
        let mut found = 0;
        patterns.matches(&Destination::parse(&long).expect("valid"), |()| found += 1);
        assert_eq!(found, 0);
    }
}
