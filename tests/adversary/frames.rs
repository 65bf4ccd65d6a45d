//! The bytes that the adversaries prepare.

use std::fmt::Write;

use support::script::wire;

/// A SEND with a receipt to a topic without subscribers: its RECEIPT follows all that was sent before.
pub(crate) const SYNC: &[u8] = b"SEND\ndestination:/topic/sync\nreceipt:sync\n\n\0";

/// Frames that are written as text, one for each number below `count`.
pub(crate) fn many(count: usize, frame: impl Fn(usize) -> String) -> Vec<u8> {
    (0..count).flat_map(|number| wire(&frame(number))).collect()
}

/// Equal SENDs with bodies of this many bytes.
pub(crate) fn sends(count: usize, destination: &str, body: usize) -> Vec<u8> {
    send(destination, body).repeat(count)
}

/// The same to `<destination>.0`, `<destination>.1` and so on in turn: messages to one destination
/// that follow each other are kept together, and these are not.
pub(crate) fn sends_in_turn(
    count: usize,
    destination: &str,
    others: usize,
    body: usize,
) -> Vec<u8> {
    let body = "x".repeat(body);
    many(count, |number| {
        let other = number % others;
        format!("SEND\ndestination:{destination}.{other}\n\n{body}")
    })
}

/// SUBSCRIBEs to `<destination>.0`, `<destination>.1` and so on, with the ids `<first>.0` and so on.
pub(crate) fn subscribes_in_turn(first: usize, count: usize, destination: &str) -> Vec<u8> {
    many(count, |number| {
        format!("SUBSCRIBE\nid:{first}.{number}\ndestination:{destination}.{number}")
    })
}

/// A SEND with a body of this many bytes.
pub(crate) fn send(destination: &str, body: usize) -> Vec<u8> {
    let body = "x".repeat(body);
    wire(&format!("SEND\ndestination:{destination}\n\n{body}"))
}

/// SUBSCRIBEs to one destination, with the ids `first`, `first + 1` and so on.
pub(crate) fn subscribes(first: usize, count: usize, destination: &str) -> Vec<u8> {
    many(count, |number| {
        let id = first + number;
        format!("SUBSCRIBE\nid:{id}\ndestination:{destination}")
    })
}

/// Patterns of `/topic/*.#.*.….zz` that all differ in where their four `#` are.
pub(crate) fn arrangements(count: usize, segments: usize) -> Vec<String> {
    let mut patterns = Vec::with_capacity(count);
    let last = segments - 1;
    for a in 0..last {
        for b in a + 1..last {
            for c in b + 1..last {
                // Large steps between the patterns, so that they share little.
                for d in (c + 1..last).rev() {
                    if patterns.len() == count {
                        return patterns;
                    }
                    if (a + b + c + d) % 3 == 0 {
                        patterns.push(arrangement(&[a, b, c, d], last));
                    }
                }
            }
        }
    }
    patterns
}

fn arrangement(hashes: &[usize], last: usize) -> String {
    let mut pattern = String::from("/topic/");
    for segment in 0..last {
        let wildcard = if hashes.contains(&segment) { '#' } else { '*' };
        write!(pattern, "{wildcard}.").unwrap();
    }
    pattern + "zz"
}
