//! Parses durations: a number with a unit, such as `"1.5s"`.

use std::time::Duration;

/// The units and their nanoseconds.
const UNITS: [(&str, u128); 6] =
    [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// Why a text is not a duration. The message has what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum DurationError {
    #[error("has no unit; write \"{number}s\" for seconds (units: us, ms, s, m, h, d)")]
    NoUnit { number: String },
    #[error("is not a duration; write a number with one of the units us, ms, s, m, h, d, as in \"10s\"")]
    Malformed,
}

/// Reads a duration: decimal digits, an optional fraction, and one of `us`, `ms`, `s`, `m`, `h`, `d`. Digits below a
/// nanosecond are cut.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let number_ends = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Fifteen digits of days fit into 128 bits of nanoseconds.
    if [whole, fraction].iter().any(|digits| digits.is_empty() || digits.len() > 15 || digits.contains('.')) {
        return Err(DurationError::Malformed);
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit { number: number.to_owned() });
    }
    let (_, unit_nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Malformed)?;
    let digits = |digits: &str| digits.parse::<u128>().map_err(|_| DurationError::Malformed);
    let nanos = digits(whole)? * unit_nanos + digits(fraction)? * unit_nanos / 10u128.pow(fraction.len() as u32);
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| DurationError::Malformed)?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 8: durations are strings with us, ms, s, m, h, d.
    #[test]
    fn valid_durations_are_accepted() {
        for (text, micros) in [
            ("0s", 0),
            ("100us", 100),
            ("50ms", 50_000),
            ("10s", 10_000_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("1d", 86_400_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn malformed_durations_are_refused() {
        for text in ["", "s", "-1s", "1 s", "1S", "1.s", ".5s", "1.2.3s", "1sec", "1e3s", "99999999999999999s", "999999999999999d", "１s"]
        {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text}");
        }
        assert!(parse("10").unwrap_err().to_string().contains("write \"10s\""));
    }
}
