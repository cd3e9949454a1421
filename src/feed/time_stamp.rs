//! Time stamps as recordings have them, to nanoseconds since 1970.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

/// Why a text is no time stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the time {0:?} is neither ISO 8601 nor Unix seconds or milliseconds")]
pub(super) struct TimeStampError(String);

/// ISO 8601 (`T` or a blank before the time; no zone: UTC), or a number: the time since 1970 in the unit that its size tells.
pub(super) fn parse(text: &str) -> Result<i128, TimeStampError> {
    let text = text.trim();
    let error = || TimeStampError(text.chars().take(64).collect());
    unix(text).or_else(|| iso(text)).ok_or_else(error)
}

/// Seconds up to the year 5138, milliseconds from 1973 on; then microseconds and nanoseconds in the same way.
fn unix(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !plain(whole) || !plain(fraction) {
        return exponent(text);
    }
    let whole: i128 = whole.parse().ok()?;
    let unit = unit_nanos(whole);
    // Digits beyond a nanosecond are cut.
    let cut = &fraction[..fraction.len().min(9)];
    let fraction: i128 = format!("{cut:0<9}").parse().ok()?;
    Some(sign * (whole * unit + fraction * unit / 1_000_000_000))
}

/// A number with an exponent, as some writers of JSON have them.
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

/// `YYYY-MM-DD`, then perhaps `T` or a blank, `HH:MM[:SS[.fraction]]`, and a zone: `Z`, `+HH`, `+HHMM`, `+HH:MM`.
fn iso(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = iso_date(date)?;
    if rest.is_empty() {
        return Some(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc().unix_timestamp_nanos());
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    Some(PrimitiveDateTime::new(date, iso_time(clock)?).assume_offset(iso_zone(zone.trim_start())?).unix_timestamp_nanos())
}

fn iso_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let month = Month::try_from(month as u8).ok()?;
    parts.next().is_none().then(|| Date::from_calendar_date(year as i32, month, day as u8).ok()).flatten()
}

fn iso_time(text: &str) -> Option<Time> {
    let (text, fraction) = text.split_once(['.', ',']).map_or((text, None), |(text, fraction)| (text, Some(fraction)));
    let mut parts = text.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2))?;
    let nanos = match fraction {
        None => 0,
        Some(fraction) if !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?
        }
        Some(_) => return None,
    };
    parts.next().is_none().then(|| Time::from_hms_nano(hour as u8, minute as u8, second as u8, nanos).ok()).flatten()
}

fn iso_zone(text: &str) -> Option<UtcOffset> {
    let (sign, rest) = match text.as_bytes().first() {
        None => return Some(UtcOffset::UTC),
        Some(b'Z' | b'z') => return (text.len() == 1).then_some(UtcOffset::UTC),
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        Some(_) => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        _ => rest.split_once(':').or_else(|| rest.split_at_checked(2))?,
    };
    UtcOffset::from_hms(sign * digits(hours, 2)? as i8, sign * digits(minutes, 2)? as i8, 0).ok()
}

/// Exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// PROTOCOL 8: ISO 8601, or Unix seconds or milliseconds.
    #[test]
    fn the_same_moment_in_many_spellings() {
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
    fn what_is_no_time() {
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
