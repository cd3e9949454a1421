//! The frames of one chain joined for one write.

use super::write_batch::{LinkedFrame, WriteBatch};
use crate::dialect::{Encoder, Encoding, FrameBytes};
use crate::metrics::{RuleId, Tally};

/// Frames up to this size are copied together for one write; longer ones are written from where they are.
const COPIED_FRAME_BYTES_MAX: usize = 4 << 10;

/// The last chain's bytes, since the subscribers of a topic mostly have the same chain: joined once, written for each.
#[derive(Default)]
pub struct Joined {
    chain: Vec<LinkedFrame>,
    variant: Option<Encoding>,
    bytes: Vec<u8>,
    /// A lone frame that is too long to be copied.
    long: Option<FrameBytes>,
    /// How many messages of each rule are in it.
    messages: Vec<(RuleId, u64)>,
}

impl Joined {
    /// Whether these are the bytes of `chain` in `variant`.
    pub fn is_of(&self, chain: &[LinkedFrame], variant: Encoding) -> bool {
        self.variant == Some(variant) && self.chain == chain
    }

    /// Joins the frames of `chain`; `false`: one among several is too long to be copied.
    pub fn join(
        &mut self,
        chain: &[LinkedFrame],
        variant: Encoding,
        batch: &mut WriteBatch,
        encoder: &mut Encoder,
        tally: &mut Tally,
    ) -> bool {
        self.clear();
        for &frame in chain {
            let Some(bytes) = batch.bytes(frame, variant, encoder, tally) else { continue };
            if bytes.len() <= COPIED_FRAME_BYTES_MAX {
                self.bytes.extend_from_slice(&bytes);
            } else if chain.len() == 1 {
                self.long = Some(bytes);
            } else {
                return false;
            }
            if let Some(rule) = batch.rule(frame) {
                self.count(rule);
            }
        }
        self.chain.extend_from_slice(chain);
        self.variant = Some(variant);
        true
    }

    /// How many messages of each rule are in it.
    pub fn messages(&self) -> &[(RuleId, u64)] {
        &self.messages
    }

    fn count(&mut self, rule: RuleId) {
        match self.messages.iter_mut().find(|(known, _)| *known == rule) {
            Some((_, messages)) => *messages += 1,
            None => self.messages.push((rule, 1)),
        }
    }

    /// What is written to a session.
    pub fn bytes(&self) -> &[u8] {
        self.long.as_deref().unwrap_or(&self.bytes)
    }

    /// Forgets the chain, whose frames are gone.
    pub fn clear(&mut self) {
        self.chain.clear();
        self.variant = None;
        self.bytes.clear();
        self.long = None;
        self.messages.clear();
    }
}
