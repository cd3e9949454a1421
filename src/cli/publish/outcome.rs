//! The outcome of the lines: how many were published, and which failed.

use std::time::Duration;

use anyhow::anyhow;

/// The counts of one `belfry pub`.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Whether the payloads are lines of standard input.
    is_stream: bool,
    read: u64,
    published: u64,
    failed: u64,
    /// The first line that failed, and its error.
    first_failure: Option<String>,
}

impl Outcome {
    pub(super) fn new(is_stream: bool) -> Self {
        Self { is_stream, ..Self::default() }
    }

    /// Counts a line as read. Returns its number, from 1.
    pub(super) fn read(&mut self) -> u64 {
        self.read += 1;
        self.read
    }

    /// Counts a line as published.
    pub(super) fn published(&mut self) {
        self.published += 1;
    }

    /// Counts the line `number` as failed.
    pub(super) fn failed(&mut self, number: u64, why: &str) {
        self.failed += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(if self.is_stream { format!("line {number}: {why}") } else { why.to_owned() });
        }
    }

    /// The error, if any line failed.
    pub(super) fn verdict(self) -> anyhow::Result<()> {
        match self.first_failure {
            None => Ok(()),
            Some(first) if !self.is_stream => Err(anyhow!(first)),
            Some(first) => Err(anyhow!("{} of {} lines were not published; the first: {first}", self.failed, self.read)),
        }
    }

    /// The error if the connection was lost before all lines were answered.
    pub(super) fn broken(&self, error: &anyhow::Error, unknown: usize, all_sent: bool) -> anyhow::Error {
        let rest = if all_sent { "" } else { ", and the rest was not sent" };
        anyhow!("{error:#}: {} published, {unknown} without an answer (published or not){rest}", self.published)
    }

    /// A sentence with the number of published messages and `time`.
    pub(super) fn summary(&self, time: Duration) -> String {
        let (published, seconds) = (self.published, time.as_secs_f64());
        let rate = if published > 1 { format!(", {:.0}/s", published as f64 / seconds.max(0.001)) } else { String::new() };
        format!("{published} {} published in {seconds:.2} s{rate}", if published == 1 { "message" } else { "messages" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_the_first_failure() {
        let mut outcome = Outcome { is_stream: true, read: 3, ..Outcome::default() };
        outcome.failed(2, "not_allowed: no");
        outcome.failed(3, "not_allowed: no");
        let error = outcome.verdict().unwrap_err().to_string();
        assert!(error.contains("2 of 3") && error.contains("line 2: not_allowed"), "{error}");
        assert!(Outcome::default().verdict().is_ok());
    }

    #[test]
    fn a_lost_connection_reports_the_unanswered_lines() {
        let outcome = Outcome { published: 5, ..Outcome::default() };
        let error = outcome.broken(&anyhow!("gone"), 3, false).to_string();
        assert!(error.contains("5 published") && error.contains("3 without an answer") && error.contains("not sent"), "{error}");
    }

    #[test]
    fn the_summary_counts_and_times() {
        let outcome = Outcome { published: 1_000, ..Outcome::default() };
        assert_eq!(outcome.summary(Duration::from_secs(10)), "1000 messages published in 10.00 s, 100/s");
        let outcome = Outcome { published: 1, ..Outcome::default() };
        assert_eq!(outcome.summary(Duration::from_millis(20)), "1 message published in 0.02 s");
    }
}
