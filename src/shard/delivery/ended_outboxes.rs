//! The outboxes of sessions that have ended or were cut off, whose frames are given up in shares.

use std::collections::VecDeque;

use super::outbox::Outbox;
use crate::metrics::Tally;

/// Outboxes from which nothing is written any more. Their frames stay in the accounts until they are given up.
#[derive(Default)]
pub struct EndedOutboxes(VecDeque<Box<Outbox>>);

impl EndedOutboxes {
    /// Adds the outbox of a session that has ended or was cut off.
    pub fn add(&mut self, outbox: Box<Outbox>) {
        self.0.push_back(outbox);
    }

    /// Takes at most `most` steps and returns their number. A step gives up a frame, the gaps of a topic, or an empty
    /// outbox. Each message is booked as dropped.
    pub fn release(&mut self, most: usize, tally: &mut Tally) -> usize {
        let mut released = 0;
        while released < most
            && let Some(outbox) = self.0.front_mut()
        {
            released += outbox.abandon(most - released, tally).max(1);
            if outbox.is_done() {
                self.0.pop_front();
            }
        }
        released
    }

    /// About the number of steps left.
    pub fn steps(&self) -> usize {
        self.0.iter().map(|outbox| outbox.steps_to_abandon().max(1)).sum()
    }

    /// Whether no outbox is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
