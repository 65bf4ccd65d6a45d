//! A codec for STOMP.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![forbid(unsafe_code)]

mod block;
mod decoder;
mod encode;
mod error;
mod escape;
mod frame;
mod headers;
mod limits;
mod parse;
mod version;

pub use decoder::{Decoder, Item};
pub use encode::{FrameWriter, write_header, write_headers};
pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{Command, Frame};
pub use headers::Headers;
pub use limits::Limits;
pub use version::Version;
