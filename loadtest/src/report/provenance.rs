//! The provenance of a report: the date, the version, and the command line.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The provenance of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The date and time in UTC (RFC 3339).
    pub date: String,
    /// The version of this program.
    pub version: &'static str,
    /// The command line, without the value of `--token`.
    pub command: String,
}

impl Provenance {
    /// The provenance of a report of this process, made now.
    pub fn here() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { date: rfc3339(seconds), version: env!("CARGO_PKG_VERSION"), command: command(std::env::args()) }
    }
}

/// Formats `seconds` since 1970 as `2026-11-28T21:00:00Z`, in the proleptic Gregorian calendar.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that a leap day is the last of its year; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
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
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_732_233_600), "2024-11-22T00:00:00Z");
        assert_eq!(rfc3339(4_107_542_399), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn a_token_is_not_in_a_report() {
        let words = ["loadtest", "--token", "secret", "--token=secret", "--set", "a b"];
        assert_eq!(command(words.iter().map(ToString::to_string)), "loadtest --token … --token=… --set 'a b'");
    }
}
