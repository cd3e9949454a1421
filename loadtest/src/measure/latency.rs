//! Latency from the scheduled time of a message to its arrival, for the whole run and over time.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The length of a slice of the time line, in nanoseconds.
pub const SLICE: u64 = 100_000_000;
/// The longest recorded latency, in nanoseconds. Longer ones count as this.
const DELAY_MAX: u64 = 600_000_000_000;

/// A summary of latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The unit of all fields.
    pub unit: Unit,
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// The unit of latencies, as reports name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Microseconds.
    #[default]
    #[serde(rename = "us")]
    Microseconds,
}

/// One slice of the time line, with its latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Slice {
    /// Its end, in seconds since the measurement began; negative during the warm-up.
    pub at: f64,
    /// Its length in seconds. A busy load test ends slices late.
    pub seconds: f64,
    pub deliveries: u64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Slice {
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / self.seconds.max(1e-9)
    }
}

/// The latencies of a run. A message counts in the part, warm-up or measurement, in which it was due.
pub struct Latency {
    /// The start of the measurement, in nanoseconds of the run's clock. Messages due before are warm-up.
    measured_from: u64,
    measured: Histogram<u64>,
    warm_up: Histogram<u64>,
    slice: Histogram<u64>,
    slice_began: u64,
    slice_ends: u64,
    /// The slices with their ends, in nanoseconds of the run's clock.
    slices: Vec<(u64, Slice)>,
}

impl Latency {
    /// Discards earlier measurements. Messages due at `moment` or later are measured.
    pub fn measure_from(&mut self, moment: u64) {
        self.measured.reset();
        self.measured_from = moment;
    }

    /// Records a message that was due at `scheduled` and arrived at `now`, in nanoseconds of the run's clock.
    pub fn record(&mut self, scheduled: u64, now: u64) {
        let delay = now.saturating_sub(scheduled);
        self.slice.saturating_record(delay);
        if scheduled >= self.measured_from {
            self.measured.saturating_record(delay);
        } else {
            self.warm_up.saturating_record(delay);
        }
    }

    /// Ends and returns the current slice, if its time is over.
    pub fn end_slice(&mut self, now: u64) -> Option<Slice> {
        if now < self.slice_ends {
            return None;
        }
        let begun = self.slice_ends > 0;
        let seconds = (now - self.slice_began) as f64 / 1e9;
        self.slice_began = now;
        self.slice_ends = now - now % SLICE + SLICE;
        if !begun {
            return None;
        }
        let quantiles = Quantiles::of(&self.slice);
        let at = self.seconds_measured(now).unwrap_or(0.0);
        let slice = Slice { at, seconds, deliveries: quantiles.count, p50: quantiles.p50, p99: quantiles.p99, max: quantiles.max };
        self.slice.reset();
        self.slices.push((now, slice));
        Some(slice)
    }

    /// The end of the current slice, in nanoseconds of the run's clock.
    pub fn slice_end(&self) -> u64 {
        self.slice_ends
    }

    pub fn measured(&self) -> Quantiles {
        Quantiles::of(&self.measured)
    }

    pub fn warm_up(&self) -> Quantiles {
        Quantiles::of(&self.warm_up)
    }

    /// The time line, from the first message that arrived.
    pub fn slices(&self) -> Vec<Slice> {
        let from_first = self.slices.iter().skip_while(|(_, slice)| slice.deliveries == 0);
        from_first.map(|(ended, slice)| Slice { at: self.seconds_measured(*ended).unwrap_or(slice.at), ..*slice }).collect()
    }

    fn seconds_measured(&self, moment: u64) -> Option<f64> {
        (self.measured_from != u64::MAX).then_some((moment as f64 - self.measured_from as f64) / 1e9)
    }

    /// The histogram of the measurement, in nanoseconds.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.measured
    }

    /// The curve of percentiles: `(percentile, microseconds)`, denser towards 100.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.measured.is_empty() {
            return Vec::new();
        }
        self.measured.iter_quantiles(4).map(|step| (step.quantile_iterated_to() * 100.0, step.value_iterated_to() as f64 / 1e3)).collect()
    }
}

impl Default for Latency {
    /// No latencies. All messages are warm-up until [`Self::measure_from`].
    fn default() -> Self {
        Self {
            measured_from: u64::MAX,
            measured: histogram(),
            warm_up: histogram(),
            slice: histogram(),
            slice_began: 0,
            slice_ends: 0,
            slices: Vec::new(),
        }
    }
}

impl Quantiles {
    /// The summary of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            unit: Unit::Microseconds,
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// An empty histogram of nanoseconds, exact to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(DELAY_MAX, 3).expect("three digits up to ten minutes are a valid histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_and_measurement_are_apart() {
        let mut latency = Latency::default();
        latency.measure_from(1_000_000);
        latency.record(999_999, 1_500_000);
        latency.record(1_000_000, 1_000_000 + 250_000);
        assert_eq!((latency.warm_up().count, latency.measured().count), (1, 1));
        assert!((latency.measured().p50 - 250.0).abs() < 1.0, "{:?}", latency.measured());
    }

    #[test]
    fn the_time_line_counts_from_the_measurement() {
        let mut latency = Latency::default();
        latency.end_slice(1);
        latency.end_slice(SLICE);
        latency.record(0, 1_000);
        latency.end_slice(2 * SLICE);
        latency.measure_from(2 * SLICE);
        latency.end_slice(3 * SLICE);
        let ends: Vec<f64> = latency.slices().iter().map(|slice| slice.at).collect();
        assert_eq!(ends, [0.0, 0.1], "what came before the first message is left out");
    }

    #[test]
    fn a_slice_has_only_its_own_deliveries() {
        let mut latency = Latency::default();
        assert_eq!(latency.end_slice(5), None);
        latency.record(0, 1_000);
        assert_eq!(latency.end_slice(SLICE - 1), None);
        assert_eq!(latency.end_slice(SLICE).unwrap().deliveries, 1);
        assert_eq!(latency.end_slice(2 * SLICE).unwrap().deliveries, 0);
    }
}
