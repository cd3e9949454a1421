//! Formats figures with units, and digits in groups of three.

/// Microseconds in a suitable unit.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        tiny if tiny > 0.0 && tiny < 10.0 => format!("{tiny:.2} µs"),
        short if short < 1_000.0 => format!("{short:.0} µs"),
        middle if middle < 1_000_000.0 => format!("{:.2} ms", middle / 1e3),
        long => format!("{:.2} s", long / 1e6),
    }
}

/// A count, rounded.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = if value < -0.5 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn bytes(value: f64) -> String {
    if value < 10_240.0 { format!("{} B", count(value)) } else { format!("{:.1} KiB", value / 1_024.0) }
}

/// A rate a second.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", count(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_groups() {
        assert_eq!(rate(99_981.4), "99,981/s");
        assert_eq!((count(999.0).as_str(), count(-1_234.0).as_str()), ("999", "-1,234"));
        assert_eq!((time(5.6).as_str(), time(999.0).as_str(), time(1_500.0).as_str()), ("5.60 µs", "999 µs", "1.50 ms"));
        assert_eq!((bytes(940.0).as_str(), bytes(20_480.0).as_str()), ("940 B", "20.0 KiB"));
    }
}
