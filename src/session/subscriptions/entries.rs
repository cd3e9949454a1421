//! The entries of an answer to a subscribe, as they are put together: where the session begins on what.

use foldhash::HashSet;

use crate::dialect::SubscribedTopic;
use crate::hub::Wanted;
use crate::position::Position;
use crate::shard::{Begun, SessionContext};
use crate::topic_name::{Pattern, TopicName};

/// The entries of one answer, in the order of its command.
pub struct Entries {
    list: Vec<SubscribedTopic>,
    /// The topics of `list`, patterns left aside.
    told: HashSet<TopicName>,
    /// The entries of what the session had before.
    renewals: Vec<usize>,
    /// Topics that begin by their entries.
    begins: Vec<Begins>,
    /// Topics whose joins and leaves are asked for, where the rule has these off.
    presence_off: Vec<TopicName>,
}

/// A topic that begins, and its entry.
struct Begins {
    begun: Begun,
    entry: usize,
    /// Whether an older subscription takes it too.
    was_taken: bool,
}

impl Entries {
    /// None yet, with room for so many.
    pub fn with_capacity(entries: usize) -> Self {
        Self {
            list: Vec::with_capacity(entries),
            told: HashSet::default(),
            renewals: Vec::new(),
            begins: Vec::new(),
            presence_off: Vec::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// What has an entry.
    pub fn topics(&self) -> impl Iterator<Item = &Pattern> {
        self.list.iter().map(|entry| &entry.topic)
    }

    /// The entries.
    pub fn told(&self) -> &[SubscribedTopic] {
        &self.list
    }

    /// Topics without joins and leaves, though these are asked for.
    pub fn presence_off(&self) -> &[TopicName] {
        &self.presence_off
    }

    /// Whether `topic` has one.
    pub fn has(&self, topic: &TopicName) -> bool {
        self.told.contains(topic)
    }

    /// Adds one for what is at no position, or not known to be at one yet.
    pub fn add(&mut self, topic: Pattern, recovered: Option<bool>) {
        self.push(topic, None, recovered);
    }

    /// Adds one for what the session had before.
    pub fn add_renewed(&mut self, topic: Pattern) {
        self.renewals.push(self.list.len());
        self.push(topic, None, None);
    }

    /// Adds one for a topic that begins; `was_taken`: an older subscription takes it too.
    pub fn add_begun(&mut self, begun: Begun, was_taken: bool) {
        let (topic, start) = (Pattern::from(begun.topic.name().clone()), begun.start);
        self.begins.push(Begins { begun, entry: self.list.len(), was_taken });
        self.push(topic, Some(start.position), start.recovered);
    }

    /// Joins and leaves of `topic` are asked for, and the rule has them off.
    pub fn add_presence_off(&mut self, topic: TopicName) {
        self.presence_off.push(topic);
    }

    /// Of what this entry stands for, something can't be recovered.
    pub fn is_not_recovered(&mut self, entry: usize) {
        self.list[entry].recovered = Some(false);
    }

    /// Messages may have come since the topics were looked at, none of which the session was given.
    pub fn look_anew<'a>(&mut self, wanted: impl Fn(&TopicName) -> Wanted<'a>, context: &SessionContext<'_>) {
        for Begins { begun, entry, .. } in &mut self.begins {
            let Some(start) = context.start_on(&begun.topic, wanted(begun.topic.name())) else { continue };
            begun.start = start;
            let entry = &mut self.list[*entry];
            (entry.position, entry.recovered) = (Some(start.position), start.recovered);
        }
    }

    /// What the session had before is told as it is now, and of nothing of it is replayed. `presence`: joins and leaves are asked for.
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

    /// Leaves out what `is_kept` does not name; the others' places change.
    pub fn retain(&mut self, is_kept: impl Fn(&Pattern) -> bool) {
        self.begins.retain(|Begins { begun, .. }| is_kept(&Pattern::from(begun.topic.name().clone())));
        self.list.retain(|entry| is_kept(&entry.topic));
    }

    /// Takes what begins, and whether an older subscription takes it too.
    pub fn take_begins(&mut self) -> impl ExactSizeIterator<Item = (Begun, bool)> + use<> {
        std::mem::take(&mut self.begins).into_iter().map(|Begins { begun, was_taken, .. }| (begun, was_taken))
    }

    fn push(&mut self, topic: Pattern, position: Option<Position>, recovered: Option<bool>) {
        self.told.extend(topic.as_name());
        self.list.push(SubscribedTopic { topic, position, recovered });
    }
}
