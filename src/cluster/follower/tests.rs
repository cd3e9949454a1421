//! The follower against a model of a stream that removes old messages, loses its newest messages, is emptied and gets
//! new epochs.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::cluster::stream_model::{Consumer, StreamModel};

/// The contents that one follower has received, by epoch and number. Those of an unfinished load are seen by nobody.
#[derive(Default)]
struct Taken {
    loading: Vec<((Epoch, u64), u64)>,
    contents: std::collections::HashMap<(Epoch, u64), u64>,
}

/// PROTOCOL 13: in one epoch a number has one content, and a live follower misses no number, for any changes of the
/// stream, also of one that removes no old messages.
#[test]
fn each_number_of_an_epoch_has_one_content_and_none_is_missed() {
    for (seed, removes_old) in (0..400).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = StreamModel::new(usize::MAX);
        let mut followers: Vec<(Follower, Taken)> = (0..2).map(|_| Default::default()).collect();
        for _ in 0..40 {
            let index = rng.random_range(0..2);
            let (follower, taken) = &mut followers[index];
            let steps = rng.random_range(0..60);
            follow(follower, taken, &mut stream, &mut rng, steps, removes_old);
            let change = rng.random_range(0..10);
            match change {
                0 => {
                    // The stream is made anew under the same name, and its numbers begin at 1 again.
                    stream.kept.clear();
                    stream.last = 0;
                }
                1 | 2 => stream.lose_end(rng.random_range(stream.first() - 1..=stream.last)),
                3 | 4 if removes_old => drop(stream.kept.drain(..stream.kept.len() / 2)),
                _ => (0..rng.random_range(0..20)).for_each(|_| stream.append(Ok(0))),
            }
            // A stream loses messages with its leader: every consumer ends, and each follower asks before there is
            // another message.
            if change <= 2 {
                followers.iter_mut().for_each(|(follower, taken)| follow(follower, taken, &mut stream, &mut rng, 0, removes_old));
            }
        }
        let (first, second) = (&followers[0].1.contents, &followers[1].1.contents);
        for (place, content) in first {
            assert!(second.get(place).is_none_or(|other| other == content), "seed {seed}: {place:?} has two contents");
        }
    }
}

/// Follows the stream with one consumer for some steps, as `StreamReader` does. `removes_old`: the stream removes old
/// messages meanwhile.
fn follow(follower: &mut Follower, taken: &mut Taken, stream: &mut StreamModel, rng: &mut StdRng, steps: usize, removes_old: bool) {
    let (Start::Load { start: next, .. } | Start::Resume { start: next }) = stream.start(follower) else { unreachable!() };
    if follower.load.is_some() {
        taken.loading.clear();
    }
    let mut consumer = Consumer { next, sent: 0 };
    for _ in 0..steps {
        if rng.random_ratio(1, 4) {
            stream.append(Ok(0));
        }
        if rng.random_ratio(1, 8)
            && let Some((epoch, expected)) = follower.epoch()
        {
            stream.name_epoch(epoch, expected);
        }
        if removes_old && rng.random_ratio(1, 20) {
            stream.kept.drain(..stream.kept.len() / 3);
        }
        let Some((received, stored)) = consumer.send(stream) else { continue };
        let (cursor, loading) = (follower.cursor(), follower.load.is_some());
        let Ok(mut next) = follower.receive(received) else { return };
        assert!(loading || received.sequence == cursor + 1, "live, {} came after {cursor}", received.sequence);
        let (epoch, _) = follower.epoch().expect("an epoch is known");
        taken.loading.push(((epoch, received.sequence), stored.content));
        if next == Next::AskEnd {
            next = follower.set_end(stream.last);
        }
        if next == Next::Loaded {
            follower.finish_load();
        }
        if follower.load.is_none() {
            for (place, content) in taken.loading.drain(..) {
                let before = taken.contents.insert(place, content);
                assert!(before.is_none_or(|before| before == content), "{place:?} has two contents");
            }
        }
    }
}

fn received(sequence: u64, consumer_sequence: u64) -> Received {
    Received { sequence, consumer_sequence, stored_at: sequence, epoch: None }
}

fn loaded(epoch: Epoch, last: u64) -> Follower {
    let mut follower = Follower::default();
    let start = follower.start(StreamInfo { first: last, last, epoch: Some((last, Some(epoch))), recognized: None });
    assert_eq!(start, Start::Load { epoch, start: last, unproven: None });
    assert_eq!(follower.receive(Received { epoch: Some(Some(epoch)), ..received(last, 1) }), Ok(Next::AskEnd));
    assert_eq!(follower.set_end(last), Next::Loaded);
    follower.finish_load();
    follower
}

/// Messages that are removed during a load are noticed: no number up to the end that was asked last may be missing.
#[test]
fn a_load_asks_for_the_end_before_it_is_complete() {
    let (epoch, mut follower) = (Epoch::random(), Follower::default());
    follower.start(StreamInfo { first: 3, last: 9, epoch: Some((3, Some(epoch))), recognized: None });
    assert_eq!(follower.receive(received(3, 1)), Ok(Next::ReadOn));
    assert_eq!(follower.receive(received(9, 2)), Ok(Next::AskEnd), "gaps are usual during a load");
    assert_eq!(follower.set_end(11), Next::ReadOn);
    assert_eq!(follower.receive(received(11, 3)), Ok(Next::AskEnd), "10 was removed after the end was asked for: once more");
    assert_eq!(follower.set_end(12), Next::ReadOn);
    assert_eq!(follower.receive(received(12, 4)), Ok(Next::Loaded));
}

#[test]
fn a_gap_ends_the_consumer() {
    let mut follower = loaded(Epoch::random(), 5);
    assert_eq!(follower.receive(received(6, 2)), Ok(Next::ReadOn));
    assert_eq!((follower.heartbeat(2), follower.heartbeat(3)), (Ok(()), Err(Broken::Lost)));
    assert_eq!(follower.receive(received(8, 3)), Err(Broken::PushedOut));
}

/// A stream that has lost its newest messages would use their numbers again, so it gets another epoch first.
#[test]
fn a_lost_end_ends_the_epoch() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    let kept = Some(StoredMessage { sequence: 5, stored_at: 5 });
    assert_eq!(
        follower.start(StreamInfo { first: 1, last: 5, epoch: Some((5, Some(epoch))), recognized: kept }),
        Start::Resume { start: 6 }
    );
    assert_eq!(
        follower.start(StreamInfo { first: 1, last: 4, epoch: Some((2, Some(epoch))), recognized: None }),
        Start::NameEpoch { expected: 2 }
    );
    let next = Epoch::random();
    assert_eq!(
        follower.start(StreamInfo { first: 1, last: 5, epoch: Some((5, Some(next))), recognized: None }),
        Start::Load { epoch: next, start: 1, unproven: None }
    );
}

/// A stream lost its newest messages and has others with their numbers, before the follower asked: the message at the
/// cursor is another one. The bug: a stream with the same epoch counted as the same, so that `since` was kept for
/// positions of lost messages.
#[test]
fn an_end_with_other_messages_is_a_lost_end() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    assert_eq!(follower.receive(received(6, 2)), Ok(Next::ReadOn));
    let info = |stored_at| StreamInfo {
        first: 1,
        last: 9,
        epoch: Some((5, Some(epoch))),
        recognized: Some(StoredMessage { sequence: 6, stored_at }),
    };
    assert_eq!(follower.recognizable(), Some(5..=6));
    assert_eq!(follower.start(info(6)), Start::Resume { start: 7 });
    assert_eq!(follower.start(info(60)), Start::NameEpoch { expected: 5 });
}

/// The same if the message at the cursor was removed meanwhile: the newest known message that is left shows whether the
/// stream is the same. The bug: the stream counted as the same, and the messages with the lost numbers were missed
/// silently.
#[test]
fn a_removed_end_is_recognized_by_the_newest_known_message() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    (6..=8).for_each(|number| assert_eq!(follower.receive(received(number, number - 4)), Ok(Next::ReadOn)));
    let mut begin = |kept: Option<(u64, u64)>| {
        let kept = kept.map(|(sequence, stored_at)| StoredMessage { sequence, stored_at });
        follower.start(StreamInfo { first: 1, last: 9, epoch: Some((9, Some(epoch))), recognized: kept })
    };
    let load = |proven| Start::Load { epoch, start: 1, unproven: Some(Unproven { proven, known: 8 }) };
    assert_eq!(begin(Some((7, 7))), load(7));
    assert_eq!(begin(Some((7, 70))), Start::NameEpoch { expected: 9 });
    assert_eq!(begin(None), load(0));
}
