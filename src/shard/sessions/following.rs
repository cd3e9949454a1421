//! The progress of a reload, which readers follow over several ticks.

use std::time::Duration;

use crate::config::Rules;
use crate::topic_name::Scope;

/// The time in each tick in which readers follow a new configuration. The last reader may exceed it.
pub const FOLLOWING_TIME: Duration = Duration::from_micros(256);

/// Which sessions may still follow a former configuration.
#[derive(Default)]
pub struct Following {
    /// The slot to visit next. At `end`, this is slot 0.
    next: u32,
    /// The number of slots not yet visited since the last reload.
    left: u32,
    /// At the last reload, all sessions had slots before this one.
    end: u32,
    may_enter_presence: bool,
}

impl Following {
    /// Begins anew: `rules` are in force in place of `former`, and all sessions have slots before `end`. The first slot
    /// visited follows the last one of the former reload, so that every slot is visited however frequent reloads are.
    pub fn begin(&mut self, rules: &Rules, former: &Rules, end: u32) {
        let has_more_presence = rules.iter().any(|rule| rule.presence) && !presence(rules).eq(presence(former));
        self.may_enter_presence = has_more_presence || self.may_enter_presence && !self.is_over();
        (self.left, self.end) = (end, end);
    }

    /// Takes the next slot.
    pub fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let slot = if self.next < self.end { self.next } else { 0 };
        self.next = slot + 1;
        Some(slot)
    }

    /// Whether all slots were taken.
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Whether rules may have turned presence on that was off when a session followed last.
    pub fn may_enter_presence(&self) -> bool {
        self.may_enter_presence
    }
}

/// What decides for which topics presence is on.
fn presence(rules: &Rules) -> impl Iterator<Item = (Option<&Scope>, bool)> {
    rules.iter().map(|rule| (rule.pattern.as_ref(), rule.presence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rule;
    use crate::shard::tests::pattern;

    /// Sessions enter presence only after a reload that may have turned presence on. (A change of any rule made them.)
    #[test]
    fn only_a_change_of_presence_enters_members() {
        let rule = |text, presence, history| Rule { presence, history, ..Rule::plain(Some(pattern(text).into())) };
        let rules = |first, history| Rules::new(vec![rule("h.a", first, 0), rule("h.>", true, history)]);
        let enters = |rules: &Rules, former: &Rules| {
            let mut following = Following::default();
            following.begin(rules, former, 1);
            following.may_enter_presence()
        };
        assert!(!enters(&rules(false, 10), &rules(false, 20)));
        assert!(!enters(&Rules::default(), &rules(true, 10)));
        assert!(enters(&rules(true, 10), &rules(false, 10)));
    }
}
