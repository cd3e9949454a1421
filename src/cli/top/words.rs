//! Formats figures and names for both outputs of `belfry top`.

/// `count` bytes in a suitable unit.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A rate without decimals, in groups of three digits.
pub(super) fn rate(per_second: f64) -> String {
    let digits = format!("{per_second:.0}");
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Replaces control characters in `text`, because a user's name may have terminal sequences.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }

    #[test]
    fn figures_are_grouped_and_scaled() {
        assert_eq!((rate(999.4).as_str(), rate(1_234_567.0).as_str()), ("999", "1,234,567"));
        assert_eq!((bytes(1_023).as_str(), bytes(1_536).as_str()), ("1023 B", "1.5 KiB"));
    }
}
