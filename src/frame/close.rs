//! The payload of a Close frame (RFC 6455 §5.5.1, §7.4).

use fastwebsockets::OpCode;

use super::head::{CONTROL_BYTES_MAX, control_frame};
use super::violation::Violation;

/// The length of the code at the front of the payload, in bytes.
const CODE_BYTES: usize = 2;

/// A whole Close frame. The reason is cut to at most 123 bytes at the boundary of a character. Without a `code` the
/// payload is empty.
pub fn close_frame(code: Option<u16>, reason: &str) -> Vec<u8> {
    let Some(code) = code else { return control_frame(OpCode::Close, &[]) };
    let mut end = reason.len().min(CONTROL_BYTES_MAX - CODE_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    control_frame(OpCode::Close, &[&code.to_be_bytes(), &reason.as_bytes()[..end]].concat())
}

/// Checks the payload of a client's Close frame: empty, or a code that may be sent and a reason in UTF-8.
pub(super) fn read_close(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return Err(Violation::protocol("the payload of a Close has one byte"));
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Violation::protocol("the code of this Close may not be sent"));
    }
    let reason = str::from_utf8(reason).map_err(|_| Violation::not_consistent("the reason of a Close is not UTF-8"))?;
    Ok(Some((code, reason)))
}

/// Whether a client may send `code` (RFC 6455 §7.4). 1004 to 1006 and 1015 may not be sent. Unassigned codes below 3000
/// are refused.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::CloseCode;

    /// RFC 6455 §7.4.1, §7.4.2.
    #[test]
    fn only_codes_that_may_be_sent_are_accepted() {
        for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            assert_eq!(read_close(&u16::to_be_bytes(code)), Ok(Some((code, ""))));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(read_close(&u16::to_be_bytes(code)).unwrap_err().code, CloseCode::Protocol, "{code}");
        }
    }

    /// RFC 6455 §5.5.1: the text is UTF-8.
    #[test]
    fn a_close_payload_is_empty_or_a_code_with_text() {
        assert_eq!(read_close(b""), Ok(None));
        assert_eq!(read_close(b"\x03").unwrap_err().code, CloseCode::Protocol);
        assert_eq!(read_close(b"\x03\xe8bye"), Ok(Some((1000, "bye"))));
        assert_eq!(read_close(b"\x03\xe8\xff").unwrap_err().code, CloseCode::NotUtf8);
        assert_eq!(read_close(b"\x03\xe8\xe2\x82").unwrap_err().code, CloseCode::NotUtf8);
    }

    /// RFC 6455 §5.5: a control frame has at most 125 bytes.
    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close_frame(Some(1008), &"€".repeat(100));
        assert_eq!(frame[..4], [0x88, 2 + 123, 0x03, 0xf0]);
        assert_eq!(str::from_utf8(&frame[4..]), Ok("€".repeat(41).as_str()));
        assert_eq!(close_frame(Some(1008), &format!("x{}", "€".repeat(100))).len(), 4 + 1 + 120);
        assert_eq!(close_frame(None, "unsent"), [0x88, 0]);
    }
}
