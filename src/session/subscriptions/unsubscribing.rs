//! An unsubscribe as it is executed: in slices, after the messages that were published before it.

use super::refused_topics::RefusedTopics;
use super::subscribe_options::bytes_of;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId};
use crate::session::work::{STEPS_OF_SMALL, STEPS_PER_SLICE};
use crate::shard::{Answer, PatternSet, SessionContext};
use crate::topic_name::{Pattern, TopicNameError};

/// The most steps that the end of one subscription costs.
const STEPS_PER_TOPIC: usize = 4;

/// An unsubscribe that is being executed.
pub struct Unsubscribing {
    topics: std::vec::IntoIter<Result<Pattern, TopicNameError>>,
    /// The client's `id`, as JSON text.
    id: Option<Box<str>>,
    /// How many items the shard's inbox had received when the command came.
    pushed: u64,
    is_small: bool,
    /// The approximate memory of the topics, in bytes.
    bytes: usize,
    ended: Vec<Pattern>,
    /// The patterns in `ended`, for matching.
    gone: PatternSet,
    /// Whether all subscriptions have ended, and the replays and held messages that only they matched are being given up.
    is_pruning: bool,
    refused: RefusedTopics,
}

impl Unsubscribing {
    /// A command of which no slice was run yet. `pushed`: how many items the shard's inbox has received so far.
    pub fn new(topics: Vec<Result<Pattern, TopicNameError>>, id: Option<RequestId<'_>>, pushed: u64) -> Self {
        Self {
            id: id.map(|RequestId(id)| id.into()),
            pushed,
            is_small: topics.len() * STEPS_PER_TOPIC <= STEPS_OF_SMALL,
            bytes: bytes_of(&topics),
            topics: topics.into_iter(),
            ended: Vec::new(),
            gone: PatternSet::default(),
            is_pruning: false,
            refused: RefusedTopics::default(),
        }
    }

    /// The approximate memory of the command, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Runs the next slice. Ready: the command is complete and answered.
    pub fn run_slice(&mut self, context: &mut SessionContext<'_>) -> Answer<()> {
        if context.processed(self.pushed) == Answer::Pending || context.begin_slice(self.is_small) == Answer::Pending {
            return Answer::Pending;
        }
        let mut steps = 0;
        while steps < STEPS_PER_SLICE {
            if let Some(topic) = self.topics.next() {
                self.end(topic, context);
                steps += STEPS_PER_TOPIC;
                continue;
            }
            if !self.is_pruning && !self.ended.is_empty() {
                self.is_pruning = true;
                context.begin_pruning();
            }
            let most = STEPS_PER_SLICE - steps;
            let visited = if self.is_pruning { context.prune(&self.gone, most) } else { 0 };
            steps += visited;
            if visited < most {
                self.spend(steps, context);
                self.finish(context);
                return Answer::Ready(());
            }
        }
        self.spend(steps, context);
        self.is_small = false;
        context.wait_for_slice()
    }

    fn spend(&self, steps: usize, context: &mut SessionContext<'_>) {
        if !self.is_small {
            context.spend_steps(steps);
        }
    }

    fn end(&mut self, topic: Result<Pattern, TopicNameError>, context: &mut SessionContext<'_>) {
        match topic {
            Ok(pattern) if context.end_subscription(&pattern) => {
                self.gone.insert(&pattern);
                self.ended.push(pattern);
            }
            Ok(pattern) => {
                self.refused.add(ErrorCode::NotSubscribed, pattern.as_str(), format!("this session is not subscribed to {pattern}"));
            }
            Err(error) => self.refused.add(error.code(), error.name(), error.to_string()),
        }
    }

    /// Sends `unsubscribed` for the subscriptions that have ended, and one error for topics that the session was not subscribed to.
    fn finish(&mut self, context: &mut SessionContext<'_>) {
        let id = self.id.as_deref().map(RequestId);
        if id.is_some() && !self.ended.is_empty() {
            context.send(&Event::Unsubscribed { id, topics: &self.ended });
        }
        self.refused.answer(id, context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::tests::bench::{Bench, events};

    /// Runs the command to its end, and `between` its slices. Returns the number of slices.
    fn run(unsubscribing: &mut Unsubscribing, bench: &mut Bench, mut between: impl FnMut(&mut Bench)) -> usize {
        let mut slices = 1;
        while unsubscribing.run_slice(&mut bench.context_for_slice()) == Answer::Pending {
            between(bench);
            slices += 1;
        }
        slices
    }

    /// An unsubscribe from 1,000 topics is executed in slices. (It blocked its shard for some milliseconds.)
    #[test]
    fn a_long_unsubscribe_is_done_in_slices() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let names: Vec<String> = (0..TOPICS).map(|number| format!("h.{number}")).collect();
        names.iter().for_each(|name| bench.subscribe(name));
        let topics = names.iter().map(|name| Pattern::parse(name)).collect();
        let mut unsubscribing = Unsubscribing::new(topics, None, bench.context().pushed());
        let slices = run(&mut unsubscribing, &mut bench, |_| ());
        assert!(slices >= TOPICS * STEPS_PER_TOPIC / STEPS_PER_SLICE, "{slices} slices");
        assert_eq!(bench.context().subscription_count(), 0);
    }

    /// An unsubscribe from one pattern is executed in slices if its session has many replays, and is charged for examining them. (All were
    /// examined at once and without charge.)
    #[test]
    fn replays_are_examined_in_slices() {
        const TOPICS: usize = 2_000;
        let mut bench = Bench::new();
        for name in (0..TOPICS).map(|number| format!("h.{number}")) {
            bench.publish(&name);
            bench.subscribe_with(0, &name, 1);
        }
        let pattern = Pattern::parse("x.*").unwrap();
        assert!(bench.context().reserve_subscription(&pattern).is_ok());
        bench.context().subscribe_pattern(&pattern, None);
        let mut unsubscribing = Unsubscribing::new(vec![Ok(pattern)], None, bench.context().pushed());
        let slices = run(&mut unsubscribing, &mut bench, |bench| assert!(!bench.state().catch_up.is_replaying(0)));
        assert!(slices >= TOPICS / STEPS_PER_SLICE, "{slices} slices");
        assert!(bench.state().catch_up.is_replaying(0));
        assert_eq!((bench.context().subscription_count(), bench.context().take_work(1_000)), (TOPICS, 2));
    }

    /// An unsubscribe from one topic by a slow session is done in slices, and it pays for what is looked at: all that waits in its
    /// outbox. (All of that was looked at at once, and for nothing.)
    #[test]
    fn frames_in_an_outbox_are_examined_in_slices() {
        const FRAMES: usize = 2_000;
        let mut bench = Bench::new();
        bench.subscribe("d.a");
        (0..FRAMES).for_each(|_| bench.say(0));
        bench.flush();
        let topic = Pattern::parse("d.a").unwrap();
        let mut unsubscribing = Unsubscribing::new(vec![Ok(topic)], None, bench.context().pushed());
        let slices = run(&mut unsubscribing, &mut bench, |_| ());
        assert!(slices >= FRAMES / STEPS_PER_SLICE, "{slices} slices");
        assert_eq!((bench.context().subscription_count(), bench.context().take_work(1_000)), (0, 2));
    }

    /// PROTOCOL 3 and 7: a session may become slow between two slices. Messages of the topic that the write batch holds are sent before the
    /// answer, and no message of the topic is read from history behind the answer. (The session read on from there.)
    #[tokio::test]
    async fn an_ended_topic_is_not_read_from_history() {
        let mut bench = Bench::new();
        for name in (0..2 * STEPS_PER_SLICE).map(|number| format!("h.{number}")) {
            bench.publish(&name);
            bench.subscribe_with(0, &name, 1);
        }
        bench.subscribe("r.a");
        (0..2).for_each(|_| bench.publish("r.a"));
        let topic = Pattern::parse("r.a").unwrap();
        let mut unsubscribing = Unsubscribing::new(vec![Ok(topic)], Some(RequestId("1")), bench.context().pushed());
        assert_eq!(unsubscribing.run_slice(&mut bench.context_for_slice()), Answer::Pending);
        bench.flush(); // its socket accepts no bytes yet
        run(&mut unsubscribing, &mut bench, |_| ());
        bench.publish("r.a");
        bench.flush();
        let mut client = bench.arrive(b"");
        let events = events(&bench.read(&mut client).await);
        assert_eq!(events[..3], ["message 1", "message 2", "unsubscribed"]);
        assert!(events[3..].iter().all(|event| event == "message 1"), "{:?}", &events[3..]);
    }
}
