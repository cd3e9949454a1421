//! Which texts a problem may repeat. Problems go to terminals and logs, and a secret may have been pasted into any key.

/// Words that a secret stands beside, as part of a key's name or of a whole line that was pasted.
const WORDS: [&str; 6] = ["secret", "password", "passwd", "credential", "private", "begin "];
/// A text of several lines and more bytes than this was pasted from somewhere.
const PASTED_MIN: usize = 32;
/// How long a mixture of upper and lower case with digits may be, in characters.
const MIXED_MAX: usize = 15;
/// How long a mixture of letters with digits may be, in characters: a hash in hexadecimal has at least 32.
const LETTERS_AND_DIGITS_MAX: usize = 31;

/// Whether `text` has the form of a secret: PEM, a token, several lines, or a long mixture of letters and digits.
pub(super) fn looks_secret(text: &str) -> bool {
    let is_pasted = text.len() > PASTED_MIN && text.contains('\n');
    is_pasted || text.starts_with("eyJ") || has_secret_word(text) || text.split(is_separator).any(is_mixture)
}

/// Whether a key of this name, which the gateway does not know, may hold a secret.
pub(super) fn may_hold_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    has_secret_word(&name) || ["key", "keys", "token", "pem", "jwk", "jwks"].iter().any(|word| name.ends_with(word))
}

/// Whether `text` has the form of a file's path: with a slash, or with a short extension.
pub(super) fn looks_like_path(text: &str) -> bool {
    let extension = text.rsplit_once('.').map_or("", |(_, extension)| extension);
    text.contains('/') || ((1..=5).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn has_secret_word(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// What no alphabet of secrets holds. Base64's slash is here, for a path would be one long word without it.
fn is_separator(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || "+-_=".contains(character))
}

fn is_mixture(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let (upper, lower, digit) = (has(u8::is_ascii_uppercase), has(u8::is_ascii_lowercase), has(u8::is_ascii_digit));
    let mixed = word.len() > MIXED_MAX && upper && lower && digit;
    mixed || (word.len() > LETTERS_AND_DIGITS_MAX && (upper || lower) && digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_what_may_be_shown() {
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
    fn a_path_is_told_from_a_password() {
        assert!(["key.pem", "/run/secrets/key", "./key", "keys.json"].into_iter().all(looks_like_path));
        assert!(!["hunter2", "hunter2.", "correct horse", "a.b c"].into_iter().any(looks_like_path));
    }
}
