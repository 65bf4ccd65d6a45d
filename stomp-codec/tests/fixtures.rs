//! Every transcript gives what its head says.

use std::collections::BTreeSet;

use stomp_codec::DecodeError;
use transcript::Transcript;

mod transcript;

#[test]
fn valid_transcripts_give_their_items() {
    for transcript in transcript::all("valid") {
        assert_eq!(
            transcript.error, None,
            "{}: belongs to the invalid ones",
            transcript.name
        );
        check(&transcript);
    }
}

#[test]
fn invalid_transcripts_give_their_errors() {
    for transcript in transcript::all("invalid") {
        assert!(
            transcript.error.is_some(),
            "{}: belongs to the valid ones",
            transcript.name
        );
        check(&transcript);
    }
}

#[test]
fn every_error_has_a_transcript() {
    let shown: BTreeSet<_> = transcript::all("invalid")
        .into_iter()
        .map(|transcript| transcript.error.unwrap())
        .collect();
    let labels: BTreeSet<_> = DecodeError::LABELS.into_iter().map(String::from).collect();
    assert_eq!(shown, labels);
}

fn check(transcript: &Transcript) {
    let name = &transcript.name;
    let mut decoder = transcript.decoder();
    let mut items = Vec::new();
    decoder.push(transcript.wire.clone());
    let error = transcript.drain(&mut decoder, &mut items);

    assert_eq!(items, transcript.items, "{name}");
    assert_eq!(
        error.as_ref().map(DecodeError::label),
        transcript.error.as_deref(),
        "{name}"
    );
    assert_eq!(decoder.receipt(), transcript.receipt, "{name}");
    assert_eq!(decoder.buffered() > 0, transcript.unfinished, "{name}");
    if let Some(error) = error {
        check_error(transcript, &error);
        assert_eq!(decoder.decode(), Err(error), "{name}: an error stays");
    }
}

fn check_error(transcript: &Transcript, error: &DecodeError) {
    let text = error.to_string();
    for part in &transcript.texts {
        assert!(
            text.contains(part),
            "{}: {text:?} should contain {part:?}",
            transcript.name
        );
    }
    let one_line = !text.contains(char::is_control);
    assert!(
        one_line,
        "{}: {text:?} should fit a header",
        transcript.name
    );
}
