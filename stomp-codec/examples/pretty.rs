//! Prints the frames of a transcript: `pretty [1.0|1.1|1.2] < transcript`.
//!
//! Without a version the one counts on which CONNECT would settle.
#![expect(clippy::print_stdout, reason = "printing is what it does")]

use std::{
    env,
    error::Error,
    io::{Read, stdin},
};

use stomp_codec::{Command, Decoder, Frame, Item, Version};

fn main() -> Result<(), Box<dyn Error>> {
    let mut decoder = Decoder::default();
    if let Some(version) = env::args().nth(1) {
        decoder.set_version(Version::negotiate(Some(&version)).ok_or("no such version")?);
    }
    let mut transcript = Vec::new();
    stdin().read_to_end(&mut transcript)?;
    decoder.push(transcript.into());

    while let Some(item) = decoder.decode()? {
        match item {
            Item::HeartBeat => println!("(heart-beat)\n"),
            Item::Frame(frame) => {
                if let Some(version) = agreed_on(&frame) {
                    decoder.set_version(version);
                }
                print(&frame);
            }
        }
    }
    if decoder.buffered() > 0 {
        println!("({} bytes of an unfinished frame)", decoder.buffered());
    }
    Ok(())
}

fn agreed_on(frame: &Frame) -> Option<Version> {
    match frame.command {
        Command::Connect | Command::Stomp => Version::negotiate(frame.header("accept-version")),
        Command::Connected => Version::negotiate(frame.header("version")),
        _ => None,
    }
}

fn print(frame: &Frame) {
    println!("{}", frame.command);
    for (name, value) in frame.headers.iter() {
        println!("  {name:?}: {value:?}");
    }
    if !frame.body.is_empty() {
        println!(
            "  {} bytes: {}",
            frame.body.len(),
            frame.body.escape_ascii()
        );
    }
    println!();
}
