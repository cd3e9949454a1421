//! The labels and units of figures that only some scenarios have.

use super::units::{bytes, count, rate, time};

/// A figure of a scenario: its key in the report, its label, and the function that formats its value.
type Figure = (&'static str, &'static str, fn(f64) -> String);

/// All figures, in the order of the report.
pub(super) const FIGURES: [Figure; 24] = [
    ("calm_p99_us", "p99 before the trouble", time),
    ("troubled_p99_us", "p99 during the trouble", time),
    ("calm_cpu_us_per_delivery", "CPU a delivery, before", time),
    ("troubled_cpu_us_per_delivery", "CPU a delivery, during", time),
    ("resident_bytes_per_session", "memory a session", bytes),
    ("kernel_buffer_bytes_per_session", "kernel's buffers a session", bytes),
    ("idle_cpu_us_per_session_and_second", "CPU a session and second", time),
    ("handshake_cpu_us", "CPU a handshake", time),
    ("connects_per_s", "handshakes", rate),
    ("reconnect_s", "time until all were back", |seconds| time(seconds * 1e6)),
    ("recovered_sessions", "sessions that recovered", count),
    ("stalled_sessions", "sessions that stalled", count),
    ("closed_sessions", "sessions that the server closed", count),
    ("subscriptions_changed", "changes of topic", count),
    ("first_close_s", "first close after", |seconds| time(seconds * 1e6)),
    ("last_close_s", "last close after", |seconds| time(seconds * 1e6)),
    ("most_closes_in_20_ms", "most closes in 20 ms", count),
    ("messages_behind_at_close_most", "most messages behind at a close", count),
    ("longest_silence_s", "longest silence of a session", |seconds| time(seconds * 1e6)),
    ("topics_recovered", "topics recovered elsewhere", count),
    ("topics_not_recovered", "topics begun anew elsewhere", count),
    ("publishes_acknowledged", "publishes acknowledged", count),
    ("publishes_refused", "publishes refused", count),
    ("publishes_without_an_answer", "publishes without an answer", count),
];

/// The label and the formatted value of a figure. An unknown one has its key as label.
pub(super) fn formatted(key: &str, value: f64) -> (String, String) {
    match FIGURES.iter().find(|(known, ..)| *known == key) {
        Some((_, label, format)) => ((*label).to_owned(), format(value)),
        None => (key.replace('_', " "), format!("{value:.1}")),
    }
}
