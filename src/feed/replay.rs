//! Publishes a recording at the pace of its time stamps.

use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::recording::{BadRecord, Recording, Tick};
use super::sink::FeedSink;
use crate::config::Replay;
use crate::metrics::PublishSource;

/// The number of ticks that are read ahead.
const AHEAD: usize = 256;
/// The largest number of bad records that are logged one by one. Further ones are counted, so that a bad file does not
/// fill the log.
const TOLD_MAX: u64 = 100;
/// A tick that is later than this restarts the pace at the current time.
const STALL: Duration = Duration::from_secs(1);
/// The longest wait between two ticks. A timer overflows well above it.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Publishes to the end of the file, or for ever with `repeat`.
pub(super) async fn run(first: Recording, sink: impl FeedSink) {
    let settings = first.settings().clone();
    let file = settings.file.clone();
    let mut pace = Pace::new(settings.speed, Instant::now());
    let (ahead, mut ticks) = mpsc::channel(AHEAD);
    // A thread reads the file, because a slow disk must not block the runtime. The thread ends when `ticks` is dropped.
    let spawned = thread::Builder::new().name("replay".into()).spawn(move || Reading::new(settings).read(first, &ahead));
    if let Err(error) = spawned {
        tracing::warn!(file = %file.display(), %error, "no thread for a replay");
        return;
    }
    let (mut published, mut refused, mut is_ready) = (0_u64, 0_u64, false);
    while let Some(tick) = ticks.recv().await {
        is_ready = is_ready || sink.ready(&tick.topic).await;
        if let Some(due) = pace.due(tick.nanos, Instant::now()) {
            sleep_until(due).await;
        }
        match sink.publish(&tick.topic, &tick.payload, PublishSource::Feed).await {
            Ok(()) => published += 1,
            Err(error) => {
                if refused == 0 {
                    tracing::warn!(file = %file.display(), topic = %tick.topic, %error, "a recorded message was not published");
                }
                refused += 1;
            }
        }
    }
    tracing::info!(file = %file.display(), published, refused, "a replay has ended");
}

/// Reads the file's ticks, again and again with `repeat`.
struct Reading {
    settings: Replay,
    /// Bad records of the first reading.
    skipped: u64,
    /// Whether the file is read for the first time. Bad records are logged in the first reading only.
    first_reading: bool,
}

impl Reading {
    fn new(settings: Replay) -> Self {
        Self { settings, skipped: 0, first_reading: true }
    }

    fn read(&mut self, mut recording: Recording, ahead: &mpsc::Sender<Tick>) {
        loop {
            let mut any = false;
            loop {
                match recording.next() {
                    Ok(Some(Ok(tick))) => {
                        any = true;
                        if ahead.blocking_send(tick).is_err() {
                            return;
                        }
                    }
                    Ok(Some(Err(bad))) => self.skip(&bad),
                    Ok(None) => break,
                    Err(error) => return tracing::warn!(file = %self.shown(), %error, "a recording can't be read further"),
                }
            }
            if self.skipped > 0 && self.first_reading {
                tracing::warn!(file = %self.shown(), skipped = self.skipped, "bad records of a recording were skipped");
            }
            if !self.settings.repeat {
                return;
            }
            if !any {
                return tracing::warn!(file = %self.shown(), "a recording without a good record isn't repeated");
            }
            self.first_reading = false;
            recording = match Recording::open(&self.settings) {
                Ok(recording) => recording,
                Err(problem) => return tracing::warn!(file = %self.shown(), %problem, "a recording can't be repeated"),
            };
        }
    }

    fn skip(&mut self, bad: &BadRecord) {
        if !self.first_reading {
            return;
        }
        self.skipped += 1;
        if self.skipped <= TOLD_MAX {
            tracing::warn!(file = %self.shown(), line = bad.line, reason = %bad.reason, "a bad record was skipped");
        }
    }

    fn shown(&self) -> impl std::fmt::Display {
        self.settings.file.display()
    }
}

/// The schedule of the ticks: the sum of the distances between their time stamps, divided by the speed. A time stamp
/// before the last one, as at the start of a repetition, is due at once.
struct Pace {
    speed: f64,
    due: Instant,
    last: Option<i128>,
}

impl Pace {
    fn new(speed: f64, start: Instant) -> Self {
        Self { speed, due: start, last: None }
    }

    /// When the tick with the time stamp `nanos` is due; `None` for at once. After a stall the distances count from
    /// `now`, so that delayed ticks are not published in a burst.
    fn due(&mut self, nanos: i128, now: Instant) -> Option<Instant> {
        let step = self.last.replace(nanos).map_or(0, |last| (nanos - last).max(0));
        if self.speed <= 0.0 || step == 0 {
            return None;
        }
        // Timers are some milliseconds late, which is not a stall.
        if now.saturating_duration_since(self.due) > STALL {
            self.due = now;
        }
        let wait = Duration::try_from_secs_f64(step as f64 / 1e9 / self.speed).unwrap_or(Duration::MAX);
        self.due = self.due.checked_add(wait.min(WAIT_MAX)).unwrap_or(self.due);
        Some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    fn dues(speed: f64, stamps: &[i128]) -> Vec<Option<u128>> {
        let start = Instant::now();
        let mut pace = Pace::new(speed, start);
        stamps.iter().map(|&nanos| pace.due(nanos, start).map(|due| due.duration_since(start).as_millis())).collect()
    }

    /// PROTOCOL 8: `speed` 2 is twice as fast, and 0 as fast as possible. A step back in time is due at once.
    #[test]
    fn ticks_keep_their_intervals() {
        let stamps = [10 * SECOND, 11 * SECOND, 11 * SECOND, 13 * SECOND, 10 * SECOND, 11 * SECOND];
        assert_eq!(dues(1.0, &stamps), [None, Some(1_000), None, Some(3_000), None, Some(4_000)]);
        assert_eq!(dues(2.0, &stamps), [None, Some(500), None, Some(1_500), None, Some(2_000)]);
        assert_eq!(dues(0.0, &stamps), [None; 6]);
    }

    #[test]
    fn a_replay_does_not_catch_up_after_a_stall() {
        let start = Instant::now();
        let mut pace = Pace::new(1.0, start);
        pace.due(0, start);
        let late = start + Duration::from_secs(100);
        assert_eq!(pace.due(SECOND, late), Some(late + Duration::from_secs(1)));
    }

    #[test]
    fn extreme_time_stamps_do_not_overflow() {
        let start = Instant::now();
        let mut pace = Pace::new(1e-300, start);
        pace.due(i128::from(i64::MIN), start);
        assert!(pace.due(i128::from(u64::MAX) * 1_000, start).is_some());
    }
}
