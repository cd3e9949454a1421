//! One rule of `[[topics]]`, and all rules: the first rule whose pattern matches a topic applies to it.

use std::sync::Arc;
use std::time::Duration;

use super::index::RuleIndex;
use crate::metrics::RuleId;
use crate::topic_name::{Pattern, Scope, TopicName};

/// The effect of a full outbox on a topic's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSlow {
    /// A newer message replaces the queued message of its topic.
    Conflate,
    /// The oldest messages are dropped, and a `gap` has their offsets.
    DropOldest,
    /// The session is closed with 4004.
    Disconnect,
    /// Nothing is queued. The session continues from the topic's history once its socket accepts more.
    Replay,
}

/// How a topic's messages are compressed for sessions with permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicDeflate {
    /// Against an earlier message of the topic, if the client keeps its window.
    History,
    /// Each message by itself.
    Alone,
    /// No compression.
    Off,
}

/// An entry of `[[topics]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its label in the metrics, once the configuration is in force; the empty label before.
    pub id: RuleId,
    /// The pattern of its topics; `None` for topics that no entry matches.
    pub pattern: Option<Scope>,
    /// The largest number of messages in the history of a topic.
    pub history: usize,
    /// How long the history keeps a message.
    pub history_ttl: Duration,
    /// The number of newest messages for a new subscriber, if its subscribe has no `last`.
    pub last: usize,
    /// What happens when a session's outbox is full.
    pub on_slow: OnSlow,
    /// A queued message that is older than this is dropped.
    pub max_age: Option<Duration>,
    /// Whether joins and leaves are published, and the `presence` command is answered.
    pub presence: bool,
    /// Whether a message names the session that published it, in the native dialect too.
    pub sender: bool,
    /// Whether Centrifugo's clients receive joins and leaves without asking for them.
    pub pushes_joins: bool,
    /// Whether subscribed sessions of Centrifugo's protocol may publish.
    pub publish_for_subscribers: bool,
    /// Whether only the users that a topic's name lists behind its last `#` may subscribe. Others need a token for the
    /// topic.
    pub user_channels: bool,
    /// How messages are compressed.
    pub deflate: TopicDeflate,
}

impl Rule {
    /// A rule for `pattern` with the defaults of topics that no entry matches.
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

    /// The value of the label `rule` in the metrics: the pattern, or an empty text.
    pub fn label(&self) -> &str {
        self.pattern.as_ref().map_or("", Scope::as_str)
    }
}

/// Up to this number of rules are tried one after the other, without an index.
const RULES_WITHOUT_INDEX: usize = 16;

/// All rules in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    entries: Vec<Arc<Rule>>,
    /// The index, if there are more than [`RULES_WITHOUT_INDEX`].
    index: Option<Arc<RuleIndex>>,
    unmatched: Arc<Rule>,
    own: Arc<Rule>,
    /// Whether any rule has `sender`. Otherwise a publish needs no look-up of its rule.
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

    /// The rule of `topic`. The gateway's own topics keep their newest message, unless an entry matches them.
    pub fn of(&self, topic: &TopicName) -> &Arc<Rule> {
        let unmatched = if topic.is_own() { &self.own } else { &self.unmatched };
        let matches = |rule: &Rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(topic));
        let found = match &self.index {
            Some(index) => index.first(topic.as_str(), |number| matches(&self.entries[number])).map(|number| &self.entries[number]),
            None => self.entries.iter().find(|rule| matches(rule)),
        };
        found.unwrap_or(unmatched)
    }

    /// The longest history that the rules give any topic of `pattern`.
    pub fn longest_history(&self, pattern: &Pattern) -> usize {
        let mut longest = 0;
        for rule in &self.entries {
            let Some(scope) = rule.pattern.as_ref().filter(|scope| scope.overlaps(pattern)) else { continue };
            longest = longest.max(rule.history);
            if scope.covers(pattern) {
                break; // no later rule applies to any of them
            }
        }
        longest
    }

    /// Whether messages of `topic` name the session that published them.
    pub fn name_sender(&self, topic: &TopicName) -> bool {
        self.some_name_senders && self.of(topic).sender
    }

    /// The same rules, with the ids that `id_of` gives for their labels.
    pub fn with_ids(&self, id_of: impl Fn(&str) -> RuleId) -> Self {
        let numbered = |rule: &Arc<Rule>| Arc::new(Rule { id: id_of(rule.label()), ..Rule::clone(rule) });
        let (unmatched, own) = (numbered(&self.unmatched), numbered(&self.own));
        let (entries, index) = (self.entries.iter().map(numbered).collect(), self.index.clone());
        Self { entries, index, unmatched, own, some_name_senders: self.some_name_senders }
    }

    /// Every rule, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that count for a stream are those that match any of its topics, up to the first that covers all of
    /// them.
    #[test]
    fn the_longest_history_is_that_of_the_rules_that_may_apply() {
        let pattern = |text| Pattern::parse(text).unwrap();
        let rule = |text, history| Rule { history, ..Rule::plain(Some(pattern(text).into())) };
        let rules = Rules::new(vec![rule("chat.>", 900), rule("quotes.*.last", 20), rule("quotes.>", 10), rule(">", 5_000)]);
        assert_eq!(
            ["quotes.>", "quotes.eu.*", "quotes.a.b.c", "chat.lobby", "news.>"].map(|text| rules.longest_history(&pattern(text))),
            [20, 20, 10, 900, 5_000]
        );
    }
}
