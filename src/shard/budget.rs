//! This shard's share of `outbox_total_bytes`: past it, the fullest outboxes give way first.

use std::cmp::Reverse;

use super::outbox::Offered;
use super::sessions::Sessions;
use crate::codes::CloseCode;
use crate::metrics::{CloseReason, DropReason, LimitKey};

impl Sessions {
    /// Brings the outboxes back under `share` bytes, as their rules allow; where they don't, sessions are closed with 1013.
    pub fn keep_budget(&mut self, share: usize) {
        let mut fullest: Vec<(usize, u32)> = self.backlogged.iter().map(|&slot| (self.outbox_bytes(slot), slot)).collect();
        let total: usize = fullest.iter().map(|(bytes, _)| bytes).sum();
        if total <= share {
            return;
        }
        self.limit_hit(LimitKey::OutboxTotalBytes);
        fullest.sort_unstable_by_key(|&(bytes, slot)| (Reverse(bytes), slot));
        let mut over = total - share;
        for (bytes, slot) in fullest {
            if over == 0 {
                return;
            }
            let Self { slots, tally, .. } = self;
            let Some(session) = slots.get_mut(slot).filter(|session| session.is_open()) else { continue };
            let Some(outbox) = session.outbox.as_mut() else { continue };
            if outbox.shrink(bytes.saturating_sub(over), DropReason::Total, tally) == Offered::Overflowed {
                self.cut_off(slot, CloseCode::TryAgainLater, "the gateway's memory for outboxes is full", CloseReason::TooFull);
            }
            over = over.saturating_sub(bytes - self.outbox_bytes(slot).min(bytes));
        }
    }

    fn outbox_bytes(&self, slot: u32) -> usize {
        self.slots.get(slot).map_or(0, |session| session.outbox_bytes())
    }
}
