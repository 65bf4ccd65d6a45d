//! Prepared input for the adversaries.

use std::collections::BTreeSet;

use support::script::wire;

/// A SEND with a receipt to a topic without subscribers: its RECEIPT follows all earlier frames.
pub(crate) const SYNC: &[u8] = b"SEND\ndestination:/topic/sync\nreceipt:sync\n\n\0";

/// Frames written as text, one for each number below `count`.
pub(crate) fn many(count: usize, frame: impl Fn(usize) -> String) -> Vec<u8> {
    (0..count).flat_map(|number| wire(&frame(number))).collect()
}

/// Equal SENDs with bodies of this many bytes.
pub(crate) fn sends(count: usize, destination: &str, body: usize) -> Vec<u8> {
    send(destination, body).repeat(count)
}

/// The same to `<destination>.0`, `<destination>.1` and so on in turn: consecutive messages to one
/// destination are grouped, and these are not.
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

/// SUBSCRIBEs to `<destination>.0`, `<destination>.1` and so on, with ids `<first>.0` and so on.
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

/// Patterns such as `/topic/*.#.*.#.….zz`, of which no two have their four `#` at the same places.
pub(crate) fn arrangements(count: usize, segments: usize) -> Vec<String> {
    let mut places = BTreeSet::new();
    // Knuth's MMIX generator: the patterns look random, share little, and are the same each time.
    let mut random = 1_u64;
    while places.len() < count {
        let mut hashes = BTreeSet::new();
        while hashes.len() < 4 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            hashes.insert(usize::try_from(random >> 33).unwrap() % (segments - 1));
        }
        places.insert(hashes);
    }
    let pattern = |hashes: &BTreeSet<usize>| {
        let mut pattern = String::from("/topic/");
        for segment in 0..segments - 1 {
            pattern += if hashes.contains(&segment) {
                "#."
            } else {
                "*."
            };
        }
        pattern + "zz"
    };
    places.iter().map(pattern).collect()
}
