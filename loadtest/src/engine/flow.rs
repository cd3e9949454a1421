//! What is published, and when: at scheduled moments, whatever happens, or always so many messages ahead.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::desk::Desk;
use super::session::{Phase, Session};
use crate::clock::nanoseconds;
use crate::measure::latency::histogram;
use crate::stamp::Stamp;
use crate::wire::post;

/// When messages are published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: `burst` messages at once, so often that there are `rate` a second.
    Scheduled {
        /// Messages a second.
        rate: f64,
        /// Messages at each moment.
        burst: u32,
    },
    /// Closed loop: a message is published as soon as fewer than so many are under way. It finds the highest rate, and its delays are those of a full queue.
    Ahead(u32),
}

/// Which stream is next.
#[derive(Debug, Clone)]
pub enum Picks {
    /// One after the other.
    InTurn(Vec<u32>),
    /// By popularity: stream `n` has the weight 1/(n+1).
    Skewed {
        /// The sums of the weights up to each stream.
        sums: Vec<f64>,
        /// The state of the dice.
        dice: u64,
    },
}

/// A flow of messages.
pub struct Flow {
    pace: Pace,
    picks: Picks,
    turn: usize,
    interval: f64,
    begun: u64,
    ticks: u64,
    /// How late messages were sent, in nanoseconds: the load test's own part in the delay.
    pub lateness: Histogram<u64>,
    /// Publishers with something to flush.
    pub(super) touched: Vec<usize>,
}

impl Picks {
    /// The streams `0..count` by a skewed popularity.
    pub fn skewed(count: u32) -> Self {
        let mut sum = 0.0;
        let sums = (0..count).map(|stream| {
            sum += 1.0 / f64::from(stream + 1);
            sum
        });
        Self::Skewed { sums: sums.collect(), dice: 0x9e37_79b9_7f4a_7c15 }
    }

    fn pick(&mut self, turn: usize) -> u32 {
        match self {
            Self::InTurn(streams) => streams[turn % streams.len()],
            Self::Skewed { sums, dice } => {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (*dice >> 11) as f64 / (1_u64 << 53) as f64 * sums.last().copied().unwrap_or(0.0);
                sums.partition_point(|sum| *sum <= at).min(sums.len() - 1) as u32
            }
        }
    }
}

impl Flow {
    /// Publishes to `picks`, as `pace` says.
    pub fn new(pace: Pace, picks: Picks) -> Self {
        let interval = match pace {
            Pace::Scheduled { rate, burst } => nanoseconds(Duration::from_secs(1)) as f64 * f64::from(burst) / rate,
            Pace::Ahead(_) => 0.0,
        };
        Self { pace, picks, turn: 0, interval, begun: 0, ticks: 0, lateness: histogram(), touched: Vec::new() }
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.begun = now;
    }

    /// The next moment, in nanoseconds of the run's clock; a product and not a sum, so that nothing drifts.
    pub(super) fn next_due(&self) -> u64 {
        match self.pace {
            Pace::Scheduled { .. } => self.begun + (self.ticks as f64 * self.interval) as u64,
            Pace::Ahead(_) => u64::MAX,
        }
    }

    pub(super) fn is_due(&self, now: u64, desk: &Desk) -> bool {
        match self.pace {
            Pace::Scheduled { .. } => now >= self.next_due(),
            Pace::Ahead(ahead) => has_room(desk, ahead),
        }
    }

    pub(super) fn publish_due(&mut self, now: u64, desk: &mut Desk, sessions: &mut [Session]) {
        match self.pace {
            Pace::Scheduled { burst, .. } => {
                while self.next_due() <= now {
                    let due = self.next_due();
                    self.lateness.saturating_record(now - due);
                    (0..burst).for_each(|_| self.publish(due, desk, sessions));
                    self.ticks += 1;
                }
            }
            Pace::Ahead(ahead) => {
                // A message without a subscriber leaves no trace in what is outstanding, so a turn has an end of its own.
                for _ in 0..ahead {
                    if !has_room(desk, ahead) {
                        break;
                    }
                    self.publish(now, desk, sessions);
                }
            }
        }
    }

    fn publish(&mut self, due: u64, desk: &mut Desk, sessions: &mut [Session]) {
        let number = self.picks.pick(self.turn);
        self.turn += 1;
        let stream = &mut desk.streams[number as usize];
        let session = &mut sessions[stream.publisher];
        if session.phase != Phase::Open {
            desk.tally.unsent += 1;
            return;
        }
        stream.sent += 1;
        let topic = &desk.topics[stream.topic as usize];
        let payload = desk.stamper.write(Stamp { stream: number, sequence: stream.sent, scheduled: due });
        if session.posts {
            post::push(session.dialect, &mut session.outgoing, &mut session.batch, &topic.name, payload);
        } else {
            session.dialect.push_publish(&mut session.outgoing, &topic.name, payload);
        }
        desk.outstanding += i64::from(topic.subscribers);
        desk.tally.published += 1;
        if self.touched.last() != Some(&stream.publisher) {
            self.touched.push(stream.publisher);
        }
    }
}

/// Whether fewer than `ahead` messages are under way, counted in whole messages of the average audience.
fn has_room(desk: &Desk, ahead: u32) -> bool {
    let audience = (desk.subscriptions / desk.topics.len().max(1) as u64).max(1) as i64;
    desk.outstanding <= audience * (i64::from(ahead) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_does_not_drift() {
        let mut flow = Flow::new(Pace::Scheduled { rate: 300.0, burst: 1 }, Picks::InTurn(vec![0]));
        flow.begin(5);
        flow.ticks = 300_000;
        assert_eq!(flow.next_due(), 5 + 1_000_000_000_000);
    }

    #[test]
    fn the_first_stream_is_the_most_popular() {
        let mut picks = Picks::skewed(100);
        let mut counts = [0_u32; 100];
        for _ in 0..10_000 {
            counts[picks.pick(0) as usize] += 1;
        }
        assert!(counts[0] > 4 * counts[9] && counts[99] > 0, "{counts:?}");
    }
}
