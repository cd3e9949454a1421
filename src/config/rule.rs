//! The rules of `[[topics]]`: the first whose pattern matches rules a topic.

use std::sync::Arc;
use std::time::Duration;

use super::rule_index::RuleIndex;
use crate::metrics::RuleId;
use crate::topic_name::{Pattern, Scope, TopicName};

/// What happens to a session's queue when it is past its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSlow {
    /// A newer message replaces the queued message of its topic.
    Conflate,
    /// The oldest messages are dropped, and a `gap` tells which.
    DropOldest,
    /// The session is closed with 4004.
    Disconnect,
    /// Nothing is queued: the session reads on from the topic's history once its socket takes more.
    Replay,
}

/// How a topic's messages are compressed for sessions that agreed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicDeflate {
    /// Against an earlier message of the topic, where the client keeps its window.
    History,
    /// Each message by itself.
    Alone,
    /// Not at all.
    Off,
}

/// What an entry of `[[topics]]` says of the topics that it matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The label that the rule is counted under, once its configuration is in force; the empty label before that.
    pub id: RuleId,
    /// The topics that the rule is for; `None`: those that no entry matches.
    pub pattern: Option<Scope>,
    /// The most messages that the history of a topic keeps.
    pub history: usize,
    /// How long the history keeps a message.
    pub history_ttl: Duration,
    /// The newest messages that a new subscriber is sent, where its subscribe does not say how many.
    pub last: usize,
    /// What gives way when a session's outbox is past its bound.
    pub on_slow: OnSlow,
    /// A queued message older than this is given up.
    pub max_age: Option<Duration>,
    /// Whether joins and leaves are told, and the `presence` command is answered.
    pub presence: bool,
    /// Whether a message names the session that has published it, natively too.
    pub sender: bool,
    /// Whether joins and leaves are told to Centrifugo's clients that do not ask for them.
    pub pushes_joins: bool,
    /// Whether a session of Centrifugo's protocol that is subscribed may publish.
    pub publish_for_subscribers: bool,
    /// Whether the users that a name lists behind its last `#` may subscribe, and nobody else without a token for it.
    pub user_channels: bool,
    /// How messages are compressed.
    pub deflate: TopicDeflate,
}

impl Rule {
    /// The rule of topics that no entry matches, in the shape of `pattern`'s if that is given.
    pub fn plain(pattern: Option<Scope>) -> Self {
        Self {
            id: RuleId::default(),
            pattern,
            history: 0,
            history_ttl: Duration::from_secs(3600),
            last: 0,
            on_slow: OnSlow::Disconnect,
            max_age: None,
            presence: false,
            sender: false,
            pushes_joins: false,
            publish_for_subscribers: false,
            user_channels: false,
            deflate: TopicDeflate::Alone,
        }
    }

    /// The label `rule` in the metrics: the pattern, or nothing where no entry matches.
    pub fn label(&self) -> &str {
        self.pattern.as_ref().map_or("", Scope::as_str)
    }
}

/// So few rules are tried one after the other.
const RULES_WITHOUT_INDEX: usize = 16;

/// All rules in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    entries: Vec<Arc<Rule>>,
    /// Where there are many.
    index: Option<Arc<RuleIndex>>,
    unmatched: Arc<Rule>,
    own: Arc<Rule>,
    /// Whether some rule has `sender`: a publish looks for its topic's only then.
    some_name_senders: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Rules {
    /// The rules in the order of the file.
    pub fn new(entries: Vec<Rule>) -> Self {
        let patterns = || entries.iter().enumerate().filter_map(|(number, rule)| Some((number, rule.pattern.as_ref()?)));
        Self {
            index: (entries.len() > RULES_WITHOUT_INDEX).then(|| Arc::new(RuleIndex::new(patterns()))),
            some_name_senders: entries.iter().any(|rule| rule.sender),
            entries: entries.into_iter().map(Arc::new).collect(),
            unmatched: Arc::new(Rule::plain(None)),
            own: Arc::new(Rule { history: 1, last: 1, on_slow: OnSlow::Conflate, ..Rule::plain(None) }),
        }
    }

    /// The rule of `topic`. The gateway's own topics keep their newest message where no entry says otherwise.
    pub fn of(&self, topic: &TopicName) -> &Arc<Rule> {
        let unmatched = if topic.is_own() { &self.own } else { &self.unmatched };
        let matches = |rule: &Rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(topic));
        let found = match &self.index {
            Some(index) => index.first(topic, |number| matches(&self.entries[number])).map(|number| &self.entries[number]),
            None => self.entries.iter().find(|rule| matches(rule)),
        };
        found.unwrap_or(unmatched)
    }

    /// The longest history that a topic of `pattern` may have.
    pub fn longest_history(&self, pattern: &Pattern) -> usize {
        let mut longest = 0;
        for rule in &self.entries {
            let Some(scope) = rule.pattern.as_ref().filter(|scope| scope.overlaps(pattern)) else { continue };
            longest = longest.max(rule.history);
            if scope.covers(pattern) {
                break; // what comes behind rules none of them
            }
        }
        longest
    }

    /// Whether messages of `topic` name the session that has published them.
    pub fn name_sender(&self, topic: &TopicName) -> bool {
        self.some_name_senders && self.of(topic).sender
    }

    /// The same rules, each with the index that `id_of` gives its label.
    pub(super) fn with_ids(&self, id_of: impl Fn(&str) -> RuleId) -> Self {
        let numbered = |rule: &Arc<Rule>| Arc::new(Rule { id: id_of(rule.label()), ..Rule::clone(rule) });
        let (unmatched, own) = (numbered(&self.unmatched), numbered(&self.own));
        let (entries, index) = (self.entries.iter().map(numbered).collect(), self.index.clone());
        Self { entries, index, unmatched, own, some_name_senders: self.some_name_senders }
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which rules count for a stream: those whose topics it may have, up to the first that has all of them.
    #[test]
    fn a_history_counts_where_its_rule_may_apply() {
        let pattern = |text| Pattern::parse(text).unwrap();
        let rule = |text, history| Rule { history, ..Rule::plain(Some(pattern(text).into())) };
        let rules = Rules::new(vec![rule("chat.>", 900), rule("quotes.*.last", 20), rule("quotes.>", 10), rule(">", 5_000)]);
        assert_eq!(
            ["quotes.>", "quotes.eu.*", "quotes.a.b.c", "chat.lobby", "news.>"].map(|text| rules.longest_history(&pattern(text))),
            [20, 20, 10, 900, 5_000]
        );
    }
}
