//! The feed of the simulated market: one quote of each symbol in an interval, spread evenly over it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::market::Market;
use super::sink::FeedSink;
use crate::clock::Clock;
use crate::config::{self, Problem};
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// The topics of the symbols, in the order of `settings`.
pub(super) fn topics(settings: &config::Simulator) -> Result<Vec<TopicName>, Problem> {
    let topic = |symbol: &String| {
        TopicName::parse(&format!("quotes.{symbol}")).map_err(|error| Problem(format!("feed.simulator.symbols: {symbol:?}: {error}")))
    };
    settings.symbols.iter().map(topic).collect()
}

/// Publishes quotes until its task is aborted.
pub(super) async fn run(settings: config::Simulator, topics: Vec<TopicName>, sink: impl FeedSink, clock: Clock) {
    if topics.is_empty() {
        return;
    }
    let seed = if settings.seed == 0 { rand::random() } else { settings.seed };
    let mut market = Market::new(&settings.symbols, seed);
    let mut schedule = Schedule::new(settings.interval, topics.len());
    let mut refused = false;
    loop {
        sleep_until(schedule.next(Instant::now())).await;
        let index = schedule.index();
        let quote = market.quote(index, clock.now());
        let outcome = sink.publish(&topics[index], &quote, PublishSource::Feed).await;
        // Only the first of a series of refusals is logged.
        if let (Err(error), false) = (&outcome, refused) {
            tracing::warn!(topic = %topics[index], %error, "a quote was not published");
        }
        refused = outcome.is_err();
    }
}

/// The schedule of the quotes: `count` in each interval, evenly spaced.
struct Schedule {
    start: Option<Instant>,
    interval: Duration,
    count: usize,
    /// The number of times that were returned since `start`.
    given: u64,
}

impl Schedule {
    fn new(interval: Duration, count: usize) -> Self {
        Self { start: None, interval, count, given: 0 }
    }

    /// The time of the next quote. After a stall of more than an interval the schedule continues from `now`, and missed
    /// quotes are skipped.
    fn next(&mut self, now: Instant) -> Instant {
        let start = *self.start.get_or_insert(now);
        let nanos = self.interval.as_nanos() * u128::from(self.given) / self.count as u128;
        let mut due = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if now.saturating_duration_since(due) > self.interval {
            self.start = Some(start + now.saturating_duration_since(due));
            due = now;
        }
        self.given += 1;
        due
    }

    /// The index of the symbol whose time was returned last.
    fn index(&self) -> usize {
        (self.given.saturating_sub(1) % self.count as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_spread_over_the_interval() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Duration::from_millis(900), 3);
        let given: Vec<_> = (0..5).map(|_| (schedule.next(now).duration_since(now).as_millis(), schedule.index())).collect();
        assert_eq!(given, [(0, 0), (300, 1), (600, 2), (900, 0), (1_200, 1)]);
    }

    /// The missed quotes are skipped.
    #[test]
    fn the_simulator_does_not_catch_up_after_a_stall() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Duration::from_secs(1), 2);
        schedule.next(start);
        let late = start + Duration::from_secs(100);
        assert_eq!(schedule.next(late), late);
        assert_eq!(schedule.next(late), late + Duration::from_millis(500));
        assert_eq!(schedule.index(), 0);
    }

    #[test]
    fn a_symbol_that_is_not_a_token_is_refused() {
        let settings = config::Simulator { symbols: vec!["A B".into()], interval: Duration::from_secs(1), seed: 1 };
        assert!(topics(&settings).unwrap_err().0.contains("feed.simulator.symbols: \"A B\""));
    }
}
