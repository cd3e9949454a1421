//! A model of a stream that cuts topics, later keeps more of each and loses its newest messages, against what a gateway
//! that loads it answers to `since`.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::follower::{Follower, Next, Start};
use super::super::stream_model::{Consumer, Stored, StreamModel};
use super::*;
use crate::config::{Config, Rule, Rules};
use crate::hub::{PayloadKind, ReplayRequest};
use crate::metrics::Metrics;
use crate::position::Position;
use crate::topic_name::Pattern;

const HISTORY: usize = 3;
const TOPICS: [&str; 4] = ["t.a", "t.b", "t.c", "t.d"];

/// Changes the stream while the gateway has no consumer.
fn change(stream: &mut StreamModel, rng: &mut StdRng) {
    for _ in 0..rng.random_range(0..4) {
        match rng.random_range(0..8) {
            0 => stream.lose_end(stream.last.saturating_sub(rng.random_range(1..6))),
            1 => stream.retain += rng.random_range(0..4),
            _ => {}
        }
        let hot = rng.random_range(0..TOPICS.len());
        for _ in 0..rng.random_range(0..12) {
            match (rng.random_range(0..6), stream.epoch()) {
                (0, Some((_, epoch))) => stream.append(Err(epoch)), // another gateway names it again
                (1, _) => stream.append(Ok(rng.random_range(0..TOPICS.len()))),
                _ => stream.append(Ok(hot)),
            }
        }
    }
}

/// A gateway: what it has of the stream, and what its sessions were sent since it was live last.
struct Gateway {
    live: Live,
    clock: Clock,
    follower: Follower,
    life: Option<Arc<StreamLife>>,
    logs: HashMap<TopicName, Log>,
    seen: HashSet<(usize, u64, u64)>,
    seen_from: u64,
    positions: HashSet<(usize, Epoch, Offset)>,
    /// The number of positions that were tried with `since`, and how many of these were recovered.
    asked: [usize; 2],
}

impl Gateway {
    fn new() -> Self {
        let rule = Rule { history: HISTORY, ..Rule::plain(Some(Pattern::parse("t.>").unwrap().into())) };
        let live = Live::new(&Config { rules: Rules::new(vec![rule]), ..Config::default() }, &Arc::new(Metrics::new()));
        let (seen, positions) = (HashSet::new(), HashSet::new());
        let clock = Clock::by_hand(Timestamp(0));
        Self { live, clock, follower: Follower::default(), life: None, logs: HashMap::new(), seen, seen_from: 0, positions, asked: [0; 2] }
    }

    fn log(&mut self, topic: usize) -> &mut Log {
        let life = self.life.as_ref().expect("the gateway is live");
        self.logs.entry(name(topic)).or_insert_with(|| Log::of_stream(life, life.base(), self.clock.moment()))
    }

    /// Follows the stream for some steps, as `StreamReader` does.
    fn follow(&mut self, stream: &mut StreamModel, rng: &mut StdRng) {
        if stream.retain <= HISTORY {
            return; // the gateway refuses it
        }
        let retain = stream.retain as u64;
        let (next, mut loading) = match stream.start(&mut self.follower) {
            Start::Load { epoch, start, unproven } => (start, Some(Loading::new(epoch, start, unproven))),
            Start::Resume { start } => (start, None),
            Start::NameEpoch { .. } => unreachable!(),
        };
        if loading.is_none() {
            self.become_live(stream);
        }
        let mut consumer = Consumer { next, sent: 0 };
        for _ in 0..rng.random_range(1..80) {
            match rng.random_range(0..12) {
                0..4 => stream.append(Ok(rng.random_range(0..TOPICS.len()))),
                4 => stream.retain += 1,
                5 => self.follower.epoch().into_iter().for_each(|(epoch, expected)| stream.name_epoch(epoch, expected)),
                _ => {}
            }
            let Some((received, stored)) = consumer.send(stream) else { continue };
            let Ok(mut then) = self.follower.receive(received) else { break };
            self.take(stored, loading.as_mut());
            if then == Next::AskEnd {
                then = self.follower.set_end(stream.last);
            }
            if then == Next::Loaded
                && let Some(loaded) = loading.take()
            {
                let (life, logs) = loaded.finish(stream.first(), self.follower.cursor(), retain);
                self.follower.finish_load();
                self.life = Some(life);
                let before = std::mem::replace(&mut self.logs, logs);
                (0..TOPICS.len()).for_each(|topic| before.get(&name(topic)).into_iter().for_each(|log| self.log(topic).reach_back(log)));
                self.become_live(stream);
            }
        }
    }

    /// A load of these numbers, each with the index of its topic; an epoch message has none.
    fn load(&self, epoch: Epoch, numbers: &[(u64, Option<usize>)]) -> Loading {
        let mut loading = Loading::new(epoch, numbers[0].0, None);
        for &(number, topic) in numbers {
            loading.note_number(number);
            topic.into_iter().for_each(|topic| loading.append(name(topic), &streamed(number, b"1"), &self.live, &self.clock));
        }
        loading
    }

    fn take(&mut self, stored: Stored, loading: Option<&mut Loading>) {
        let payload = stored.content.to_string();
        let streamed = streamed(stored.sequence, payload.as_bytes());
        if let Some(loading) = loading {
            loading.note_number(stored.sequence);
            stored.topic.into_iter().for_each(|topic| loading.append(name(topic), &streamed, &self.live, &self.clock));
            return;
        }
        let Some(life) = self.life.clone() else { return };
        if let Ok(topic) = stored.topic {
            let mut alone = Loading::new(life.epoch(), stored.sequence, None);
            alone.append(name(topic), &streamed, &self.live, &self.clock);
            let message =
                alone.topics.values().next().and_then(|loaded| loaded.log.messages().next().cloned()).expect("the message was loaded");
            self.log(topic).append(&message);
            self.seen.insert((topic, stored.sequence, stored.content));
        }
        life.advance(Offset(stored.sequence));
        for topic in 0..TOPICS.len() {
            let position = self.log(topic).position();
            self.positions.insert((topic, position.epoch, position.offset));
        }
    }

    /// The gateway is live again. Sessions reconnect with the positions that they had before.
    fn become_live(&mut self, stream: &StreamModel) {
        for (topic, epoch, offset) in std::mem::take(&mut self.positions) {
            let position = Position { epoch, offset };
            let recovered = recovered(self.log(topic), epoch, offset.0);
            self.asked[0] += 1;
            self.asked[1] += usize::from(recovered);
            if !recovered {
                continue;
            }
            let messages = self.log(topic).messages();
            let kept: HashSet<(u64, Vec<u8>)> = messages.map(|message| (message.position.offset.0, message.payload().to_vec())).collect();
            let of_topic = stream.ever.iter().filter(|stored| stored.topic == Ok(topic) && stored.sequence <= self.follower.cursor());
            for &Stored { sequence, content, .. } in of_topic {
                if sequence > position.offset.0 {
                    assert!(kept.contains(&(sequence, content.to_string().into_bytes())), "{sequence} is missing behind {position:?}");
                } else if sequence > self.seen_from {
                    assert!(self.seen.contains(&(topic, sequence, content)), "a subscriber at {position:?} has another {sequence}");
                }
            }
        }
        self.seen.clear();
        self.seen_from = self.follower.cursor();
    }
}

fn streamed(number: u64, payload: &[u8]) -> StreamMessage<'_> {
    let (offset, published_at, kind) = (Offset(number), Timestamp(0), PayloadKind::Text);
    StreamMessage { offset, published_at, kind, except: None, extra: None, payload }
}

/// Whether a subscriber at `offset` of `epoch` gets all messages that it has missed.
fn recovered(log: &Log, epoch: Epoch, offset: u64) -> bool {
    log.start(ReplayRequest { since: Some((Some(epoch.as_str()), Offset(offset))), last: None }, 0).recovered == Some(true)
}

fn name(topic: usize) -> TopicName {
    TopicName::parse(TOPICS[topic]).unwrap()
}

/// PROTOCOL 13: `recovered` is true only if no message of the topic after `since` can be missing, whatever was cut,
/// however many messages of a topic the stream keeps by now, and whether or not the stream has lost its newest
/// messages. The bug: a topic that was cut while the stream kept fewer messages counted as complete. So did a stream
/// whose newest message was removed before the gateway asked.
#[test]
fn a_recovered_position_misses_no_message() {
    let mut asked = [0; 2];
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut stream, mut gateway) = (StreamModel::new(rng.random_range(1..12)), Gateway::new());
        for _ in 0..12 {
            change(&mut stream, &mut rng);
            gateway.follow(&mut stream, &mut rng);
        }
        asked = [asked[0] + gateway.asked[0], asked[1] + gateway.asked[1]];
    }
    assert!(asked[1] * 5 > asked[0], "of {} positions {} were recovered", asked[0], asked[1]);
}

/// `t.a` was cut to three messages, and by now the stream keeps ten of each topic.
#[test]
fn a_cut_topic_stays_incomplete_if_the_stream_keeps_more() {
    let (gateway, epoch) = (Gateway::new(), Epoch::random());
    let loading = gateway.load(epoch, &[(1, None), (3, Some(1)), (4, Some(0)), (5, Some(0)), (6, Some(0))]);
    let (_, logs) = loading.finish(1, 6, 10);
    let recovered = |topic, offset| recovered(&logs[&name(topic)], epoch, offset);
    assert_eq!([1, 2, 3].map(|offset| recovered(0, offset)), [false, true, true], "2 was cut");
    assert_eq!([1, 2].map(|offset| recovered(1, offset)), [false, true], "2 may have been of t.b");
}

/// Numbers that were followed before a load stay known after the stream has removed their messages. The bug: a topic
/// without messages was not recovered, and its subscribers were sent a gap.
#[test]
fn followed_numbers_stay_known_after_a_load() {
    let (gateway, epoch) = (Gateway::new(), Epoch::random());
    let followed = StreamLife::new(epoch, Offset(0), Offset(90));
    let empty = Log::of_stream(&followed, followed.base(), gateway.clock.moment());
    let loading = gateway.load(epoch, &[(51, Some(0)), (101, Some(1)), (102, None)]);
    let (life, mut logs) = loading.finish(51, 102, 10);
    let recovered = |log: &Log| recovered(log, epoch, 30);
    let mut quiet = Log::of_stream(&life, life.base(), gateway.clock.moment());
    let busy = logs.get_mut(&name(1)).expect("it has a message");
    assert_eq!([recovered(&quiet), recovered(busy)], [false; 2], "the removed messages may have been theirs");
    [&mut quiet, busy].into_iter().for_each(|log| log.reach_back(&empty));
    assert_eq!([recovered(&quiet), recovered(busy)], [true, false], "t.b may have had one of 91 to 100");
}
