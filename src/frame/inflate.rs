//! Inflation of one message up to a bound that holds while it runs (RFC 7692 §7.2.2).

use flate2::{Decompress, FlushDecompress, Status};

/// The most that the scratch keeps from one message to the next, in bytes.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// The scratch's first step, in bytes.
const SCRATCH_BYTES_FIRST: usize = 4 * 1024;

/// The tail that a sender takes off (RFC 7692 §7.2.2), and an empty last block: where the message was whole, the stream ends
/// with exactly these bytes and they add nothing. So a message cut in the middle of a block is found out.
const TAIL_AND_END: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// Inflates messages one at a time and lends them from its scratch; a shard owns one for all its sessions.
/// Each message has a window of its own, since `client_no_context_takeover` is always agreed on.
#[derive(Debug, Default)]
pub struct Inflater {
    /// The decompressor, made at first use. Its window has 15 bits, which serve every smaller window too.
    stream: Option<Decompress>,
    /// The message lent last.
    scratch: Vec<u8>,
}

/// Why a message could not be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotInflated {
    /// The message inflates to more bytes than allowed.
    #[error("the inflated message is larger than allowed")]
    TooBig,
    /// The payload is not a deflate stream, or the stream ends within a block.
    #[error("the message is not a whole deflate stream")]
    Corrupt,
}

impl Inflater {
    /// Inflates `payload`, a message as it was on the wire; at most `limit` bytes, and the scratch never holds more than one above.
    /// An empty payload is an empty message: RFC 7692 §7.2.3.6 has senders write `00`, but some that cut the tail off blindly don't.
    pub(super) fn inflate(&mut self, payload: &[u8], limit: usize) -> Result<&[u8], NotInflated> {
        let Self { stream, scratch } = self;
        scratch.clear();
        if payload.is_empty() {
            return Ok(scratch);
        }
        let stream = stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        let expected = payload.len().saturating_mul(4).clamp(SCRATCH_BYTES_FIRST, SCRATCH_BYTES_KEPT);
        reserve(scratch, expected, limit);
        // A sender that ends its stream with a last block owes one more empty block (RFC 7692 §7.2.3.5); without that it is whole all the same.
        if !feed(stream, payload, scratch, limit)? {
            let length = scratch.len();
            if !feed(stream, &TAIL_AND_END, scratch, limit)? || scratch.len() > length {
                return Err(NotInflated::Corrupt);
            }
        }
        Ok(scratch)
    }

    /// Takes over a message that a session has assembled and lends it, so that a session at rest owns no buffer.
    pub(super) fn lend(&mut self, message: Vec<u8>) -> &[u8] {
        self.scratch = message;
        &self.scratch
    }

    /// Frees the memory that a large message has made the scratch grow to. Called before the next read, when nothing is lent.
    pub(super) fn trim(&mut self) {
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }
}

/// Inflates all of `input`; `true`: a last block (BFINAL) ended exactly with it. After a last block that ends before, a new stream
/// begins at the next byte, with an empty window: who wrote the last block has forgotten his, too.
fn feed(stream: &mut Decompress, mut input: &[u8], scratch: &mut Vec<u8>, limit: usize) -> Result<bool, NotInflated> {
    loop {
        if scratch.len() > limit {
            return Err(NotInflated::TooBig);
        }
        if scratch.len() == scratch.capacity() {
            let double = scratch.len();
            reserve(scratch, double, limit);
        }
        let (read, length) = (stream.total_in(), scratch.len());
        let status = stream.decompress_vec(input, scratch, FlushDecompress::Sync).map_err(|_| NotInflated::Corrupt)?;
        let used = (stream.total_in() - read) as usize;
        input = &input[used..];
        if status == Status::StreamEnd {
            if input.is_empty() {
                return if scratch.len() > limit { Err(NotInflated::TooBig) } else { Ok(true) };
            }
            stream.reset(false);
            continue;
        }
        // With room left, nothing is held back: what the input stands for has been written.
        if input.is_empty() && scratch.len() < scratch.capacity() {
            return if scratch.len() > limit { Err(NotInflated::TooBig) } else { Ok(false) };
        }
        if used == 0 && scratch.len() == length {
            return Err(NotInflated::Corrupt);
        }
    }
}

/// Makes room for `more` bytes, at least one, and at most up to one above `limit`, which tells that a message is too large.
fn reserve(scratch: &mut Vec<u8>, more: usize, limit: usize) {
    let room = limit.saturating_add(1).saturating_sub(scratch.len());
    scratch.reserve_exact(more.min(room).max(1));
}

#[cfg(test)]
mod tests;
