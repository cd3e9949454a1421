//! The shard's share of `outbox_total_bytes`. Past it, the fullest outboxes are shrunk first.

use std::cmp::Reverse;

use crate::codes::CloseCode;
use crate::metrics::{CloseReason, DropReason, Gauge, LimitKey};
use crate::shard::delivery::Offered;
use crate::shard::state::ShardState;

/// Brings the bytes of each paced session, held and in its outbox, back under `outbox_bytes`. Messages in the outbox
/// give way first because they are older, then the oldest held messages, each as its rule allows. If that is not
/// enough, the session is closed with 4004.
pub fn bound_paced(state: &mut ShardState) {
    let most = state.env.config.limits.outbox_bytes;
    while let Some(slot) = state.pacing.take_overfull() {
        let is_over = |state: &ShardState| state.delivery.outgoing.counted_bytes(slot) + state.pacing.bytes(slot) > most;
        if !state.table.is_open(slot) || !is_over(state) {
            continue;
        }
        state.env.tally.limit_hit(LimitKey::OutboxBytes);
        // An eighth more than necessary is freed, so that the next messages do not start this search again.
        let rest = most - most / 8;
        let room = rest.saturating_sub(state.pacing.bytes(slot));
        if state.delivery.shrink(slot, room, DropReason::Slow, state.env.now, &mut state.env.tally) != Offered::Queued {
            state.end_lapsed();
        }
        if is_over(state) {
            drop_held(state, slot, rest.saturating_sub(state.delivery.outgoing.counted_bytes(slot)), DropReason::Slow);
        }
        if is_over(state) {
            state.cut_off_slow(slot);
        }
    }
}

/// Publishes the bytes of gaps, cursors and running intervals as metrics. Closes sessions whose cursors, or whose
/// intervals, take more than `4 * outbox_bytes` (at least 64 KiB): they have more topics than they can follow. An
/// outbox bounds its gaps itself.
pub fn bound_bookkeeping(state: &mut ShardState) {
    /// Enough for cursors on a few hundred topics.
    const BYTES_LEAST: usize = 64 << 10;
    let most = (4 * state.env.config.limits.outbox_bytes).max(BYTES_LEAST);
    let mut overfull = Vec::new();
    let cursor_bytes = sum(state.catch_up.cursor_bytes(), most, &mut overfull);
    let interval_bytes = sum(state.pacing.interval_bytes(), most, &mut overfull);
    state.env.tally.set_part(Gauge::CursorBytes, cursor_bytes);
    state.env.tally.set_part(Gauge::IntervalBytes, interval_bytes);
    state.env.tally.set_part(Gauge::GapBytes, state.delivery.outgoing.gap_bytes());
    for slot in overfull {
        state.env.tally.limit_hit(LimitKey::OutboxBytes);
        state.cut_off_slow(slot);
    }
}

/// The sum of `notes`, in bytes by slot. Slots with more than `most` bytes are added to `overfull`.
fn sum(notes: impl Iterator<Item = (u32, usize)>, most: usize, overfull: &mut Vec<u32>) -> usize {
    let of_each = notes.inspect(|&(slot, bytes)| overfull.extend(Some(slot).filter(|_| bytes > most)));
    of_each.map(|(_, bytes)| bytes).sum()
}

fn drop_held(state: &mut ShardState, slot: u32, bytes_max: usize, reason: DropReason) {
    let ShardState { pacing, env, .. } = state;
    pacing.shrink(slot, bytes_max, reason, &mut env.tally);
}

/// Brings the outboxes of all sessions together back under `share` bytes, the fullest first, as their rules allow.
/// Sessions whose rules do not allow it are closed with 1013.
pub fn bound_outboxes(state: &mut ShardState, share: usize) {
    let unwritten = state.delivery.outgoing.backlogged();
    let held = state.pacing.holding().filter(|&slot| !state.delivery.outgoing.is_backlogged(slot));
    let mut fullest: Vec<(usize, u32)> = unwritten.chain(held).map(|slot| (state.owed_bytes(slot), slot)).collect();
    let total: usize = fullest.iter().map(|(bytes, _)| bytes).sum();
    state.env.load().show_outbox_bytes(total.min(share));
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
        // The fullest session gives way before the next one: its held messages are dropped too, or it is closed.
        let most = bytes.saturating_sub(over);
        let shrunk = state.delivery.shrink(slot, most, DropReason::Total, state.env.now, &mut state.env.tally);
        state.end_lapsed();
        if state.pacing.bytes(slot) > 0 && state.owed_bytes(slot) > most {
            drop_held(state, slot, most.saturating_sub(state.delivery.outgoing.outbox_bytes(slot)), DropReason::Total);
        }
        if shrunk == Offered::Overflowed || state.pacing.bytes(slot) > most {
            state.cut_off(slot, CloseCode::TryAgainLater, "the gateway's memory for outboxes is full", CloseReason::TooFull);
        }
        over = over.saturating_sub(bytes - state.owed_bytes(slot).min(bytes));
    }
}
