//! One item of a backlog: messages of an encoded run, or one of the broker's own frames.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::encoding::EncodedRun;

use super::progress::Track;

#[derive(Debug)]
pub(super) struct Item {
    /// Never decreases from front to back, so that an item can be found by a search.
    pub(super) place: u64,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The messages of this range of an encoded run, for the subscription with this number.
    Messages {
        encoded: Arc<EncodedRun>,
        range: Range<usize>,
        subscription: u32,
        /// For deliveries: where to report their progress.
        track: Option<Track>,
    },
    Reply(Bytes),
    /// A Pong or a Close. It is not data, and heart-beats count only data.
    Control(Bytes),
    Beat(Bytes),
    Ping(Bytes),
    /// All its messages were dropped.
    Hollow,
}

impl Item {
    pub(super) fn is_hollow(&self) -> bool {
        matches!(self.content, Content::Hollow)
    }

    pub(super) fn is_messages(&self) -> bool {
        matches!(self.content, Content::Messages { .. })
    }
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Messages { encoded, range, .. } => {
                let begin = encoded.start(range.start);
                &encoded.bytes()[begin..begin + encoded.size(range)]
            }
            Self::Reply(bytes) | Self::Control(bytes) | Self::Beat(bytes) | Self::Ping(bytes) => {
                bytes
            }
            Self::Hollow => &[],
        }
    }

    pub(super) fn is_data(&self) -> bool {
        !matches!(self, Self::Control(_) | Self::Ping(_))
    }
}
