//! Decides which texts a problem may quote. Problems go to terminals and logs, and a secret may have been pasted into
//! any key.

/// Words that occur beside secrets, in the name of a key or in a pasted line.
const WORDS: [&str; 6] = ["secret", "password", "passwd", "credential", "private", "begin "];
/// A text of several lines counts as a secret from this size on, in bytes.
const PASTED_MIN: usize = 32;
/// The longest mixture of upper case, lower case and digits that is not a secret, in characters.
const MIXED_MAX: usize = 15;
/// The longest mixture of letters and digits that is not a secret, in characters. A hexadecimal hash has at least 32.
const LETTERS_AND_DIGITS_MAX: usize = 31;

/// Whether `text` has the form of a secret: PEM, a token, several lines, or a long mixture of letters and digits.
pub fn looks_secret(text: &str) -> bool {
    let is_pasted = text.len() > PASTED_MIN && text.contains('\n');
    is_pasted || text.starts_with("eyJ") || has_secret_word(text) || text.split(is_separator).any(mixes_character_classes)
}

/// Whether an unknown key of this name may hold a secret.
pub fn may_hold_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    has_secret_word(&name) || ["key", "keys", "token", "pem", "jwk", "jwks"].iter().any(|word| name.ends_with(word))
}

/// Whether `text` looks like a path: it has a slash, or a short extension.
pub fn looks_like_path(text: &str) -> bool {
    let extension = text.rsplit_once('.').map_or("", |(_, extension)| extension);
    text.contains('/') || ((1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn has_secret_word(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Whether `character` separates words. The slash does, although Base64 has it, because a path would otherwise be one
/// long word.
fn is_separator(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || "+-_=".contains(character))
}

fn mixes_character_classes(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let (upper, lower, digit) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase), has(u8::is_ascii_digit));
    let mixed = word.len() > MIXED_MAX && upper && lower && digit;
    mixed || (word.len() > LETTERS_AND_DIGITS_MAX && (upper || lower) && digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognized() {
        for text in [
            "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "0123456789abcdef0123456789abcdef",
            "kX9vQ2mR7tB4nL8w",
            "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "x = \"kX9vQ2mR7tB4nL8w\"",
            "[{secret=\"5550123\"",
        ] {
            assert!(looks_secret(text), "{text:?}");
        }
        for text in
            ["", "many", "10s", "127.0.0.1:8765", "/etc/belfry/certificates/2026/fullchain.pem", "quotes.>", "https://example.com:8443"]
        {
            assert!(!looks_secret(text), "{text:?}");
        }
    }

    #[test]
    fn a_password_is_not_recognized_as_a_path() {
        assert!(["key.pem", "/run/secrets/key", "./key", "keys.json"].into_iter().all(looks_like_path));
        assert!(!["hunter2", "hunter2.", "correct horse", "a.b c"].into_iter().any(looks_like_path));
    }
}
