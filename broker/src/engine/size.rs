//! Limits that no setting changes.

/// Maximum length of a destination or pattern, in bytes.
pub const DESTINATION_BYTES: usize = 1024;
/// Maximum number of segments of a destination or pattern.
pub const DESTINATION_SEGMENTS: usize = 64;
/// Maximum number of multi-segment wildcards (`#`, `**`, a last `>`) in a pattern.
pub const MULTI_WILDCARDS: usize = 4;
/// Maximum number of open transactions in one session.
pub const OPEN_TRANSACTIONS: usize = 16;
/// Maximum number of frames that one transaction holds.
pub const TRANSACTION_FRAMES: usize = 1024;
/// Maximum memory that the messages of all transactions of one session hold: their text and the
/// overhead of each.
pub const TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
