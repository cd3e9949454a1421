//! Centrifugo's patterns of names: `*` matches any text, `?` one character.

/// Whether `name` matches `pattern`; an empty pattern matches every name.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut from) = (0, 0);
    // The place of the last `*`, and the end of the text that it matches so far.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&character) if character == '?' || character == name[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((place, reach)) => {
                    star = Some((place, reach + 1));
                    (at, from) = (place + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&character| character == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_match_names() {
        for (pattern, name, expected) in [
            ("", "a", true),
            ("*", "a", true),
            ("chat*", "chat:a", true),
            ("chat*", "a:chat", false),
            ("*:a", "chat:a", true),
            ("c*t?a", "chat:a", true),
            ("c*t?a", "chat:b", false),
            ("?", "大", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*a*b", "xaxxab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
