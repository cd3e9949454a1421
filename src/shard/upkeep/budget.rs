//! This shard's share of `outbox_total_bytes`: past it, the fullest outboxes give way first.

use std::cmp::Reverse;

use crate::codes::CloseCode;
use crate::metrics::{CloseReason, DropReason, LimitKey};
use crate::shard::delivery::Offered;
use crate::shard::state::ShardState;

/// Brings the outboxes back under `share` bytes, as their rules allow; where they don't, sessions are closed with 1013.
pub fn keep_budget(state: &mut ShardState, share: usize) {
    let mut fullest: Vec<(usize, u32)> = state.delivery.backlogged().into_iter().map(|slot| (state.owed_bytes(slot), slot)).collect();
    let total: usize = fullest.iter().map(|(bytes, _)| bytes).sum();
    if total <= share {
        return;
    }
    state.env.tally.limit_hit(LimitKey::OutboxTotalBytes);
    fullest.sort_unstable_by_key(|&(bytes, slot)| (Reverse(bytes), slot));
    let mut over = total - share;
    for (bytes, slot) in fullest {
        if over == 0 {
            return;
        }
        if !state.table.is_open(slot) {
            continue;
        }
        let shrunk = state.delivery.shrink(slot, bytes.saturating_sub(over), DropReason::Total, &mut state.env.tally);
        if shrunk == Offered::Overflowed {
            state.cut_off(slot, CloseCode::TryAgainLater, "the gateway's memory for outboxes is full", CloseReason::TooFull);
        }
        over = over.saturating_sub(bytes - state.owed_bytes(slot).min(bytes));
    }
}
