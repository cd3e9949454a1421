//! The entries of the answer to a subscribe, as the command collects them: one for each topic or pattern.

use foldhash::HashSet;

use crate::dialect::SubscribedTopic;
use crate::hub::{ReplayRequest, TopicStart};
use crate::position::Position;
use crate::shard::{PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The entries of one answer, in the order of the command.
pub struct Entries {
    list: Vec<SubscribedTopic>,
    /// The topics in `list`, without the patterns.
    names: HashSet<TopicName>,
    /// The indexes of entries for subscriptions that the session had before.
    renewals: Vec<usize>,
    /// The topics that the session begins to receive, in the order of their entries.
    starts: Vec<EntryStart>,
    /// The topics for which the command asks for joins and leaves although their rules have presence off.
    presence_off: Vec<TopicName>,
}

/// A topic that the session begins to receive, and the index of its entry.
struct EntryStart {
    start: TopicStart,
    entry: usize,
    /// Whether an older subscription matches the topic too.
    was_covered: bool,
}

impl Entries {
    /// An empty list with room for `entries`.
    pub fn with_capacity(entries: usize) -> Self {
        Self {
            list: Vec::with_capacity(entries),
            names: HashSet::default(),
            renewals: Vec::new(),
            starts: Vec::new(),
            presence_off: Vec::new(),
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The topics and patterns of all entries.
    pub fn topics(&self) -> impl Iterator<Item = &Pattern> {
        self.list.iter().map(|entry| &entry.topic)
    }

    /// The entries.
    pub fn list(&self) -> &[SubscribedTopic] {
        &self.list
    }

    /// The topics for which the command asks for joins and leaves although their rules have presence off.
    pub fn presence_off(&self) -> &[TopicName] {
        &self.presence_off
    }

    /// Whether `topic` has an entry.
    pub fn has(&self, topic: &TopicName) -> bool {
        self.names.contains(topic)
    }

    /// Adds an entry without a position.
    pub fn add(&mut self, topic: Pattern, recovered: Option<bool>) {
        self.push(topic, None, recovered);
    }

    /// Adds an entry for a subscription that the session had before.
    pub fn add_renewed(&mut self, topic: Pattern) {
        self.renewals.push(self.list.len());
        self.push(topic, None, None);
    }

    /// Adds an entry for a topic that the session begins to receive. `was_covered`: an older subscription matches the topic too.
    pub fn add_start(&mut self, TopicStart { topic, start }: TopicStart, was_covered: bool) {
        self.push(Pattern::from(topic.name().clone()), Some(start.position), start.recovered);
        self.starts.push(EntryStart { start: TopicStart { topic, start }, entry: self.list.len() - 1, was_covered });
    }

    /// Notes that the rule of `topic` has presence off although the command asks for joins and leaves.
    pub fn add_presence_off(&mut self, topic: TopicName) {
        self.presence_off.push(topic);
    }

    /// Marks an entry as not recovered.
    pub fn mark_not_recovered(&mut self, entry: usize) {
        self.list[entry].recovered = Some(false);
    }

    /// Reads the positions of the topics again that the session begins to receive. Messages may have been published between two turns;
    /// the session was sent none of them. `before`: the older subscriptions, without those that have ended between two turns.
    pub fn reread<'a>(&mut self, wanted: impl Fn(&TopicName) -> ReplayRequest<'a>, before: &PatternSet) {
        for EntryStart { start: TopicStart { topic, start: known }, entry, was_covered } in &mut self.starts {
            *was_covered &= before.matches(topic.name());
            let Some(start) = topic.start(wanted(topic.name())) else { continue };
            *known = start;
            let entry = &mut self.list[*entry];
            (entry.position, entry.recovered) = (Some(start.position), start.recovered);
        }
    }

    /// Sets the positions of entries for subscriptions that the session had before. Nothing is replayed for these. `presence`: the command
    /// asks for joins and leaves.
    pub fn renew(&mut self, presence: bool, context: &SessionContext<'_>) {
        for entry in self.renewals.drain(..) {
            let entry = &mut self.list[entry];
            let Some(name) = entry.topic.as_name() else { continue };
            entry.position = context.position(&name);
            if presence && !context.config().rules.of(&name).presence {
                self.presence_off.push(name);
            }
        }
    }

    /// Removes the entries for which `is_kept` is false. The indexes of other entries change.
    pub fn retain(&mut self, is_kept: impl Fn(&Pattern) -> bool) {
        self.starts.retain(|EntryStart { start, .. }| is_kept(&Pattern::from(start.topic.name().clone())));
        self.list.retain(|entry| is_kept(&entry.topic));
    }

    /// Takes the topics that the session begins to receive. The flag says whether an older subscription matches the topic too.
    pub fn take_starts(&mut self) -> impl ExactSizeIterator<Item = (TopicStart, bool)> + use<> {
        std::mem::take(&mut self.starts).into_iter().map(|EntryStart { start, was_covered, .. }| (start, was_covered))
    }

    fn push(&mut self, topic: Pattern, position: Option<Position>, recovered: Option<bool>) {
        self.names.extend(topic.as_name());
        self.list.push(SubscribedTopic { topic, position, recovered });
    }
}
