//! The tokens of names and patterns: their valid places, and what they cover.

use super::error::TopicNameError;

/// A name's longest form, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The most tokens that a name may have.
pub const TOKENS_MAX: usize = 16;
/// Shows a name as its text, which `Debug` quotes.
macro_rules! shown_as_text {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}
pub(super) use shown_as_text;

#[cfg(test)]
thread_local! {
    /// How often this thread has compared a pattern with a topic.
    pub static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether all that the tokens of `narrow` take, those of `wide` take too.
pub(super) fn covers<'a>(mut wide: impl Iterator<Item = &'a str>, mut narrow: impl Iterator<Item = &'a str>) -> bool {
    let mut first = true;
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(">" | "*"), Some(token)) if first && token.starts_with('$') => return false,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if !token.ends_with('>') => {}
            (Some(wide), Some(narrow)) if wide == narrow => {}
            // A namespace that is not the same: the narrower token is in it or begins with it, and is longer either
            // way.
            (Some(wide), Some(narrow)) if first => match namespace_prefix(wide) {
                Some(prefix) if narrow.len() > prefix.len() && narrow.starts_with(prefix) => {
                    if wide.ends_with('>') {
                        return true;
                    }
                    if narrow.ends_with('>') {
                        return false;
                    }
                }
                _ => return false,
            },
            _ => return false,
        }
        first = false;
    }
}

/// Whether the tokens of `one` and of `other`, which is no namespace, take some topic both.
pub(super) fn overlap<'a>(mut one: impl Iterator<Item = &'a str>, mut other: impl Iterator<Item = &'a str>) -> bool {
    let mut first = true;
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(">" | "*"), Some(token)) | (Some(token), Some(">" | "*")) if first && token.starts_with('$') => return false,
            (Some(">"), _) | (_, Some(">")) => return true,
            (Some(one), Some("*")) if first && one.ends_with('>') && namespace_prefix(one).is_some() => return true,
            (Some("*"), _) | (_, Some("*")) => {}
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) if first => match namespace_prefix(one) {
                Some(prefix) if other.len() > prefix.len() && other.starts_with(prefix) => {
                    if one.ends_with('>') {
                        return true;
                    }
                }
                _ => return false,
            },
            _ => return false,
        }
        first = false;
    }
}

/// The prefix of a namespace's token, with its `:`.
pub(super) fn namespace_prefix(token: &str) -> Option<&str> {
    token.strip_suffix(['*', '>']).filter(|prefix| prefix.ends_with(':'))
}

/// What a text with wildcards or without is.
pub(super) enum Shape {
    /// One topic's name.
    Name,
    /// More than one topic may be covered.
    Pattern,
}

/// Checks `text` as a name or a pattern, or, where `namespaces` may be, as a scope.
pub(super) fn shape_of(text: &str, namespaces: bool) -> Result<Shape, TopicNameError> {
    if text.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(TopicNameError::TooLong { name: text.chars().take(32).collect(), bytes: text.len() });
    }
    let tokens = text.split('.').count();
    if tokens > TOKENS_MAX {
        return Err(TopicNameError::TooManyTokens { name: text.to_owned(), tokens });
    }
    let mut shape = Shape::Name;
    for (index, token) in text.split('.').enumerate() {
        let prefix = namespace_prefix(token).filter(|_| namespaces && index == 0);
        let is_last = index + 1 == tokens;
        let literal = match token {
            "" => return Err(TopicNameError::EmptyToken { name: text.to_owned(), index: index + 1 }),
            "*" => "",
            ">" if is_last => "",
            ">" => return Err(TopicNameError::TailNotLast { name: text.to_owned() }),
            _ if prefix.is_some() && token.ends_with('>') && !is_last => {
                return Err(TopicNameError::TailNotLast { name: text.to_owned() });
            }
            _ => prefix.unwrap_or(token),
        };
        if literal.len() < token.len() {
            shape = Shape::Pattern;
        }
        if let Some(character) = literal.chars().find(|&character| !may_stand_in_token(character)) {
            let name = text.to_owned();
            return Err(match character {
                '*' | '>' if namespaces => TopicNameError::WithinToken { name },
                _ => TopicNameError::Character { name, character },
            });
        }
    }
    Ok(shape)
}

fn may_stand_in_token(character: char) -> bool {
    !character.is_whitespace() && !character.is_control() && !matches!(character, '*' | '>' | '/' | '"' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_patterns_are_detected() {
        let overlap = |one: &str, other: &str| overlap(one.split('.'), other.split('.'));
        for (one, other) in [
            ("a.>", "a.b.c"),
            ("a.*", "a.b"),
            ("a.*.c", "a.b.*"),
            ("a.>", "a.*"),
            (">", "a.b"),
            ("c:*", "c:d"),
            ("c:*.e", "c:d.*"),
            ("c:>", "c:d.e"),
            ("c:>", "*.e"),
        ] {
            assert!(overlap(one, other), "{one} and {other}");
        }
        for (one, other) in
            [("a.>", "b.>"), ("a.*", "a.b.c"), ("a.>", "a"), ("a.b", "a.c"), ("c:*", "c:d.e"), ("c:*", "c:"), ("c:>", "d:e"), (">", "$a.b")]
        {
            assert!(!overlap(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn the_prefix_of_a_namespace_is_known() {
        assert_eq!(namespace_prefix("chat:*"), Some("chat:"));
        assert_eq!(namespace_prefix("chat:>"), Some("chat:"));
        for token in ["*", ">", "chat*", "chat:", "chat:a"] {
            assert_eq!(namespace_prefix(token), None, "{token}");
        }
    }
}
