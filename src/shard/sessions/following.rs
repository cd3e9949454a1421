//! The progress of a reload, which readers follow over several ticks.

use std::ops::Range;
use std::time::Duration;

use crate::config::Rules;

/// The time in each tick in which readers follow a new configuration. It is longer by one reader.
pub const FOLLOWING_TIME: Duration = Duration::from_micros(256);

/// Which sessions may still follow a former configuration.
#[derive(Default)]
pub struct Following {
    /// The slots that were not looked at since the last reload.
    left: Range<u32>,
    may_enter_presence: bool,
}

impl Following {
    /// Begins anew: `rules` are in force in place of `former`, and all sessions have slots before `end`.
    pub fn begin(&mut self, rules: &Rules, former: &Rules, end: u32) {
        let has_more_presence = rules != former && rules.iter().any(|rule| rule.presence);
        self.may_enter_presence = has_more_presence || self.may_enter_presence && !self.is_over();
        self.left = 0..end;
    }

    /// Takes the next slot.
    pub fn next(&mut self) -> Option<u32> {
        self.left.next()
    }

    /// Whether all slots were taken.
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether rules may have turned presence on that was off when a session followed last.
    pub fn may_enter_presence(&self) -> bool {
        self.may_enter_presence
    }
}
