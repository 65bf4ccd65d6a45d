//! Properties: what is encoded is decoded, nothing panics, nothing is copied without need.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use stomp_codec::{Command, Decoder, Frame, Item, Limits, Version};

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for the fuzzer")]
#[allow(
    dead_code,
    clippy::allow_attributes,
    reason = "other tests use the rest"
)]
mod targets;

proptest! {
    #[test]
    fn frames_survive(frame in frame(), version in select(&Version::ALL[..])) {
        targets::check_roundtrip(&frame, version);
    }

    #[test]
    fn any_bytes_are_read_alike_however_they_are_cut(
        mode in 0_u8..8,
        sizes in vec(any::<u8>(), 0..4),
        wire in vec(byte(), 0..300),
    ) {
        let length = u8::try_from(sizes.len()).expect("at most 3");
        targets::decode(&[&[mode, length][..], &sizes, &wire].concat());
    }

    #[test]
    fn a_frame_behind_a_piece_of_another_is_found(cut in 0_usize..60, frame in frame()) {
        let first = Frame::new(Command::Send).with_header("a", "1").with_body("x".repeat(40));
        let wire = [first.encode(Version::V1_2), frame.encode(Version::V1_2)].concat();
        let wire = Bytes::from(wire);
        let mut decoder = decoder();
        decoder.push(wire.slice(..cut));
        prop_assert_eq!(decoder.decode(), Ok(None));
        decoder.push(wire.slice(cut..));
        let commands = [decode(&mut decoder), decode(&mut decoder)].map(|frame| frame.command);
        prop_assert_eq!(commands, [Command::Send, frame.command]);
    }
}

#[test]
fn a_frame_in_one_chunk_is_a_slice_of_it() {
    let chunk =
        Bytes::from_static(b"\nSEND\nfoo:bar\ndestination:/queue/a\n\nbody\0ACK\nid:1\n\n\0");
    let mut decoder = decoder();
    decoder.push(chunk.clone());
    assert_eq!(decoder.decode(), Ok(Some(Item::HeartBeat)));
    let frame = decode(&mut decoder);

    assert!(lies_in(&frame.body, &chunk));
    for (name, value) in frame.headers.iter() {
        assert!(lies_in(name.as_bytes(), &chunk) && lies_in(value.as_bytes(), &chunk));
    }
    let kept = frame
        .headers
        .get_bytestring("destination")
        .expect("it is there");
    assert!(lies_in(kept.as_bytes(), &chunk));
    let second = decode(&mut decoder);
    assert!(
        second
            .header("id")
            .is_some_and(|id| lies_in(id.as_bytes(), &chunk))
    );
}

#[test]
fn behind_an_unfinished_frame_the_next_chunk_is_sliced_again() {
    let mut decoder = decoder();
    decoder.push(Bytes::from_static(b"SEND\na:1\n\nhal"));
    assert_eq!(decoder.decode(), Ok(None));
    let chunk = Bytes::from_static(b"f\0SEND\n\nwhole\0");
    decoder.push(chunk.clone());
    let (first, second) = (decode(&mut decoder), decode(&mut decoder));
    assert_eq!(first.body, "half");
    assert!(!lies_in(&first.body, &chunk) && lies_in(&second.body, &chunk));
}

#[test]
fn a_body_behind_unfinished_headers_is_a_slice() {
    let mut decoder = decoder();
    decoder.push(Bytes::from_static(b"SEND\na:"));
    assert_eq!(decoder.decode(), Ok(None));
    let chunk = Bytes::from_static(b"1\n\nbody\0");
    decoder.push(chunk.clone());
    let frame = decode(&mut decoder);
    assert_eq!(frame.header("a"), Some("1"));
    assert!(lies_in(&frame.body, &chunk));
}

#[test]
fn an_unfinished_rest_does_not_keep_the_chunk() {
    let rests: [&[u8]; 6] = [
        b"SE",
        b"SEND\n",
        b"SEND\na:1\nb",
        b"SEND\na:1\n\n",
        b"SEND\n\nx",
        b"",
    ];
    for rest in rests {
        let chunk = Bytes::from([&b"SEND\n\nbody\0"[..], rest].concat());
        let mut decoder = decoder();
        decoder.push(chunk.clone());
        drop(decode(&mut decoder));
        assert_eq!(decoder.decode(), Ok(None));
        assert!(chunk.is_unique(), "{} keeps the chunk", rest.escape_ascii());
    }
}

#[test]
fn an_announced_body_is_not_reserved_before_it_comes() {
    let mut decoder = decoder();
    decoder.push(Bytes::from_static(b"SEND\ncontent-length:4000000\n\nfour"));
    assert_eq!(decoder.decode(), Ok(None));
    assert!(decoder.buffered() < 64, "{} bytes", decoder.buffered());
}

#[test]
fn a_body_over_many_chunks_arrives_whole() {
    let body: Vec<u8> = (0..100_000_u32)
        .map(|index| index.to_le_bytes()[0])
        .collect();
    let wire = Frame::new(Command::Send)
        .with_body(body.clone())
        .encode(Version::V1_2);
    let mut decoder = decoder();
    for at in (0..wire.len()).step_by(1000) {
        assert_eq!(decoder.decode(), Ok(None));
        decoder.push(wire.slice(at..wire.len().min(at + 1000)));
    }
    assert_eq!(decode(&mut decoder).body, body);
}

#[test]
fn debug_of_a_decoder_shows_nothing_that_was_read() {
    let mut decoder = Decoder::default();
    decoder.push(Bytes::from_static(b"CONNECT\npasscode:s3cret\n"));
    assert_eq!(decoder.decode(), Ok(None));
    let shown = format!("{decoder:?}");
    assert!(
        shown.contains("header block") && !shown.contains("s3cret"),
        "{shown}"
    );
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    decoder
}

fn decode(decoder: &mut Decoder) -> Frame {
    match decoder.decode() {
        Ok(Some(Item::Frame(frame))) => frame,
        other => panic!("no frame but {other:?}"),
    }
}

fn lies_in(part: &[u8], chunk: &Bytes) -> bool {
    let (part, chunk) = (part.as_ptr_range(), chunk.as_ptr_range());
    chunk.start <= part.start && part.end <= chunk.end
}

fn frame() -> impl Strategy<Value = Frame> {
    let headers = vec((text(), text()), 0..12);
    let body = vec(any::<u8>(), 0..200);
    (select(&Command::ALL[..]), headers, body).prop_map(|(command, headers, body)| {
        let mut frame = Frame::new(command).with_body(body);
        frame.headers.extend(headers);
        frame
    })
}

/// Text in which what has to be escaped is frequent.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        3 => select(&['\0', '\t', '\n', '\r', ' ', ':', '\\', 'c', 'n', 'r'][..]),
        3 => proptest::char::range('a', 'f'),
        1 => any::<char>(),
    ];
    vec(character, 0..12).prop_map(String::from_iter)
}

/// Bytes of which frames are made more often than by chance.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![select(&b"\0\n\n\r:\\cACKSEND"[..]), any::<u8>()]
}
