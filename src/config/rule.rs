//! The rules of `[[topics]]`: the first whose pattern matches rules a topic.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::RuleId;
use crate::topic_name::{Pattern, TopicName};

/// What happens to a session's queue when it is past its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSlow {
    /// A queued message gives way to its topic's newer one.
    Conflate,
    /// The oldest messages give way, told by a `gap`.
    DropOldest,
    /// The session is closed with 4004.
    Disconnect,
}

/// What a topic gets from the entry that matches it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it is counted under, from the moment that its configuration is in force; until then, the empty label.
    pub id: RuleId,
    /// What it matches; `None` for the rule of topics that no entry matches.
    pub pattern: Option<Pattern>,
    /// Messages kept.
    pub history: usize,
    /// How long each is kept.
    pub history_ttl: Duration,
    /// Replayed to a new subscriber.
    pub last: usize,
    /// What gives way for a slow session.
    pub on_slow: OnSlow,
    /// A queued message older than this is given up.
    pub max_age: Option<Duration>,
    /// Whether it is told who is there.
    pub presence: bool,
}

impl Rule {
    /// The rule of topics that no entry matches, in the shape of `pattern`'s if that is given.
    pub fn plain(pattern: Option<Pattern>) -> Self {
        Self {
            id: RuleId::default(),
            pattern,
            history: 0,
            history_ttl: Duration::from_secs(3600),
            last: 0,
            on_slow: OnSlow::Disconnect,
            max_age: None,
            presence: false,
        }
    }

    /// The label `rule` in the metrics: the pattern, or nothing where no entry matches.
    pub fn label(&self) -> &str {
        self.pattern.as_ref().map_or("", Pattern::as_str)
    }
}

/// All rules in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    entries: Vec<Arc<Rule>>,
    unmatched: Arc<Rule>,
    own: Arc<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Rules {
    /// The rules in the order of the file.
    pub fn new(entries: Vec<Rule>) -> Self {
        Self {
            entries: entries.into_iter().map(Arc::new).collect(),
            unmatched: Arc::new(Rule::plain(None)),
            own: Arc::new(Rule { history: 1, last: 1, on_slow: OnSlow::Conflate, ..Rule::plain(None) }),
        }
    }

    /// The rule of `topic`. The gateway's own topics keep their newest message where no entry says otherwise.
    pub fn of(&self, topic: &TopicName) -> &Arc<Rule> {
        let unmatched = if topic.is_own() { &self.own } else { &self.unmatched };
        self.entries.iter().find(|rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(topic))).unwrap_or(unmatched)
    }

    /// The same rules, each with the index that `id_of` gives its label.
    pub(super) fn with_ids(&self, id_of: impl Fn(&str) -> RuleId) -> Self {
        let numbered = |rule: &Arc<Rule>| Arc::new(Rule { id: id_of(rule.label()), ..Rule::clone(rule) });
        Self { entries: self.entries.iter().map(numbered).collect(), unmatched: numbered(&self.unmatched), own: numbered(&self.own) }
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.entries.iter()
    }
}
