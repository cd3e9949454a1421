//! Inflates single messages (RFC 7692 §7.2.2) up to a limit that also bounds the memory of the inflation.

use flate2::{Decompress, FlushDecompress, Status};

use crate::frame::violation::Violation;

/// The capacity that the scratch buffer keeps from one message to the next, in bytes.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// The first capacity of the scratch buffer, in bytes.
const SCRATCH_BYTES_FIRST: usize = 4 * 1024;

/// The tail that senders remove (RFC 7692 §7.2.2), and an empty last block. The stream of a whole message ends exactly with these bytes, which
/// add no output. A message that was cut within a block does not.
const TAIL_AND_END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// Inflates messages one at a time and lends them from its scratch buffer. A shard has one inflater for all its sessions. Each message has a
/// window of its own, because the gateway always negotiates `client_no_context_takeover`.
#[derive(Debug, Default)]
pub struct Inflater {
    /// The decompressor, made at first use. Its window has 15 bits, which serve every smaller window too.
    stream: Option<Decompress>,
    /// The message lent last.
    scratch: Vec<u8>,
}

impl Inflater {
    /// Inflates `payload`, the payload of a compressed message, to at most `limit` bytes. The scratch buffer never holds more than one byte above
    /// `limit`. An empty payload is an empty message: senders should write `00` (RFC 7692 §7.2.3.6), but some always remove the tail.
    pub(in crate::frame) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&[u8], Violation> {
        let Self { stream, scratch } = self;
        scratch.clear();
        if payload.is_empty() {
            return Ok(scratch);
        }
        let stream = stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let expected = payload.len().saturating_mul(4).clamp(SCRATCH_BYTES_FIRST, SCRATCH_BYTES_KEPT);
        reserve(scratch, expected, limit);
        // After a last block a sender should write one more empty block (RFC 7692 §7.2.3.4). A message without it is accepted as whole.
        if !feed(stream, payload, scratch, limit)? {
            let length = scratch.len();
            if !feed(stream, &TAIL_AND_END, scratch, limit)? || scratch.len() > length {
                return Err(corrupt());
            }
        }
        Ok(scratch)
    }

    /// Takes the buffer of an assembled message and lends the message, so that an idle session owns no buffer.
    pub(in crate::frame) fn lend(&mut self, message: Vec<u8>) -> &[u8] {
        self.scratch = message;
        &self.scratch
    }

    /// Shrinks the scratch buffer after a large message. Called before the next read, when no message is lent.
    pub(in crate::frame) fn trim(&mut self) {
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}

/// The payload is not a deflate stream, or the stream ends within a block. Neither RFC defines a close code for that, so it is 1007:
/// inconsistent data (RFC 6455 §7.4.1).
fn corrupt() -> Violation {
    Violation::not_consistent("a compressed message is not a deflate stream")
}

/// Inflates all of `input`; `true`: a last block (BFINAL) ended exactly with it. After a last block that ends earlier, a new stream with an
/// empty window begins at the next byte, because the sender's compressor began a new window too.
fn feed(stream: &mut Decompress, mut input: &[u8], scratch: &mut Vec<u8>, limit: usize) -> Result<bool, Violation> {
    loop {
        if scratch.len() > limit {
            return Err(Violation::too_big());
        }
        if scratch.len() == scratch.capacity() {
            let double = scratch.len();
            reserve(scratch, double, limit);
        }
        let (read, length) = (stream.total_in(), scratch.len());
        let status = stream.decompress_vec(input, scratch, FlushDecompress::Sync).map_err(|_| corrupt())?;
        let used = (stream.total_in() - read) as usize;
        input = &input[used..];
        if status == Status::StreamEnd {
            if input.is_empty() {
                return if scratch.len() > limit { Err(Violation::too_big()) } else { Ok(true) };
            }
            stream.reset(false);
            continue;
        }
        // If room is left, all output for the input was written.
        if input.is_empty() && scratch.len() < scratch.capacity() {
            return if scratch.len() > limit { Err(Violation::too_big()) } else { Ok(false) };
        }
        if used == 0 && scratch.len() == length {
            return Err(corrupt());
        }
    }
}

/// Makes room for `more` bytes and at least one, up to one byte above `limit`. A message that fills this byte is too large.
fn reserve(scratch: &mut Vec<u8>, more: usize, limit: usize) {
    let room = limit.saturating_add(1).saturating_sub(scratch.len());
    scratch.reserve_exact(more.min(room).max(1));
}

#[cfg(test)]
mod tests;
