//! The progress of a run on standard error.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::engine::Counts;
use crate::measure::Slice;
use crate::named::Named;
use crate::plan::Settings;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const HISTORY: usize = 24;
/// How often a line is written if standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// On a terminal, one line that is replaced ten times a second: bars of the last rates, the rate, the latency, and
/// faults. Elsewhere, a line every `LINE_INTERVAL`.
pub struct ProgressLine {
    name: String,
    until: f64,
    rates: Vec<u64>,
    replaces_line: bool,
    /// When the last line was written; not used on a terminal.
    written: Option<Instant>,
}

impl ProgressLine {
    pub fn new(settings: &Settings, replaces_line: bool) -> Self {
        Self { name: settings.scenario.name(), until: settings.duration_s, rates: Vec::new(), replaces_line, written: None }
    }

    /// Shows a slice of the time line.
    pub fn show(&mut self, slice: &Slice, counts: &Counts) {
        self.rates.push(slice.rate() as u64);
        if self.rates.len() > HISTORY {
            self.rates.remove(0);
        }
        let line = self.line(slice, counts);
        let text = if self.replaces_line {
            let end = if slice.at + 0.1 >= self.until { "\r\x1b[K" } else { "" };
            format!("\r\x1b[K{line}{end}")
        } else {
            // A run that is shorter than the interval writes nothing.
            if self.written.get_or_insert_with(Instant::now).elapsed() < LINE_INTERVAL {
                return;
            }
            self.written = Some(Instant::now());
            format!("{line}\n")
        };
        // A closed standard error does not end the run.
        let _ = std::io::stderr().write_all(text.as_bytes());
        let _ = std::io::stderr().flush();
    }

    fn line(&self, slice: &Slice, counts: &Counts) -> String {
        let top = self.rates.iter().copied().max().unwrap_or(0).max(1);
        let bars: String = self.rates.iter().map(|rate| BARS[(rate * 7 / top) as usize]).collect();
        let wrong = counts.findings.duplicated + counts.findings.reordered + counts.findings.altered + counts.holes;
        let wrong = if wrong == 0 { "no loss".to_owned() } else { format!("{wrong} WRONG") };
        let when = if slice.at > 0.0 { format!("{:.1} s", slice.at) } else { "warm-up".to_owned() };
        let (name, rate, p50, p99) = (&self.name, slice.rate() as u64, slice.p50 / 1e3, slice.p99 / 1e3);
        format!("{name} {when:>7} {bars:24} {rate:>9}/s  p50 {p50:.2} ms  p99 {p99:.2} ms  {wrong}")
    }
}
