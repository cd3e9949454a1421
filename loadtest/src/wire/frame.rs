//! WebSocket frames (RFC 6455 §5.2): reads heads of a server's frames, and writes frames.

/// The opcode of a frame (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Binary data.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A request for a pong.
    Ping = 9,
    /// The answer to a ping.
    Pong = 10,
}

/// The head of a server's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// FIN: the frame is the last of its message.
    pub fin: bool,
    /// RSV1: the message is compressed (RFC 7692 §6).
    pub compressed: bool,
    pub opcode: Opcode,
    pub head_bytes: usize,
    pub payload_bytes: usize,
}

/// A server's frame that RFC 6455 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// §5.1: a server must not mask.
    #[error("the server masked a frame")]
    Masked,
    /// §5.2: reserved.
    #[error("the server sent the reserved opcode {0:#x} or a reserved bit")]
    Reserved(u8),
    /// Larger than `PAYLOAD_BYTES_MAX`.
    #[error("the server announced a frame of {0} bytes")]
    TooBig(u64),
}

/// The largest accepted payload, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

impl Head {
    /// Reads the head at the start of `bytes`; `None` while it is incomplete.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, BadHead> {
        let [first, second, ..] = *bytes else { return Ok(None) };
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            reserved => return Err(BadHead::Reserved(reserved)),
        };
        if first & 0x30 != 0 {
            return Err(BadHead::Reserved(first));
        }
        if second & 0x80 != 0 {
            return Err(BadHead::Masked);
        }
        let Some((head_bytes, payload_bytes)) = lengths(bytes) else { return Ok(None) };
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(BadHead::TooBig(payload_bytes));
        }
        Ok(Some(Self { fin: first & 0x80 != 0, compressed: first & 0x40 != 0, opcode, head_bytes, payload_bytes: payload_bytes as usize }))
    }
}

/// The length of the head at the start of `bytes`, without a mask, and that of the payload; `None` while it is incomplete.
pub fn lengths(bytes: &[u8]) -> Option<(usize, u64)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((4, u16::from_be_bytes(*bytes[2..].first_chunk()?).into())),
        127 => Some((10, u64::from_be_bytes(*bytes[2..].first_chunk()?))),
        short => Some((2, short.into())),
    }
}

/// Appends a client's frame. The masking key is zero, which is no work for the load test, and the usual work for the
/// server.
pub fn push_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends a server's frame.
pub fn push_unmasked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn push_head(out: &mut Vec<u8>, opcode: Opcode, length: usize, mask: u8) {
    out.push(0x80 | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(mask | short),
        (_, Ok(middle)) => {
            out.push(mask | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_is_read_as_it_was_written() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            push_unmasked(&mut frame, Opcode::Text, &vec![b'x'; length]);
            let head = Head::read(&frame).unwrap().unwrap();
            assert_eq!((head.fin, head.opcode, head.payload_bytes), (true, Opcode::Text, length));
            assert_eq!(head.head_bytes + length, frame.len());
            for cut in 0..head.head_bytes {
                assert_eq!(Head::read(&frame[..cut]), Ok(None), "{cut} of {length}");
            }
        }
    }

    #[test]
    fn a_masked_frame_of_a_server_is_refused() {
        let mut frame = Vec::new();
        push_masked(&mut frame, Opcode::Text, b"x");
        assert_eq!(Head::read(&frame), Err(BadHead::Masked));
    }
}
