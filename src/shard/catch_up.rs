//! Sessions that read what they missed: each turn gives out a share of history, in the order in which they came to want it.

use std::sync::Arc;

use super::outbox::{Outbox, Queued, Routed, What};
use super::sessions::Sessions;
use crate::dialect::{Event, event_frame, replay_frame};
use crate::hub::ReplayPiece;
use crate::position::Offset;
use crate::topic_name::TopicName;

/// Pieces that one session is given before the next.
const PIECES_PER_SHARE: usize = 4;

impl Sessions {
    /// Whether a session has history left to read.
    pub fn is_replaying(&self, slot: u32) -> bool {
        self.slots.get(slot).and_then(|session| session.replays.as_ref()).is_some_and(|replays| replays.has_more())
    }

    /// A session, whose outbox is empty, wants its next share of history.
    pub fn await_history(&mut self, slot: u32) {
        let Some(session) = self.slots.get_mut(slot) else { return };
        if !std::mem::replace(&mut session.awaits_history, true) {
            self.awaiting.push_back((slot, session.id));
        }
    }

    /// Gives out so many pieces of history, to those to whom all else is written: a `subscribed` goes before what is replayed.
    pub fn give_out_history(&mut self, mut pieces: usize) {
        let mut waiting = std::mem::take(&mut self.awaiting);
        waiting.retain(|&(slot, id)| {
            let Some(session) = self.slots.get_mut(slot).filter(|session| session.id == id) else { return false };
            if pieces == 0 || !session.chain.is_empty() {
                return true;
            }
            session.awaits_history = false;
            pieces -= self.give_share(slot, pieces.min(PIECES_PER_SHARE));
            false
        });
        waiting.append(&mut self.awaiting);
        self.awaiting = waiting;
    }

    /// Gives a session `pieces` of history at most, as far as its socket takes them; how many it was given.
    fn give_share(&mut self, slot: u32, pieces: usize) -> usize {
        let mut given = 0;
        while given < pieces && self.drain_outbox(slot) && self.is_replaying(slot) {
            self.pull_replay(slot);
            given += 1;
        }
        self.write_outbox(slot);
        given
    }

    /// Reads the next piece of history into the outbox.
    fn pull_replay(&mut self, slot: u32) {
        let now = self.now;
        let inbox = Arc::clone(&self.inbox);
        let Some(session) = self.slot(slot) else { return };
        let (id, variant) = (session.id, session.variant);
        let Some((topic, piece)) = session.replays.as_mut().and_then(|replays| replays.pull(now, || inbox.pushed())) else { return };
        if piece.caught_up {
            self.floored.push((inbox.pushed(), slot));
        }
        let Self { slots, tally, encoder, backlogged, .. } = self;
        let Some(session) = slots.get_mut(slot) else { return };
        let outbox = session.outbox.get_or_insert_with(|| {
            backlogged.insert(slot);
            Box::new(Outbox::new(now))
        });
        let ReplayPiece { gap, messages, .. } = piece;
        if let Some(frame) = gap.and_then(|(from, to)| event_frame(&gap_event(&topic, from, to), variant, encoder, tally)) {
            let _ = outbox.offer(Queued { frame, what: What::Reply }, usize::MAX, tally); // a notice is not bounded
        }
        let mut replayed = false;
        for message in messages.into_iter().filter(|message| message.except != Some(id)) {
            replayed = true;
            tally.routed(message.rule.id, 1);
            let frame = replay_frame(&message, variant, encoder, tally);
            let _ = outbox.offer(Queued { frame, what: What::Replayed(Arc::new(Routed::from(&message))) }, usize::MAX, tally); // pulled, so not bounded
        }
        if replayed {
            self.begin_interval(slot, &topic);
        }
    }
}

fn gap_event(topic: &TopicName, from: Offset, to: Offset) -> Event<'_> {
    Event::Gap { topic, from, to }
}
