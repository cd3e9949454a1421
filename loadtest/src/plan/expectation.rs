//! The bounds of `--expect`, such as `p99=20ms` and `lost=0`.

use std::str::FromStr;

use anyhow::anyhow;
use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::named::Named;

/// A figure that can have a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    P50,
    P90,
    P99,
    #[value(name = "p99.9")]
    P999,
    Max,
    Lateness,
    Lost,
    Duplicated,
    Reordered,
    Closed,
    Refused,
    Cpu,
    Bytes,
    Delivered,
}

/// A figure and its bound, which is an upper one, except for [`Figure::Delivered`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    pub figure: Figure,
    /// The bound, in microseconds, as a count, or in messages a second.
    pub bound: f64,
}

impl Figure {
    /// Whether its unit is microseconds.
    pub fn is_time(self) -> bool {
        matches!(self, Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Max | Self::Lateness | Self::Cpu)
    }
}

impl FromStr for Expectation {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let bad = |why| anyhow!("{text:?} is no FIGURE=BOUND: {why}; write p99=20ms, lost=0 or delivered=50000");
        let (name, bound) = text.split_once('=').ok_or_else(|| bad("it has no ="))?;
        let figure = Figure::from_str(name, false).map_err(|_| bad("there is no such figure"))?;
        let bound = if figure.is_time() { microseconds(bound) } else { bound.parse().ok() };
        let bound = bound.filter(|bound| bound.is_finite() && *bound >= 0.0);
        Ok(Self { figure, bound: bound.ok_or_else(|| bad("a time needs a unit (us, ms, s), a count is a number"))? })
    }
}

/// As on the command line, with times in microseconds.
impl Serialize for Expectation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unit = if self.figure.is_time() { "us" } else { "" };
        serializer.collect_str(&format_args!("{}={}{unit}", self.figure.name(), self.bound))
    }
}

fn microseconds(text: &str) -> Option<f64> {
    let (number, scale) =
        [("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)].iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    Some(number.trim().parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_units() {
        let expectation = |text: &str| text.parse::<Expectation>().unwrap();
        assert_eq!(expectation("p99=20ms"), Expectation { figure: Figure::P99, bound: 20_000.0 });
        assert_eq!(expectation("cpu=1.5us").bound, 1.5);
        assert_eq!(expectation("p99.9=1s").bound, 1e6);
        assert_eq!(expectation("lost=0"), Expectation { figure: Figure::Lost, bound: 0.0 });
        assert_eq!(serde_json::to_value(expectation("p50=2ms")).unwrap(), "p50=2000us");
        for wrong in ["p99", "p99=20", "p98=1ms", "lost=few", "lost=-1", "max=infs"] {
            assert!(wrong.parse::<Expectation>().is_err(), "{wrong}");
        }
    }
}
