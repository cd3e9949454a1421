//! Time stamps of recordings, in nanoseconds since 1970.

use time::format_description::well_known::Iso8601;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

/// The text is not a time stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the time {0:?} is neither ISO 8601 nor Unix seconds or milliseconds")]
pub(super) struct TimeStampError(String);

/// Reads ISO 8601, or a number: the time since 1970, in a unit that follows from its size.
pub(super) fn parse(text: &str) -> Result<i128, TimeStampError> {
    let text = text.trim();
    let error = || TimeStampError(text.chars().take(64).collect());
    unix(text).or_else(|| iso(text)).ok_or_else(error)
}

/// Below 10^11 (the year 5138) a number counts seconds, from there to 10^14 milliseconds, then microseconds, then
/// nanoseconds.
fn unix(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !plain(whole) || !plain(fraction) {
        return exponent(text);
    }
    let whole: i128 = whole.parse().ok()?;
    let unit = unit_nanos(whole);
    // Digits below a nanosecond are cut.
    let cut = &fraction[..fraction.len().min(9)];
    let fraction: i128 = format!("{cut:0<9}").parse().ok()?;
    Some(sign * (whole * unit + fraction * unit / 1_000_000_000))
}

/// A number with an exponent, as some programs write it in JSON.
fn exponent(text: &str) -> Option<i128> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.abs() < 1e19 && text.contains(['e', 'E']))?;
    let unit = unit_nanos(number.abs() as i128);
    Some(number.trunc() as i128 * unit + (number.fract() * unit as f64) as i128)
}

fn unit_nanos(count: i128) -> i128 {
    match count {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

/// A date, or a date and a time. Without a zone it is UTC. Many programs write a blank in place of the `T`, and one
/// before the zone.
fn iso(text: &str) -> Option<i128> {
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    if time.is_empty() {
        let date = Date::parse(date, &Iso8601::PARSING).ok()?;
        return Some(date.midnight().assume_utc().unix_timestamp_nanos());
    }
    let text = format!("{date}T{}", time.replacen(' ', "", 1).to_uppercase());
    let in_zone = OffsetDateTime::parse(&text, &Iso8601::PARSING);
    let moment = in_zone.or_else(|_| PrimitiveDateTime::parse(&text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc));
    Some(moment.ok()?.unix_timestamp_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// PROTOCOL 8: ISO 8601, Unix seconds and milliseconds are equal.
    #[test]
    fn equal_times_in_all_notations_are_equal() {
        for text in [
            "2013-01-01 22:00:00.295000+00:00",
            "2013-01-01T22:00:00.295Z",
            "2013-01-01 22:00:00.295",
            "2013-01-01T22:00:00,295",
            "2013-01-02T00:30:00.295+02:30",
            "2013-01-01T17:00:00.295-0500",
            "2013-01-01 17:00:00.295000000 -05",
            "1357077600.295",
            "1357077600295",
            "1357077600295000",
            "1357077600295000000",
            "1357077600295.0",
            " 1.357077600295e12 ",
        ] {
            assert_eq!(parse(text).unwrap(), 1_357_077_600_295_000_000, "{text}");
        }
        assert_eq!(parse("2013-01-01").unwrap(), 1_356_998_400_000_000_000);
        assert_eq!(parse("2013-01-01T22:00").unwrap(), 1_357_077_600_000_000_000);
        assert_eq!(parse("-1.5").unwrap(), -1_500_000_000);
    }

    #[test]
    fn malformed_times_are_refused() {
        for text in
            ["", "now", "2013-13-01", "2013-02-30", "2013-01-01 24:00:00", "2013-01-01 22", "2013-01-01T22:00:00.", "1.2.3", "1357077600x"]
                .into_iter()
                .chain([
                    "2013-01-01T22:00:00+1",
                    "2013-01-01T22:00:00 PST",
                    "NaN",
                    "inf",
                    "1e400",
                    "2013-01-01x22:00",
                    "99999999999999999999",
                ])
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("soon").unwrap_err().to_string(), "the time \"soon\" is neither ISO 8601 nor Unix seconds or milliseconds");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", like in "[0-9T:.Z+ é-]{0,30}") {
            let _ = (parse(&text), parse(&like));
        }
    }
}
