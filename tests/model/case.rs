//! What a case does: a list of steps, made at random and shrunk by proptest.

use proptest::prelude::*;

/// The last tokens of a case's topics; the first says which rule.
pub const TOPICS: [&str; 11] =
    ["conflate.a", "conflate.b", "drop.a", "drop.b", "cut.a", "cut.b", "replay.a", "replay.b", "aged.a", "bare.a", "bare.b"];

/// What sessions subscribe to: each topic by name, and some patterns.
pub const TARGETS: [&str; 17] = [
    "conflate.a",
    "conflate.b",
    "drop.a",
    "drop.b",
    "cut.a",
    "cut.b",
    "replay.a",
    "replay.b",
    "replay.>",
    "aged.a",
    "bare.a",
    "bare.b",
    "conflate.*",
    "drop.>",
    "*.a",
    "*.b",
    ">",
];

/// How many sessions a case has.
pub const SESSIONS: usize = 3;

/// A case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Which sessions have so little room in the kernel that they are soon slow.
    pub tight: [bool; SESSIONS],
    /// The topic of a plain WebSocket, and what it asks for of the topic's history.
    pub raw: (usize, Option<usize>),
    /// What happens.
    pub steps: Vec<Step>,
}

/// One thing that happens. Sessions, topics and targets are indices.
#[derive(Debug, Clone)]
pub enum Step {
    /// The gateway's other publishers: so many messages of so many bytes.
    Publish { topic: usize, count: usize, bytes: usize },
    /// The same, while the case goes on.
    Storm { topic: usize, count: usize, bytes: usize },
    /// A session publishes and waits for the answer.
    Say { session: usize, topic: usize, echo: bool },
    /// A session subscribes.
    Subscribe { session: usize, targets: Vec<usize>, last: Option<usize>, interval: Option<u64>, presence: bool },
    /// A session unsubscribes from one target.
    Unsubscribe { session: usize, target: usize },
    /// A session leaves a topic and comes back to it at once, while so many messages of it are published, each of so many bytes.
    Return { session: usize, topic: usize, count: usize, bytes: usize },
    /// A session reads what is there.
    Read { session: usize },
    /// A session reads until all that was said before has come.
    Fence { session: usize },
    /// The plain WebSocket sends a message.
    RawSay,
    /// Other bounds come into force, as by a SIGHUP.
    Reload,
    /// A session's connection is cut; it comes back and resumes, each topic so many messages before what it has seen.
    Reconnect { session: usize, back: u64 },
}

/// Cases of any kind.
pub fn cases() -> impl Strategy<Value = Case> {
    let steps = prop::collection::vec(step(), 5..45);
    let raw = (0..TOPICS.len(), prop::option::of(0_usize..20));
    (prop::array::uniform3(prop::bool::weighted(0.6)), raw, steps).prop_map(|(tight, raw, steps)| Case { tight, raw, steps })
}

fn step() -> impl Strategy<Value = Step> {
    let (session, topic, target) = (0..SESSIONS, 0..TOPICS.len(), 0..TARGETS.len());
    let bytes = prop_oneof![Just(0_usize), Just(300), Just(1500)];
    let last = prop_oneof![3 => Just(None), 1 => (0_usize..40).prop_map(Some)];
    let interval = prop_oneof![3 => Just(None), 1 => Just(Some(10_u64)), 1 => Just(Some(25))];
    let targets = prop::collection::vec(target.clone(), 1..4);
    prop_oneof![
        6 => (topic.clone(), 1_usize..12, bytes.clone()).prop_map(|(topic, count, bytes)| Step::Publish { topic, count, bytes }),
        2 => (topic.clone(), 20_usize..120, bytes.clone()).prop_map(|(topic, count, bytes)| Step::Storm { topic, count, bytes }),
        2 => (session.clone(), topic.clone(), any::<bool>()).prop_map(|(session, topic, echo)| Step::Say { session, topic, echo }),
        5 => (session.clone(), targets, last, interval, any::<bool>())
            .prop_map(|(session, targets, last, interval, presence)| Step::Subscribe { session, targets, last, interval, presence }),
        2 => (session.clone(), target).prop_map(|(session, target)| Step::Unsubscribe { session, target }),
        2 => (session.clone(), topic, 1_usize..40, bytes)
            .prop_map(|(session, topic, count, bytes)| Step::Return { session, topic, count, bytes }),
        1 => Just(Step::RawSay),
        1 => Just(Step::Reload),
        2 => session.clone().prop_map(|session| Step::Read { session }),
        2 => session.clone().prop_map(|session| Step::Fence { session }),
        2 => (session, prop_oneof![3 => Just(0_u64), 1 => 1_u64..60]).prop_map(|(session, back)| Step::Reconnect { session, back }),
    ]
}
