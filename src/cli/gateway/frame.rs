//! WebSocket frames (RFC 6455 §5.2): reads unmasked ones of a server, writes masked ones of a client.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::{HEAD_BYTES_MAX, OpCode, server_head};

/// The longest accepted message, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
const CONTROL_BYTES_MAX: usize = 125;

/// The bytes violate RFC 6455, for this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the gateway sent is no WebSocket frame: {0}")]
pub struct NoFrame(pub(super) &'static str);

/// One whole frame.
pub(super) struct Frame {
    /// Whether it is the last frame of its message.
    pub(super) fin: bool,
    pub(super) opcode: OpCode,
    pub(super) payload: Bytes,
}

/// Removes one whole frame from the front of `received`; `None` while it is incomplete.
pub(super) fn read_frame(received: &mut BytesMut) -> Result<Option<Frame>, NoFrame> {
    let [first, second, rest @ ..] = &received[..] else { return Ok(None) };
    let fin = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return Err(NoFrame("a reserved bit is set"));
    }
    let opcode = OpCode::try_from(first & 0x0F).map_err(|_| NoFrame("an unknown opcode"))?;
    if second & 0x80 != 0 {
        return Err(NoFrame("the gateway masked it"));
    }
    let (head, length) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (2, usize::from(length)),
    };
    let is_control = matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
    if is_control && (!fin || length > CONTROL_BYTES_MAX) {
        return Err(NoFrame("a control frame that is fragmented or longer than 125 bytes"));
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(NoFrame("a message longer than 64 MiB"));
    }
    if received.len() < head + length {
        received.reserve(head + length - received.len());
        return Ok(None);
    }
    received.advance(head);
    Ok(Some(Frame { fin, opcode, payload: received.split_to(length).freeze() }))
}

/// Appends a whole frame, masked by `mask` (RFC 6455 §5.3).
pub(super) fn write_frame(unsent: &mut BytesMut, opcode: OpCode, payload: &[u8], mask: [u8; 4]) {
    let (mut head, head_bytes) = server_head(opcode, false, payload.len());
    head[1] |= 0x80; // a client's frame is masked
    unsent.reserve(HEAD_BYTES_MAX + mask.len() + payload.len());
    unsent.put_slice(&head[..head_bytes]);
    unsent.put_slice(&mask);
    let start = unsent.len();
    unsent.put_slice(payload);
    fastwebsockets::unmask(&mut unsent[start..], mask);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_masked_payload_is_unmasked(length in prop_oneof![0usize..300, 65_000usize..66_000], mask: [u8; 4]) {
            let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let mut sent = BytesMut::new();
            write_frame(&mut sent, OpCode::Text, &payload, mask);
            let start = sent.len() - length;
            prop_assert_eq!(&sent[start - 4..start], &mask);
            let plain: Vec<u8> = sent[start..].iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
            prop_assert_eq!(plain, payload);
        }
    }
}
