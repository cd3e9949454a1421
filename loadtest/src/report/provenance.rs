//! The provenance of a report: the date, the version, and the command line.

use serde::Serialize;
use time::OffsetDateTime;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The date and time in UTC (RFC 3339).
    pub date: String,
    pub version: &'static str,
    /// The command line, without the value of `--token`.
    pub command: String,
}

impl Provenance {
    /// The provenance of a report of this process, made now.
    pub fn here() -> Self {
        Self { date: rfc3339(OffsetDateTime::now_utc()), version: env!("CARGO_PKG_VERSION"), command: command(std::env::args()) }
    }
}

/// Formats a time in UTC as `2026-11-28T21:00:00Z`.
fn rfc3339(utc: OffsetDateTime) -> String {
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", utc.hour(), utc.minute(), utc.second())
}

/// Joins the words of a command line, without secrets, with quotes for the shell.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut hidden = false;
    for word in words {
        if std::mem::replace(&mut hidden, word == "--token") {
            out.push("…".to_owned());
        } else if word.starts_with("--token=") {
            out.push("--token=…".to_owned());
        } else if word.chars().all(|letter| letter.is_alphanumeric() || "-_./:=,+@%".contains(letter)) && !word.is_empty() {
            out.push(word);
        } else {
            out.push(format!("'{}'", word.replace('\'', "'\\''")));
        }
    }
    out.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_in_rfc_3339() {
        let date = OffsetDateTime::from_unix_timestamp(951_782_405).unwrap();
        assert_eq!(rfc3339(date), "2000-02-29T00:00:05Z");
    }

    #[test]
    fn a_token_is_not_in_a_report() {
        let words = ["loadtest", "--token", "secret", "--token=secret", "--set", "a b"];
        assert_eq!(command(words.iter().map(ToString::to_string)), "loadtest --token … --token=… --set 'a b'");
    }
}
