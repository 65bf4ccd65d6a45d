//! The faults of a peer, one variant each.

use crate::{Limits, Version};

/// Why bytes are not valid STOMP, or exceed the [`Limits`].
///
/// The text (`Display`) is for the developer of the peer: it may be sent in the `message` header or
/// the body of an ERROR frame. It repeats no header value except a `content-length`. No error is
/// recoverable: the end of the faulty frame is unknown, so the connection must be closed (STOMP
/// 1.2, "ERROR").
///
/// Lines are counted from the command line, which is line 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than [`Limits::body`] bytes have arrived without a NUL.
    #[error("a body of more than {limit} bytes, and no NUL that ends it")]
    BodyTooLong {
        /// The limit.
        limit: usize,
    },
    /// `content-length` announces a body above [`Limits::body`]; none of it has been read.
    #[error("content-length announces {announced} bytes, at most {limit} are accepted")]
    BodyTooBig {
        /// The limit.
        limit: usize,
        /// The announced length; `u64::MAX` stands for all larger numbers.
        announced: u64,
    },
    /// No end of line within the first [`Limits::COMMAND`] bytes of a frame.
    #[error("no command within {} bytes: is this STOMP?", Limits::COMMAND)]
    CommandTooLong,
    /// A header line starts with a colon.
    #[error("line {line} of the frame: a header with an empty name")]
    EmptyHeaderName {
        /// Line of the frame.
        line: usize,
    },
    /// One header line is longer than [`Limits::header_line`].
    #[error("a header line of more than {limit} bytes")]
    HeaderLineTooLong {
        /// The limit.
        limit: usize,
    },
    /// A line between the command and the blank line is not a header.
    #[error(
        "line {line} of the frame: a header line without a colon (is the blank line between headers and body missing?)"
    )]
    HeaderWithoutColon {
        /// Line of the frame.
        line: usize,
    },
    /// All header lines together are longer than [`Limits::header_bytes`].
    #[error("headers of more than {limit} bytes in one frame")]
    HeadersTooLong {
        /// The limit.
        limit: usize,
    },
    /// `content-length` is not a sequence of digits.
    #[error(
        "content-length is \"{value}\": digits are expected and nothing else, no sign and no space"
    )]
    InvalidContentLength {
        /// The value as it was sent, shortened, unprintable characters escaped.
        value: String,
    },
    /// A header is not UTF-8.
    #[error("line {line} of the frame: a header that is not UTF-8")]
    InvalidUtf8 {
        /// Line of the frame.
        line: usize,
    },
    /// The body does not end where `content-length` says.
    #[error(
        "expected NUL after content-length bytes ({announced}): content-length counts bytes, not characters \
         (\"\u{e9}\" is 2 bytes, an emoji is 4); React Native cuts text at a NUL (set forceBinaryWSFrames); \
         splitLargeFrames of stomp.js may split an emoji"
    )]
    MissingNul {
        /// The value of `content-length`.
        announced: usize,
    },
    /// A NUL before the blank line.
    #[error(
        "line {line} of the frame: a NUL among the headers (is the blank line before the NUL missing?)"
    )]
    NulInHeaders {
        /// Line of the frame.
        line: usize,
    },
    /// More header lines than [`Limits::headers`].
    #[error("more than {limit} headers in one frame, repeats included")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// A backslash sequence that the version does not define; fatal in 1.2
    /// (STOMP 1.2, "Value Encoding").
    #[error(
        "line {line} of the frame: undefined escape {sequence} in a header; STOMP {version} knows \\r \\n \\c and \\\\"
    )]
    UndefinedEscape {
        /// Line of the frame.
        line: usize,
        /// The backslash and what follows it.
        sequence: String,
        /// The negotiated version.
        version: Version,
    },
    /// The first line of a frame is not a command.
    #[error(
        "unknown command \"{command}\": commands are in capitals, with nothing around them (a content-length \
         that is too small also shows like this)"
    )]
    UnknownCommand {
        /// The line as it was sent, unprintable characters escaped.
        command: String,
    },
}

/// The class of a [`DecodeError`], which determines the close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeErrorKind {
    /// The bytes are not STOMP (WebSocket: 1002).
    Syntax,
    /// A limit was exceeded (WebSocket: 1009).
    TooBig,
    /// Text that is not UTF-8 (WebSocket: 1007).
    InvalidUtf8,
}

impl DecodeError {
    /// Every label that [`label`](Self::label) can return, for metrics that are registered
    /// beforehand.
    pub const LABELS: [&'static str; 14] = [
        "body_too_big",
        "body_too_long",
        "command_too_long",
        "empty_header_name",
        "header_line_too_long",
        "header_without_colon",
        "headers_too_long",
        "invalid_content_length",
        "invalid_utf8",
        "missing_nul",
        "nul_in_headers",
        "too_many_headers",
        "undefined_escape",
        "unknown_command",
    ];

    /// Returns the class of the fault.
    pub const fn kind(&self) -> DecodeErrorKind {
        match self {
            Self::BodyTooBig { .. }
            | Self::BodyTooLong { .. }
            | Self::HeaderLineTooLong { .. }
            | Self::HeadersTooLong { .. }
            | Self::TooManyHeaders { .. } => DecodeErrorKind::TooBig,
            Self::InvalidUtf8 { .. } => DecodeErrorKind::InvalidUtf8,
            Self::CommandTooLong
            | Self::EmptyHeaderName { .. }
            | Self::HeaderWithoutColon { .. }
            | Self::InvalidContentLength { .. }
            | Self::MissingNul { .. }
            | Self::NulInHeaders { .. }
            | Self::UndefinedEscape { .. }
            | Self::UnknownCommand { .. } => DecodeErrorKind::Syntax,
        }
    }

    /// Returns a short name from a closed set ([`LABELS`](Self::LABELS)), for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::BodyTooBig { .. } => "body_too_big",
            Self::BodyTooLong { .. } => "body_too_long",
            Self::CommandTooLong => "command_too_long",
            Self::EmptyHeaderName { .. } => "empty_header_name",
            Self::HeaderLineTooLong { .. } => "header_line_too_long",
            Self::HeaderWithoutColon { .. } => "header_without_colon",
            Self::HeadersTooLong { .. } => "headers_too_long",
            Self::InvalidContentLength { .. } => "invalid_content_length",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::MissingNul { .. } => "missing_nul",
            Self::NulInHeaders { .. } => "nul_in_headers",
            Self::TooManyHeaders { .. } => "too_many_headers",
            Self::UndefinedEscape { .. } => "undefined_escape",
            Self::UnknownCommand { .. } => "unknown_command",
        }
    }
}
