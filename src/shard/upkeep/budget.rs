//! This shard's share of `outbox_total_bytes`: past it, the fullest outboxes give way first.

use std::cmp::Reverse;

use crate::codes::CloseCode;
use crate::metrics::{CloseReason, DropReason, LimitKey};
use crate::shard::delivery::Offered;
use crate::shard::state::ShardState;

/// Brings what is held for paced sessions back under `outbox_bytes`, their outboxes counted: the oldest gives way as its rule allows;
/// where that is too little, the session is closed with 4004.
pub fn bound_held(state: &mut ShardState) {
    let most = state.env.config.limits.outbox_bytes;
    while let Some(slot) = state.pacing.take_overfull() {
        if !state.table.is_open(slot) || state.owed_bytes(slot) <= most {
            continue;
        }
        state.env.tally.limit_hit(LimitKey::OutboxBytes);
        // An eighth more than must go, so that the next messages need not look for the oldest again.
        give_up_held(state, slot, (most - most / 8).saturating_sub(state.delivery.outbox_bytes(slot)), DropReason::Slow);
        if state.owed_bytes(slot) > most {
            state.cut_off_slow(slot);
        }
    }
}

fn give_up_held(state: &mut ShardState, slot: u32, bytes_max: usize, reason: DropReason) {
    let ShardState { pacing, env, .. } = state;
    pacing.shrink(slot, bytes_max, reason, &mut env.tally);
}

/// Brings the outboxes back under `share` bytes, as their rules allow; where they don't, sessions are closed with 1013.
pub fn keep_budget(state: &mut ShardState, share: usize) {
    let unwritten = state.delivery.backlogged().into_iter();
    let held = state.pacing.holding().filter(|&slot| !state.delivery.is_backlogged(slot));
    let mut fullest: Vec<(usize, u32)> = unwritten.chain(held).map(|slot| (state.owed_bytes(slot), slot)).collect();
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
        // Whoever holds it pays: what pacing holds for a session is given up, or the session closed, before another's turn comes.
        let most = bytes.saturating_sub(over);
        let shrunk = state.delivery.shrink(slot, most, DropReason::Total, &mut state.env.tally);
        if state.pacing.bytes(slot) > 0 && state.owed_bytes(slot) > most {
            give_up_held(state, slot, most.saturating_sub(state.delivery.outbox_bytes(slot)), DropReason::Total);
        }
        if shrunk == Offered::Overflowed || state.pacing.bytes(slot) > most {
            state.cut_off(slot, CloseCode::TryAgainLater, "the gateway's memory for outboxes is full", CloseReason::TooFull);
        }
        over = over.saturating_sub(bytes - state.owed_bytes(slot).min(bytes));
    }
}
