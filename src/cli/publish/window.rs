//! Decides when the next line may be sent, so that no line is lost and none overtakes another.
//!
//! The gateway may refuse a line for its rate and accept a later one, so lines in flight can change their order.
//! Several lines are therefore in flight only while a local bucket has room. That bucket is smaller than the default
//! one (`commands_per_second` 100, `commands_burst` 200), so a gateway with the default refuses no line. Beyond it, a
//! line waits for the answer to the one before, unless the user says that the key has its own rate. The first refusal
//! ends the pipelining, and sets a pace.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Moment;

const LINES_MAX: usize = 64;
const BUCKET: f64 = 150.0;
const LINES_PER_SECOND: f64 = 90.0;
/// The pace after the first refusal, just below the default of 100 commands a second.
const FIRST_PACE: Duration = Duration::from_millis(11);
const SLOWEST_PACE: Duration = Duration::from_secs(2);

/// A line with its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of the line, from 1, which is the command's `id`.
    pub(super) number: u64,
    /// The command.
    pub(super) text: String,
}

/// When the next line may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendAt {
    /// At once.
    Now,
    /// Not before this moment.
    At(Moment),
    /// After the next answer.
    AfterAnswer,
}

/// The lines in flight.
#[derive(Debug)]
pub(super) struct Window {
    under_way: BTreeMap<u64, Line>,
    /// Lines that were refused for the rate. They are sent before any new line.
    refused: BTreeMap<u64, Line>,
    bucket: f64,
    filled_at: Moment,
    /// The time between two lines, after the first refusal.
    pace: Option<Duration>,
    /// Whether `pace` has grown since the last line was sent, so that the refusals of one burst count once.
    slowed: bool,
    not_before: Moment,
    /// Whether several lines are in flight only within the default rate.
    keeps_default_rate: bool,
}

impl Window {
    /// A window with a full bucket and no line in flight. With `keeps_default_rate`, several lines are in flight only
    /// within the gateway's default rate.
    pub(super) fn new(now: Moment, keeps_default_rate: bool) -> Self {
        Self {
            under_way: BTreeMap::new(),
            refused: BTreeMap::new(),
            bucket: BUCKET,
            filled_at: now,
            pace: None,
            slowed: false,
            not_before: now,
            keeps_default_rate,
        }
    }

    /// When the next line may be sent, as of `now`.
    pub(super) fn send_at(&mut self, now: Moment) -> SendAt {
        self.bucket = (self.bucket + now.since(self.filled_at).as_secs_f64() * LINES_PER_SECOND).min(BUCKET);
        self.filled_at = now;
        if self.under_way.is_empty() {
            return if now >= self.not_before { SendAt::Now } else { SendAt::At(self.not_before) };
        }
        let within_rate = self.bucket >= 1.0 || !self.keeps_default_rate;
        let room = self.pace.is_none() && self.under_way.len() < LINES_MAX && within_rate;
        if room { SendAt::Now } else { SendAt::AfterAnswer }
    }

    /// Removes the next refused line, which is to be sent before any new one.
    pub(super) fn take_refused(&mut self) -> Option<Line> {
        self.refused.pop_first().map(|(_, line)| line)
    }

    /// Whether a refused line waits to be sent again.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Notes that `line` was sent.
    pub(super) fn sent(&mut self, line: Line, now: Moment) {
        self.under_way.insert(line.number, line);
        self.bucket = (self.bucket - 1.0).max(0.0);
        self.slowed = false;
        self.not_before = now + self.pace.unwrap_or_default();
    }

    /// Notes the last answer to a line. Returns whether the line was in flight.
    pub(super) fn answered(&mut self, number: u64) -> bool {
        self.under_way.remove(&number).is_some()
    }

    /// Notes that a line was refused for the rate.
    pub(super) fn rate_limited(&mut self, number: u64, now: Moment) {
        let Some(line) = self.under_way.remove(&number) else { return };
        self.refused.insert(number, line);
        if !std::mem::replace(&mut self.slowed, true) {
            self.pace = Some(self.pace.map_or(FIRST_PACE, |pace| (pace * 3 / 2).min(SLOWEST_PACE)));
        }
        self.not_before = now + self.pace.unwrap_or_default();
    }

    /// The pace in lines a second, after a refusal.
    pub(super) fn lines_per_second(&self) -> Option<f64> {
        self.pace.map(|pace| 1.0 / pace.as_secs_f64())
    }

    /// The number of lines in flight.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Whether no line is in flight or waits to be sent again.
    pub(super) fn is_all_answered(&self) -> bool {
        self.under_way.is_empty() && self.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Timestamp};

    fn line(number: u64) -> Line {
        Line { number, text: String::new() }
    }

    /// Simulates a gateway's token bucket (PROTOCOL 7) with a round trip of a millisecond. Returns the order in which
    /// lines were accepted.
    fn publish_all(lines: u64, per_second: f64, burst: f64) -> (Vec<u64>, u64, Duration) {
        let clock = Clock::by_hand(Timestamp(0));
        let mut window = Window::new(clock.moment(), true);
        let (mut accepted, mut refusals, mut next, mut tokens, mut filled_at) = (Vec::new(), 0, 1, burst, clock.moment());
        while accepted.len() < lines as usize {
            let mut batch = Vec::new();
            while window.send_at(clock.moment()) == SendAt::Now {
                let Some(line) = window.take_refused().or_else(|| {
                    (next <= lines).then(|| {
                        next += 1;
                        line(next - 1)
                    })
                }) else {
                    break;
                };
                batch.push(line.number);
                window.sent(line, clock.moment());
            }
            clock.advance(Duration::from_millis(1));
            for number in batch {
                tokens = f64::min(tokens + clock.moment().since(filled_at).as_secs_f64() * per_second, burst);
                filled_at = clock.moment();
                if tokens >= 1.0 {
                    tokens -= 1.0;
                    accepted.push(number);
                    assert!(window.answered(number));
                } else {
                    refusals += 1;
                    window.rate_limited(number, clock.moment());
                }
            }
        }
        assert!(window.is_all_answered());
        (accepted, refusals, clock.moment().elapsed_at_start())
    }

    #[test]
    fn all_lines_are_accepted_in_order_with_the_default_limits() {
        let (accepted, refusals, time) = publish_all(2_000, 100.0, 200.0);
        assert_eq!(accepted, (1..=2_000).collect::<Vec<_>>());
        assert!(refusals <= 5, "{refusals}");
        assert!(time < Duration::from_secs(21), "{time:?}");
    }

    #[test]
    fn a_higher_rate_than_the_default_is_used() {
        let (accepted, refusals, time) = publish_all(5_000, 1e6, 1e6);
        assert_eq!(accepted, (1..=5_000).collect::<Vec<_>>());
        assert_eq!(refusals, 0);
        assert!(time < Duration::from_secs(6), "{time:?}");
    }

    /// A gateway with a rate below the default gets each line once, and few excess commands (4003 comes after ten
    /// bursts).
    #[test]
    fn a_lower_rate_than_the_default_loses_no_line() {
        let (mut accepted, refusals, _) = publish_all(300, 5.0, 10.0);
        accepted.sort_unstable();
        assert_eq!(accepted, (1..=300).collect::<Vec<_>>());
        assert!(refusals < 100, "{refusals}");
    }

    /// Beyond the default bucket a line waits for the one before it, unless the key has its own rate.
    #[test]
    fn a_key_with_its_own_rate_does_not_wait() {
        let now = Clock::by_hand(Timestamp(0)).moment();
        for (keeps_default_rate, send_at) in [(true, SendAt::AfterAnswer), (false, SendAt::Now)] {
            let mut window = Window::new(now, keeps_default_rate);
            for number in 1..=BUCKET as u64 {
                window.sent(line(number), now);
                window.answered(number);
            }
            window.sent(line(1_000), now);
            assert_eq!(window.send_at(now), send_at);
        }
    }

    #[test]
    fn the_window_bounds_the_lines_in_flight() {
        let now = Clock::by_hand(Timestamp(0)).moment();
        let mut window = Window::new(now, true);
        for number in 0..LINES_MAX as u64 {
            assert_eq!(window.send_at(now), SendAt::Now);
            window.sent(line(number), now);
        }
        assert_eq!(window.send_at(now), SendAt::AfterAnswer);
        assert!(window.answered(0));
        assert!(!window.answered(0));
        assert_eq!(window.send_at(now), SendAt::Now);
    }

    #[test]
    fn lines_are_paced_after_a_refusal() {
        let now = Clock::by_hand(Timestamp(0)).moment();
        let mut window = Window::new(now, true);
        window.sent(line(1), now);
        window.sent(line(2), now);
        window.rate_limited(1, now);
        window.rate_limited(2, now);
        assert_eq!(window.send_at(now), SendAt::At(now + FIRST_PACE));
        let later = now + FIRST_PACE;
        assert_eq!(window.send_at(later), SendAt::Now);
        assert_eq!(window.take_refused(), Some(line(1)));
        window.sent(line(1), later);
        assert_eq!(window.send_at(later), SendAt::AfterAnswer);
    }
}
