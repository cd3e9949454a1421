//! Decimal numbers at the ends of a piece of text.

/// The number at the start of `bytes`, and the bytes after it; `None` without a digit.
pub fn leading(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (length > 0).then(|| (value(&bytes[..length]), &bytes[length..]))
}

/// The number at the end of `bytes`, and the bytes before it; `None` without a digit.
pub fn trailing(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let length = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = bytes.split_at(bytes.len() - length);
    (length > 0).then(|| (before, value(digits)))
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}
