//! The Close frame (RFC 6455, sections 5.5.1 and 7.4).

use bytes::Bytes;

use super::fault::WebSocketFault;
use super::frame::{self, Kind};

/// The close code of a peer that violates the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;

/// Returns a Close, its reason cut to what a control frame can hold.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..cut(reason)];
    let mut out = Vec::with_capacity(4 + reason.len());
    frame::write_header(&mut out, Kind::Close, CODE + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
    out.into()
}

/// Returns the reply to a Close with this payload: the same (section 5.5.1), or what is wrong with
/// its code.
pub(super) fn reply(payload: &[u8]) -> Result<Bytes, WebSocketFault> {
    match payload {
        [] => {}
        [_] => return Err(WebSocketFault::Protocol("a Close with half a code")),
        [high, low, reason @ ..] => {
            if simdutf8::basic::from_utf8(reason).is_err() {
                return Err(WebSocketFault::InvalidUtf8);
            }
            if !is_allowed(u16::from_be_bytes([*high, *low])) {
                return Ok(close(PROTOCOL_ERROR, "a code that nobody may send"));
            }
        }
    }
    let mut echo = Vec::new();
    frame::write_control(&mut echo, Kind::Close, payload);
    Ok(echo.into())
}

/// Returns where to cut a reason: at a character boundary.
fn cut(reason: &str) -> usize {
    let cut = (frame::MAX_CONTROL - CODE).min(reason.len());
    (0..=cut)
        .rev()
        .find(|&at| reason.is_char_boundary(at))
        .unwrap_or(0)
}

/// Whether a Close may have this code (section 7.4).
const fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The bytes of a code.
const CODE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character_and_fits_a_control_frame() {
        let close = close(1013, &"ü".repeat(100));
        assert_eq!(close[1], 2 + 122);
        assert_eq!(close[2..4], 1013_u16.to_be_bytes());
        assert!(std::str::from_utf8(&close[4..]).is_ok());
    }
}
