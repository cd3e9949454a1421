//! The follower against a model of a stream that pushes out, ages, loses its end, is emptied and is named anew.

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// What a stream keeps: numbers, lives and contents. Contents are unique, so that one number with two of them is seen.
struct Stream {
    kept: Vec<Stored>,
    last: u64,
    next_content: u64,
}

#[derive(Clone, Copy)]
struct Stored {
    sequence: u64,
    life: Option<Epoch>,
    content: u64,
}

impl Stream {
    fn append(&mut self, life: Option<Epoch>) {
        self.last += 1;
        self.next_content += 1;
        self.kept.push(Stored { sequence: self.last, life, content: self.next_content });
    }

    fn life(&self) -> Option<(u64, Option<Epoch>)> {
        self.kept.iter().rev().find(|kept| kept.life.is_some()).map(|kept| (kept.sequence, kept.life))
    }

    fn found(&self, known: Option<RangeInclusive<u64>>) -> Found {
        let first = self.kept.first().map_or(self.last + 1, |kept| kept.sequence);
        let is_known = |stored: &&Stored| known.as_ref().is_some_and(|known| known.contains(&stored.sequence));
        let kept = self.kept.iter().rev().find(is_known);
        let kept = kept.map(|stored| Kept { sequence: stored.sequence, stored_at: stored.content });
        Found { first, last: self.last, life: self.life(), kept }
    }

    /// A conditional write: it is refused if another life message has come.
    fn name_life(&mut self, epoch: Epoch, expected: u64) {
        if self.life().map_or(0, |(sequence, _)| sequence) == expected {
            self.append(Some(epoch));
        }
    }
}

/// A consumer: it sends what is kept from a number on.
struct Consumer {
    next: u64,
    sent: u64,
}

impl Consumer {
    fn send(&mut self, stream: &Stream) -> Option<(Heard, u64)> {
        let kept = stream.kept.iter().find(|kept| kept.sequence >= self.next)?;
        self.next = kept.sequence + 1;
        self.sent += 1;
        let (sequence, consumer_sequence, stored_at) = (kept.sequence, self.sent, kept.content);
        Some((Heard { sequence, consumer_sequence, stored_at, life: kept.life.map(Some) }, kept.content))
    }
}

/// What one follower has taken: per life, each number's content. What an unfinished load has taken is seen by nobody.
#[derive(Default)]
struct Taken {
    loading: Vec<((Epoch, u64), u64)>,
    contents: std::collections::HashMap<(Epoch, u64), u64>,
}

/// PROTOCOL 13: in one life a number has one content, and a live follower misses none, whatever becomes of the stream.
#[test]
fn a_number_has_one_content_in_a_life_and_none_is_missed() {
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = Stream { kept: Vec::new(), last: 0, next_content: 0 };
        let mut followers: Vec<(Follower, Taken)> = (0..2).map(|_| Default::default()).collect();
        for _ in 0..40 {
            let index = rng.random_range(0..2);
            let (follower, taken) = &mut followers[index];
            let steps = rng.random_range(0..60);
            follow(follower, taken, &mut stream, &mut rng, steps);
            let change = rng.random_range(0..10);
            match change {
                0 => {
                    // Emptied under the same name, numbers from 1; or its end lost.
                    stream.kept.clear();
                    stream.last = 0;
                }
                1 | 2 => {
                    let kept = rng.random_range(0..=stream.kept.len());
                    stream.kept.truncate(kept);
                    stream.last = stream.kept.last().map_or(0, |kept| kept.sequence);
                }
                3 | 4 => drop(stream.kept.drain(..stream.kept.len() / 2)),
                _ => (0..rng.random_range(0..20)).for_each(|_| stream.append(None)),
            }
            // What has lost its end has lost its leader: every consumer ends, and each follower looks before there is another message.
            if change <= 2 {
                followers.iter_mut().for_each(|(follower, taken)| follow(follower, taken, &mut stream, &mut rng, 0));
            }
        }
        let (first, second) = (&followers[0].1.contents, &followers[1].1.contents);
        for (place, content) in first {
            assert!(second.get(place).is_none_or(|other| other == content), "seed {seed}: {place:?} has two contents");
        }
    }
}

/// One consumer for a while, as a link has it.
fn follow(follower: &mut Follower, taken: &mut Taken, stream: &mut Stream, rng: &mut StdRng, steps: usize) {
    follow_and(follower, taken, stream, rng, steps, true);
}

/// The same, and the stream pushes nothing out.
fn follow_whole(follower: &mut Follower, taken: &mut Taken, stream: &mut Stream, rng: &mut StdRng, steps: usize) {
    follow_and(follower, taken, stream, rng, steps, false);
}

fn follow_and(follower: &mut Follower, taken: &mut Taken, stream: &mut Stream, rng: &mut StdRng, steps: usize, pushes_out: bool) {
    let start = loop {
        match follower.begin(stream.found(follower.known_numbers())) {
            Begin::NameLife { expected } => stream.name_life(Epoch::random(), expected),
            Begin::Load { start, .. } => {
                taken.loading.clear();
                break start;
            }
            Begin::Resume { start } => break start,
        }
    };
    let mut consumer = Consumer { next: start, sent: 0 };
    for _ in 0..steps {
        if rng.random_ratio(1, 4) {
            stream.append(None);
        }
        if rng.random_ratio(1, 8)
            && let Some((epoch, expected)) = follower.tick()
        {
            stream.name_life(epoch, expected);
        }
        if pushes_out && rng.random_ratio(1, 20) {
            stream.kept.drain(..stream.kept.len() / 3);
        }
        let Some((heard, content)) = consumer.send(stream) else { continue };
        let (cursor, loading) = (follower.cursor(), follower.load.is_some());
        let Ok(mut next) = follower.hear(heard) else { return };
        assert!(loading || heard.sequence == cursor + 1, "live, {} came after {cursor}", heard.sequence);
        let (epoch, _) = follower.tick().expect("a life was begun");
        taken.loading.push(((epoch, heard.sequence), content));
        if next == Next::AskEnd {
            next = follower.note_end(stream.last);
        }
        if next == Next::Loaded {
            follower.loaded();
        }
        if follower.load.is_none() {
            for (place, content) in taken.loading.drain(..) {
                let before = taken.contents.insert(place, content);
                assert!(before.is_none_or(|before| before == content), "{place:?} has two contents");
            }
        }
    }
}

fn heard(sequence: u64, consumer_sequence: u64) -> Heard {
    Heard { sequence, consumer_sequence, stored_at: sequence, life: None }
}

fn loaded(epoch: Epoch, last: u64) -> Follower {
    let mut follower = Follower::default();
    let begin = follower.begin(Found { first: last, last, life: Some((last, Some(epoch))), kept: None });
    assert_eq!(begin, Begin::Load { epoch, start: last, doubt: None });
    assert_eq!(follower.hear(Heard { life: Some(Some(epoch)), ..heard(last, 1) }), Ok(Next::AskEnd));
    assert_eq!(follower.note_end(last), Next::Loaded);
    follower.loaded();
    follower
}

/// What is pushed out while a stream is loaded is noticed: up to the end that was asked last, no number may be missing.
#[test]
fn a_load_asks_for_the_end_before_it_is_complete() {
    let (epoch, mut follower) = (Epoch::random(), Follower::default());
    follower.begin(Found { first: 3, last: 9, life: Some((3, Some(epoch))), kept: None });
    assert_eq!(follower.hear(heard(3, 1)), Ok(Next::ReadOn));
    assert_eq!(follower.hear(heard(9, 2)), Ok(Next::AskEnd), "holes are usual while it loads");
    assert_eq!(follower.note_end(11), Next::ReadOn);
    assert_eq!(follower.hear(heard(11, 3)), Ok(Next::AskEnd), "10 was removed after the end was asked for: once more");
    assert_eq!(follower.note_end(12), Next::ReadOn);
    assert_eq!(follower.hear(heard(12, 4)), Ok(Next::Loaded));
}

#[test]
fn a_hole_is_no_message_that_may_be_skipped() {
    let mut follower = loaded(Epoch::random(), 5);
    assert_eq!(follower.hear(heard(6, 2)), Ok(Next::ReadOn));
    assert_eq!((follower.heartbeat(2), follower.heartbeat(3)), (Ok(()), Err(Broken::Lost)));
    assert_eq!(follower.hear(heard(8, 3)), Err(Broken::PushedOut));
}

/// A stream that has lost its end would use its numbers anew: it gets another life first.
#[test]
fn a_lost_end_ends_the_life() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    let kept = Some(Kept { sequence: 5, stored_at: 5 });
    assert_eq!(follower.begin(Found { first: 1, last: 5, life: Some((5, Some(epoch))), kept }), Begin::Resume { start: 6 });
    assert_eq!(follower.begin(Found { first: 1, last: 4, life: Some((2, Some(epoch))), kept: None }), Begin::NameLife { expected: 2 });
    let next = Epoch::random();
    assert_eq!(
        follower.begin(Found { first: 1, last: 5, life: Some((5, Some(next))), kept: None }),
        Begin::Load { epoch: next, start: 1, doubt: None }
    );
}

/// An end that was lost and is there again with other messages, before anybody has looked: the message at the cursor is another one. (It
/// passed for the same as long as the life was, so that `since` was kept for positions of the lost end.)
#[test]
fn an_end_with_other_messages_is_a_lost_end() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    assert_eq!(follower.hear(heard(6, 2)), Ok(Next::ReadOn));
    let found = |stored_at| Found { first: 1, last: 9, life: Some((5, Some(epoch))), kept: Some(Kept { sequence: 6, stored_at }) };
    assert_eq!(follower.known_numbers(), Some(5..=6));
    assert_eq!(follower.begin(found(6)), Begin::Resume { start: 7 });
    assert_eq!(follower.begin(found(60)), Begin::NameLife { expected: 5 });
}

/// The same where the message at the cursor was pushed out meanwhile: the newest that is left tells whether the end is the one that was
/// known. (It was taken for that, and the messages with its numbers were missed without a word.)
#[test]
fn an_end_that_was_pushed_out_is_known_by_what_is_left_of_it() {
    let epoch = Epoch::random();
    let mut follower = loaded(epoch, 5);
    (6..=8).for_each(|number| assert_eq!(follower.hear(heard(number, number - 4)), Ok(Next::ReadOn)));
    let mut begin = |kept: Option<(u64, u64)>| {
        let kept = kept.map(|(sequence, stored_at)| Kept { sequence, stored_at });
        follower.begin(Found { first: 1, last: 9, life: Some((9, Some(epoch))), kept })
    };
    let load = |proven| Begin::Load { epoch, start: 1, doubt: Some(Doubt { proven, known: 8 }) };
    assert_eq!(begin(Some((7, 7))), load(7));
    assert_eq!(begin(Some((7, 70))), Begin::NameLife { expected: 9 });
    assert_eq!(begin(None), load(0));
}

/// The same for a stream that pushes nothing out: one follower never takes a number twice in a life.
#[test]
fn a_number_is_taken_once_in_a_life_whoever_comes_first() {
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream = Stream { kept: Vec::new(), last: 0, next_content: 0 };
        let (mut follower, mut taken) = (Follower::default(), Taken::default());
        for _ in 0..40 {
            let steps = rng.random_range(0..60);
            follow_whole(&mut follower, &mut taken, &mut stream, &mut rng, steps);
            if rng.random_ratio(1, 3) {
                let kept = rng.random_range(0..=stream.kept.len());
                stream.kept.truncate(kept);
                stream.last = stream.kept.last().map_or(0, |kept| kept.sequence);
            }
            (0..rng.random_range(0..20)).for_each(|_| stream.append(None));
        }
    }
}
