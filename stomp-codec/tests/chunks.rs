//! However the bytes are cut, the items are the same.

use bytes::Bytes;
use transcript::{Outcome, Transcript};

mod transcript;

#[test]
fn a_cut_at_every_byte_changes_nothing() {
    check(|transcript, whole| {
        for at in 0..=transcript.wire.len() {
            let chunks = [transcript.wire.slice(..at), transcript.wire.slice(at..)];
            assert_eq!(
                &transcript.decode(chunks),
                whole,
                "{}, cut at {at}",
                transcript.name
            );
        }
    });
}

#[test]
fn byte_by_byte_changes_nothing() {
    check(|transcript, whole| {
        let bytes = (0..transcript.wire.len()).map(|at| transcript.wire.slice(at..=at));
        assert_eq!(&transcript.decode(bytes), whole, "{}", transcript.name);
    });
}

#[test]
fn two_cuts_change_nothing() {
    check(|transcript, whole| {
        let wire = &transcript.wire;
        for first in 0..wire.len() {
            for second in first..wire.len() {
                let cut = [
                    wire.slice(..first),
                    wire.slice(first..second),
                    wire.slice(second..),
                ];
                assert_eq!(
                    &transcript.decode(cut),
                    whole,
                    "{}, {first} {second}",
                    transcript.name
                );
            }
        }
    });
}

#[test]
fn chunks_that_are_pushed_before_decoding_are_read_as_one() {
    check(|transcript, whole| {
        let mut decoder = transcript.decoder();
        let mut items = Vec::new();
        for at in 0..transcript.wire.len() {
            decoder.push(transcript.wire.slice(at..=at));
        }
        let error = transcript.drain(&mut decoder, &mut items);
        assert_eq!(&Outcome { items, error }, whole, "{}", transcript.name);
    });
}

#[test]
fn a_whole_frame_is_given_before_what_follows_has_arrived() {
    check(|transcript, whole| {
        let frames = |outcome: &Outcome| outcome.items.len();
        let mut given = 0;
        for end in 0..=transcript.wire.len() {
            let outcome = transcript.decode([transcript.wire.slice(..end)]);
            assert!(
                frames(&outcome) >= given,
                "{}: an item is taken back",
                transcript.name
            );
            given = frames(&outcome);
        }
        assert_eq!(given, frames(whole), "{}", transcript.name);
    });
}

fn check(test: impl Fn(&Transcript, &Outcome)) {
    for transcript in transcript::all("valid")
        .into_iter()
        .chain(transcript::all("invalid"))
    {
        let whole = transcript.decode([Bytes::clone(&transcript.wire)]);
        test(&transcript, &whole);
    }
}
