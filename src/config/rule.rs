//! The rules of `[[topics]]`: the first whose pattern matches rules a topic.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

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

/// The index of a rule's label in every table of counts. One pattern has one index for the life of the process,
/// through reloads too, as its series in Prometheus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(u16);

/// Every label ever given, by index. The lock is held for one look-up, at load time alone.
static LABELS: Mutex<Vec<Arc<str>>> = Mutex::new(Vec::new());

impl RuleId {
    fn of(label: &str) -> Self {
        let mut labels = LABELS.lock();
        let index = labels.iter().position(|known| &**known == label).unwrap_or_else(|| {
            labels.push(label.into());
            labels.len() - 1
        });
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// Its place in a table of counts.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The label's text: the pattern, or nothing where no rule matches.
    pub fn label(self) -> Arc<str> {
        LABELS.lock().get(self.index()).cloned().unwrap_or_else(|| "".into())
    }
}

/// What a topic gets from the entry that matches it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its label in the metrics.
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
            id: RuleId::of(pattern.as_ref().map_or("", Pattern::as_str)),
            pattern,
            history: 0,
            history_ttl: Duration::from_secs(3600),
            last: 0,
            on_slow: OnSlow::Disconnect,
            max_age: None,
            presence: false,
        }
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

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.entries.iter()
    }
}
