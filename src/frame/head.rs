//! Frame heads (RFC 6455 §5.2).

use fastwebsockets::OpCode;

use super::violation::Violation;

/// The longest head of a frame that the gateway writes, in bytes (unmasked, 64-bit length).
pub const HEAD_BYTES_MAX: usize = 10;

/// The longest head of a frame that a client sends, in bytes (masked, 64-bit length).
pub(super) const CLIENT_HEAD_BYTES_MAX: usize = 14;

/// The longest payload of a control frame, in bytes (RFC 6455 §5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The head of a client's frame. All rules that the head alone can break have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// FIN: the frame is the last of its message.
    pub fin: bool,
    /// RSV1: the message is compressed, if the extension was negotiated (RFC 7692 §6).
    pub compressed: bool,
    /// The opcode.
    pub opcode: OpCode,
    /// The masking key.
    pub mask: [u8; 4],
    /// The declared length of the payload.
    pub payload_bytes: usize,
}

impl Head {
    /// Parses the head at the front of `bytes`. Returns the head and its length; `Ok(None)`: it has not arrived whole. A violation is reported as
    /// soon as its byte has arrived, so that an incomplete head can be refused.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RSV2_AND_3 != 0 {
            return Err(Violation::protocol("a reserved bit is set"));
        }
        let (fin, compressed) = (first & FIN != 0, first & RSV1 != 0);
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| Violation::protocol("the opcode is reserved"))?;
        if is_control(opcode) && !fin {
            return Err(Violation::protocol("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::protocol("the frame is not masked"));
        }
        if is_control(opcode) && usize::from(second & !MASKED) > CONTROL_BYTES_MAX {
            return Err(Violation::protocol("a control frame has more than 125 bytes"));
        }
        let Some((payload_bytes, length_bytes)) = length(second & !MASKED, &bytes[2..])? else { return Ok(None) };
        let mask_at = 2 + length_bytes;
        let Some(mask) = bytes[mask_at..].first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, compressed, opcode, mask: *mask, payload_bytes }, mask_at + mask.len())))
    }

    /// Whether the frame is a Close, a Ping or a Pong.
    pub fn is_control(&self) -> bool {
        is_control(self.opcode)
    }
}

fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// The payload's length, and the number of bytes of `extended` that encode it. RFC 6455 §5.2 requires the shortest form. Other forms are
/// refused, because middleboxes disagree about frames with two encodings.
fn length(short: u8, extended: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let (length, length_bytes, least) = match short {
        LENGTH_16 => match extended.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2, 126),
            None => return Ok(None),
        },
        LENGTH_64 => match extended.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 8, 1 << 16),
            None => return Ok(None),
        },
        _ => (u64::from(short), 0, 0),
    };
    if length >> 63 != 0 {
        return Err(Violation::protocol("the top bit of a 64-bit length is set"));
    }
    if length < least {
        return Err(Violation::protocol("the length is not in its shortest form"));
    }
    let length = usize::try_from(length).map_err(|_| Violation::too_big())?;
    Ok(Some((length, length_bytes)))
}

/// The head of a whole, unmasked frame, and its length in bytes. `compressed` sets RSV1 (RFC 7692 §6).
pub fn server_head(opcode: OpCode, compressed: bool, payload_bytes: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    head[0] = FIN | if compressed { RSV1 } else { 0 } | opcode as u8;
    if payload_bytes < usize::from(LENGTH_16) {
        head[1] = payload_bytes as u8;
        return (head, 2);
    }
    if let Ok(length) = u16::try_from(payload_bytes) {
        head[1] = LENGTH_16;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        return (head, 4);
    }
    head[1] = LENGTH_64;
    head[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
    (head, HEAD_BYTES_MAX)
}

/// A whole control frame. The payload must have at most 125 bytes (RFC 6455 §5.5).
pub fn control_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= CONTROL_BYTES_MAX);
    let (head, head_bytes) = server_head(opcode, false, payload.len());
    [&head[..head_bytes], payload].concat()
}

/// Appends the head of a whole, unmasked frame.
pub fn write_head(frame: &mut Vec<u8>, opcode: OpCode, compressed: bool, payload_bytes: usize) {
    let (head, length) = server_head(opcode, compressed, payload_bytes);
    frame.extend_from_slice(&head[..length]);
}

#[cfg(test)]
mod tests;
