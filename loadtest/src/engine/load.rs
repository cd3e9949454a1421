//! The load: which messages are published, and when.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::accounting::Ledger;
use super::session::{Phase, Session};
use crate::clock::nanoseconds;
use crate::measure::latency::histogram;
use crate::stamp::Stamp;
use crate::wire::http::publish;

/// When messages are published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: `burst` messages at each scheduled time, whatever the server does.
    OpenLoop {
        rate: f64,
        /// Messages at each time.
        burst: u32,
    },
    /// Closed loop: publishes a message as soon as fewer than this many are in flight. It finds the highest rate, and
    /// its latencies are those of a full queue.
    ClosedLoop(u32),
}

/// The order in which streams publish.
#[derive(Debug, Clone)]
pub enum StreamOrder {
    /// One after the other.
    RoundRobin(Vec<u32>),
    /// At random, by popularity: stream `n` has the weight 1/(n+1).
    Zipf {
        /// The sums of the weights up to each stream.
        sums: Vec<f64>,
        /// The state of the random numbers.
        random: u64,
    },
}

/// Publishes messages at a pace, to streams in an order.
pub struct Load {
    pace: Pace,
    order: StreamOrder,
    published: usize,
    interval: f64,
    /// The time in which the rate of an open loop rises, in nanoseconds.
    rise: f64,
    begun: u64,
    ticks: u64,
    /// How late messages were sent, in nanoseconds: the load test's part of their latency.
    pub lateness: Histogram<u64>,
    /// Publishers that have bytes to write.
    pub(super) touched: Vec<usize>,
}

impl StreamOrder {
    /// The streams `0..count`, the first the most popular.
    pub fn zipf(count: u32) -> Self {
        let mut sum = 0.0;
        let sums = (0..count).map(|stream| {
            sum += 1.0 / f64::from(stream + 1);
            sum
        });
        Self::Zipf { sums: sums.collect(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn pick(&mut self, number: usize) -> u32 {
        match self {
            Self::RoundRobin(streams) => streams[number % streams.len()],
            Self::Zipf { sums, random } => {
                *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (*random >> 11) as f64 / (1_u64 << 53) as f64 * sums.last().copied().unwrap_or(0.0);
                sums.partition_point(|sum| *sum <= at).min(sums.len() - 1) as u32
            }
        }
    }
}

impl Load {
    pub fn new(pace: Pace, order: StreamOrder) -> Self {
        let interval = match pace {
            Pace::OpenLoop { rate, burst } => nanoseconds(Duration::from_secs(1)) as f64 * f64::from(burst) / rate,
            Pace::ClosedLoop(_) => 0.0,
        };
        Self { pace, order, published: 0, interval, rise: 0.0, begun: 0, ticks: 0, lateness: histogram(), touched: Vec::new() }
    }

    /// Lets the rate of an open loop rise linearly from zero `over` this time.
    pub fn rising(self, over: Duration) -> Self {
        Self { rise: nanoseconds(over) as f64, ..self }
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.begun = now;
    }

    /// The next scheduled time, in nanoseconds of the run's clock. It is a product and not a sum, so it does not drift.
    pub(super) fn next_due(&self) -> u64 {
        match self.pace {
            Pace::OpenLoop { .. } => {
                let flat = self.ticks as f64 * self.interval;
                // While the rate rises, half as many messages are published as at the full rate.
                let risen = if flat < self.rise / 2.0 { (2.0 * self.rise * flat).sqrt() } else { flat + self.rise / 2.0 };
                self.begun + risen as u64
            }
            Pace::ClosedLoop(_) => u64::MAX,
        }
    }

    pub(super) fn is_due(&self, now: u64, ledger: &Ledger) -> bool {
        match self.pace {
            Pace::OpenLoop { .. } => now >= self.next_due(),
            Pace::ClosedLoop(ahead) => has_room(ledger, ahead),
        }
    }

    pub(super) fn publish_due(&mut self, now: u64, ledger: &mut Ledger, sessions: &mut [Session]) {
        match self.pace {
            Pace::OpenLoop { burst, .. } => {
                while self.next_due() <= now {
                    let due = self.next_due();
                    self.lateness.saturating_record(now - due);
                    (0..burst).for_each(|_| self.publish(due, ledger, sessions));
                    self.ticks += 1;
                }
            }
            Pace::ClosedLoop(ahead) => {
                // A message without subscribers does not count as outstanding, so the loop needs its own bound.
                for _ in 0..ahead {
                    if !has_room(ledger, ahead) {
                        break;
                    }
                    self.publish(now, ledger, sessions);
                }
            }
        }
    }

    fn publish(&mut self, due: u64, ledger: &mut Ledger, sessions: &mut [Session]) {
        let number = self.order.pick(self.published);
        self.published += 1;
        let (stream, topic) = ledger.topics.stream_mut(number).expect("a load publishes to streams of its engine");
        let session = &mut sessions[stream.publisher];
        if session.connection.phase() != Phase::Open {
            ledger.counts.findings.unsent += 1;
            return;
        }
        stream.sent += 1;
        let payload = ledger.stamper.write(Stamp { stream: number, sequence: stream.sent, scheduled: due });
        let outgoing = session.connection.outgoing();
        if let Some(batch) = &mut session.http_batch {
            publish::push_message(session.dialect, outgoing, batch, &topic.name, payload);
        } else {
            let id = session.failover.is_enabled().then(|| stream.results.ask(number, stream.sent));
            session.dialect.push_publish(outgoing, &topic.name, payload, id);
        }
        ledger.outstanding += topic.subscribers;
        ledger.counts.published += 1;
        if self.touched.last() != Some(&stream.publisher) {
            self.touched.push(stream.publisher);
        }
    }
}

/// Whether fewer than `ahead` messages are in flight. Deliveries are divided by the average number of subscribers.
fn has_room(ledger: &Ledger, ahead: u32) -> bool {
    let audience = (ledger.subscriptions / ledger.topics.count().max(1) as i64).max(1);
    ledger.outstanding <= audience * (i64::from(ahead) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_does_not_drift() {
        let mut load = Load::new(Pace::OpenLoop { rate: 300.0, burst: 1 }, StreamOrder::RoundRobin(vec![0]));
        load.begin(5);
        load.ticks = 300_000;
        assert_eq!(load.next_due(), 5 + 1_000_000_000_000);
    }

    /// A rate of 100 that rises over 2 s: 25 messages in the first of them, 75 in the second, 100 in each that follows.
    #[test]
    fn a_rate_rises_linearly() {
        let load = Load::new(Pace::OpenLoop { rate: 100.0, burst: 1 }, StreamOrder::RoundRobin(vec![0]));
        let mut load = load.rising(Duration::from_secs(2));
        let mut by_second = [0; 4];
        while load.next_due() < 4_000_000_000 {
            by_second[(load.next_due() / 1_000_000_000) as usize] += 1;
            load.ticks += 1;
        }
        assert_eq!(by_second, [25, 75, 100, 100]);
    }

    #[test]
    fn the_first_stream_is_the_most_popular() {
        let mut order = StreamOrder::zipf(100);
        let mut counts = [0_u32; 100];
        for _ in 0..10_000 {
            counts[order.pick(0) as usize] += 1;
        }
        assert!(counts[0] > 4 * counts[9] && counts[99] > 0, "{counts:?}");
    }
}
