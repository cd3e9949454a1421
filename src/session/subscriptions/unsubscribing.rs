//! An unsubscribe as it is executed: over several turns if it is long, after the messages that were published before it.

use std::task::Poll;

use super::refused_topics::RefusedTopics;
use super::subscribe_options::bytes_of;
use crate::codes::ErrorCode;
use crate::dialect::{Event, RequestId};
use crate::shard::{PatternSet, STEPS_PER_PART, SessionContext};
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
    /// A command that has not begun. `pushed`: how many items the shard's inbox has received so far.
    pub fn new(topics: Vec<Result<Pattern, TopicNameError>>, id: Option<RequestId<'_>>, pushed: u64) -> Self {
        Self {
            id: id.map(|RequestId(id)| id.into()),
            pushed,
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

    /// Continues the command until it is done or its session's turn is over. Ready: the command is complete and answered.
    pub fn resume(&mut self, context: &mut SessionContext<'_>) -> Poll<()> {
        if context.when_processed(self.pushed).is_pending() {
            return Poll::Pending;
        }
        while self.run_part(context).is_pending() {
            if context.is_turn_over() {
                return context.wait_for_turn();
            }
        }
        self.finish(context);
        Poll::Ready(())
    }

    /// Takes some steps. Ready: all subscriptions have ended, with their replays and held messages.
    fn run_part(&mut self, context: &mut SessionContext<'_>) -> Poll<()> {
        let mut steps = 0;
        while let Some(topic) = self.topics.next() {
            self.end(topic, context);
            steps += STEPS_PER_TOPIC;
            if steps >= STEPS_PER_PART {
                return Poll::Pending;
            }
        }
        if self.ended.is_empty() {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.is_pruning, true) {
            context.begin_pruning();
        }
        let most = STEPS_PER_PART - steps;
        if context.prune(&self.gone, most) < most { Poll::Ready(()) } else { Poll::Pending }
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

    /// Runs the command to its end, and `between` its turns. Returns the number of turns.
    fn run(unsubscribing: &mut Unsubscribing, bench: &mut Bench, mut between: impl FnMut(&mut Bench)) -> usize {
        let mut turns = 1;
        while unsubscribing.resume(&mut bench.context()).is_pending() {
            between(bench);
            turns += 1;
        }
        turns
    }

    /// An unsubscribe from 1,000 topics takes several turns. (It blocked its shard for some milliseconds.)
    #[test]
    fn a_long_unsubscribe_takes_several_turns() {
        const TOPICS: usize = 1_000;
        let mut bench = Bench::new();
        let names: Vec<String> = (0..TOPICS).map(|number| format!("h.{number}")).collect();
        names.iter().for_each(|name| bench.subscribe(name));
        let topics = names.iter().map(|name| Pattern::parse(name)).collect();
        let mut unsubscribing = Unsubscribing::new(topics, None, bench.context().pushed());
        let turns = run(&mut unsubscribing, &mut bench, |_| ());
        assert!(turns >= TOPICS * STEPS_PER_TOPIC / STEPS_PER_PART, "{turns} turns");
        assert_eq!(bench.context().subscription_count(), 0);
    }

    /// An unsubscribe from one pattern takes several turns if its session has many replays, and is charged for examining them. (All were
    /// examined at once and without charge.)
    #[test]
    fn replays_are_examined_over_several_turns() {
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
        let turns = run(&mut unsubscribing, &mut bench, |bench| assert!(!bench.state().catch_up.is_replaying(0)));
        assert!(turns >= TOPICS / STEPS_PER_PART, "{turns} turns");
        assert!(bench.state().catch_up.is_replaying(0));
        assert_eq!((bench.context().subscription_count(), bench.context().take_work(1_000)), (TOPICS, 2));
    }

    /// An unsubscribe from one topic by a slow session takes several turns, and it pays for what is looked at: all that waits in its
    /// outbox. (All of that was looked at at once, and for nothing.)
    #[test]
    fn frames_in_an_outbox_are_examined_over_several_turns() {
        const FRAMES: usize = 2_000;
        let mut bench = Bench::new();
        bench.subscribe("d.a");
        (0..FRAMES).for_each(|_| bench.say(0));
        bench.flush();
        let topic = Pattern::parse("d.a").unwrap();
        let mut unsubscribing = Unsubscribing::new(vec![Ok(topic)], None, bench.context().pushed());
        let turns = run(&mut unsubscribing, &mut bench, |_| ());
        assert!(turns >= FRAMES / STEPS_PER_PART, "{turns} turns");
        assert_eq!((bench.context().subscription_count(), bench.context().take_work(1_000)), (0, 2));
    }

    /// PROTOCOL 3 and 7: a session may become slow between two turns. Messages of the topic that the write batch holds are sent before the
    /// answer, and no message of the topic is read from history behind the answer. (The session read on from there.)
    #[tokio::test]
    async fn an_ended_topic_is_not_read_from_history() {
        let mut bench = Bench::new();
        for name in (0..2 * STEPS_PER_PART).map(|number| format!("h.{number}")) {
            bench.publish(&name);
            bench.subscribe_with(0, &name, 1);
        }
        bench.subscribe("r.a");
        (0..2).for_each(|_| bench.publish("r.a"));
        let topic = Pattern::parse("r.a").unwrap();
        let mut unsubscribing = Unsubscribing::new(vec![Ok(topic)], Some(RequestId("1")), bench.context().pushed());
        assert_eq!(unsubscribing.resume(&mut bench.context()), Poll::Pending);
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
