//! A case: a list of random steps, which proptest shrinks.

use proptest::prelude::*;

/// The last two tokens of a case's topics. The first of them chooses the rule.
pub const TOPICS: [&str; 11] = [
    "conflate.a",
    "conflate.b",
    "drop.a",
    "drop.b",
    "disconnect.a",
    "disconnect.b",
    "replay.a",
    "replay.b",
    "aged.a",
    "plain.a",
    "plain.b",
];

/// The names and patterns that sessions subscribe to.
pub const TARGETS: [&str; 17] = [
    "conflate.a",
    "conflate.b",
    "drop.a",
    "drop.b",
    "disconnect.a",
    "disconnect.b",
    "replay.a",
    "replay.b",
    "replay.>",
    "aged.a",
    "plain.a",
    "plain.b",
    "conflate.*",
    "drop.>",
    "*.a",
    "*.b",
    ">",
];

/// The number of native sessions of a case.
pub const SESSIONS: usize = 3;

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The sessions with small socket buffers, which are soon slow.
    pub small_buffers: [bool; SESSIONS],
    /// The topic of the raw session, and its `last`.
    pub raw: (usize, Option<usize>),
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step. Sessions, topics and targets are indices.
#[derive(Debug, Clone)]
pub enum Step {
    /// Another publisher than a session publishes `count` messages of `bytes` bytes.
    Publish { topic: usize, count: usize, bytes: usize },
    /// The same, concurrently with the next steps.
    PublishConcurrently { topic: usize, count: usize, bytes: usize },
    /// A session publishes a message and waits for the answer.
    SessionPublish { session: usize, topic: usize, echo: bool },
    /// A session subscribes.
    Subscribe { session: usize, targets: Vec<usize>, last: Option<usize>, interval: Option<u64>, presence: bool },
    /// A session unsubscribes from one target.
    Unsubscribe { session: usize, target: usize },
    /// A session unsubscribes from a topic and subscribes again at once, while `count` messages of `bytes` bytes are
    /// published.
    Resubscribe { session: usize, topic: usize, count: usize, bytes: usize },
    /// A session reads the bytes that have come.
    Read { session: usize },
    /// A session reads until all messages published before have come.
    Barrier { session: usize },
    /// The raw session publishes a message.
    RawPublish,
    /// Other limits take effect, as by SIGHUP.
    Reload,
    /// A session's connection is cut. The client resumes on a new one, from `back` messages before each topic's last
    /// message.
    Reconnect { session: usize, back: u64 },
}

/// Random cases.
pub fn cases() -> impl Strategy<Value = Case> {
    let steps = prop::collection::vec(step(), 5..45);
    let raw = (0..TOPICS.len(), prop::option::of(0_usize..20));
    (prop::array::uniform3(prop::bool::weighted(0.6)), raw, steps).prop_map(|(small_buffers, raw, steps)| Case {
        small_buffers,
        raw,
        steps,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let (session, topic, target) = (0..SESSIONS, 0..TOPICS.len(), 0..TARGETS.len());
    let bytes = prop_oneof![Just(0_usize), Just(300), Just(1500)];
    let last = prop_oneof![3 => Just(None), 1 => (0_usize..40).prop_map(Some)];
    let interval = prop_oneof![3 => Just(None), 1 => Just(Some(10_u64)), 1 => Just(Some(25))];
    let targets = prop::collection::vec(target.clone(), 1..4);
    prop_oneof![
        6 => (topic.clone(), 1_usize..12, bytes.clone()).prop_map(|(topic, count, bytes)| Step::Publish { topic, count, bytes }),
        2 => (topic.clone(), 20_usize..120, bytes.clone()).prop_map(|(topic, count, bytes)| Step::PublishConcurrently { topic, count, bytes }),
        2 => (session.clone(), topic.clone(), any::<bool>()).prop_map(|(session, topic, echo)| Step::SessionPublish { session, topic, echo }),
        5 => (session.clone(), targets, last, interval, any::<bool>())
            .prop_map(|(session, targets, last, interval, presence)| Step::Subscribe { session, targets, last, interval, presence }),
        2 => (session.clone(), target).prop_map(|(session, target)| Step::Unsubscribe { session, target }),
        2 => (session.clone(), topic, 1_usize..40, bytes)
            .prop_map(|(session, topic, count, bytes)| Step::Resubscribe { session, topic, count, bytes }),
        1 => Just(Step::RawPublish),
        1 => Just(Step::Reload),
        2 => session.clone().prop_map(|session| Step::Read { session }),
        2 => session.clone().prop_map(|session| Step::Barrier { session }),
        2 => (session, prop_oneof![3 => Just(0_u64), 1 => 1_u64..60]).prop_map(|(session, back)| Step::Reconnect { session, back }),
    ]
}
