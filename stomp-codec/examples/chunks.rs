//! Reads a stream in pieces of seven bytes, as a server would read a socket, and answers what it
//! cannot read with an ERROR frame.
#![expect(clippy::print_stdout, reason = "printing is what it does")]

use bytes::Bytes;
use stomp_codec::{Command, DecodeError, Decoder, Frame, Limits, Version};

fn main() {
    let mut decoder = Decoder::new(Limits {
        body: 64,
        ..Limits::default()
    });
    decoder.set_version(Version::V1_2);

    for piece in STREAM.chunks(7) {
        decoder.push(Bytes::from_static(piece));
        if let Err(error) = print_frames(&mut decoder) {
            let answer = refusal(&decoder, &error).encode(Version::V1_2);
            println!("answer: {}", answer.escape_ascii());
            return;
        }
    }
}

fn print_frames(decoder: &mut Decoder) -> Result<(), DecodeError> {
    while let Some(item) = decoder.decode()? {
        println!("{item:?}");
    }
    Ok(())
}

/// An ERROR names the receipt that was asked for, if that has been read.
fn refusal(decoder: &Decoder, error: &DecodeError) -> Frame {
    let frame = Frame::new(Command::Error).with_header("message", &error.to_string());
    match decoder.receipt() {
        Some(receipt) => frame.with_header("receipt-id", &receipt),
        None => frame,
    }
}

const STREAM: &[u8] = b"SEND\ndestination:/queue/a\n\nhello\0\n\
    SEND\ndestination:/queue/a\ncontent-length:5\n\nh\0llo\0\
    SEND\nreceipt:7\ncontent-length:65\n\n...";
