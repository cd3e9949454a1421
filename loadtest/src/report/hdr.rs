//! Writes the histogram of latencies as a percentile distribution, the format of HdrHistogram's tools.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// The number of steps until the distance to 100 % is halved.
const STEPS: u32 = 5;

/// The distribution of `nanoseconds`, in milliseconds.
pub fn percentiles(nanoseconds: &Histogram<u64>) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let milliseconds = |value: f64| value / 1e6;
    for step in nanoseconds.iter_quantiles(STEPS) {
        let quantile = step.quantile_iterated_to();
        let value = milliseconds(step.value_iterated_to() as f64);
        let count = nanoseconds.count_between(0, step.value_iterated_to());
        let _ = write!(out, "{value:12.6} {quantile:14.12} {count:10}");
        let _ = if quantile < 1.0 { writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(out) };
    }
    let (mean, deviation) = (milliseconds(nanoseconds.mean()), milliseconds(nanoseconds.stdev()));
    let _ = writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]");
    let _ = writeln!(out, "#[Max     = {:12.6}, Total count    = {:12}]", milliseconds(nanoseconds.max() as f64), nanoseconds.len());
    let _ = writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", nanoseconds.buckets(), nanoseconds.distinct_values());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_ends_with_all_values() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1_000_u64).for_each(|number| histogram.record(number * 1_000_000).unwrap());
        let text = percentiles(&histogram);
        let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let mut fields = last.split_whitespace();
        let value: f64 = fields.next().unwrap().parse().unwrap();
        assert!((value - 1_000.0).abs() < 1.0, "{text}");
        assert_eq!((fields.next(), fields.next(), fields.next()), (Some("1.000000000000"), Some("1000"), None), "{text}");
    }
}
