//! The labels and units of figures that only some scenarios have.

use super::units::{bytes, count, rate, time};

/// A figure of a scenario.
pub(super) struct Figure {
    /// Its key in the report.
    pub(super) key: &'static str,
    /// Its label.
    pub(super) label: &'static str,
    /// Formats its value.
    pub(super) written: fn(f64) -> String,
}

const fn figure(key: &'static str, label: &'static str, written: fn(f64) -> String) -> Figure {
    Figure { key, label, written }
}

/// All figures, in the order of the report.
pub(super) const FIGURES: [Figure; 24] = [
    figure("calm_p99_us", "p99 before the trouble", time),
    figure("troubled_p99_us", "p99 during the trouble", time),
    figure("calm_cpu_us_per_delivery", "CPU a delivery, before", time),
    figure("troubled_cpu_us_per_delivery", "CPU a delivery, during", time),
    figure("resident_bytes_per_session", "memory a session", bytes),
    figure("kernel_buffer_bytes_per_session", "kernel's buffers a session", bytes),
    figure("idle_cpu_us_per_session_and_second", "CPU a session and second", time),
    figure("handshake_cpu_us", "CPU a handshake", time),
    figure("connects_per_s", "handshakes", rate),
    figure("reconnect_s", "time until all were back", |seconds| time(seconds * 1e6)),
    figure("recovered_sessions", "sessions that recovered", count),
    figure("stalled_sessions", "sessions that stalled", count),
    figure("closed_sessions", "sessions that the server closed", count),
    figure("subscriptions_changed", "changes of topic", count),
    figure("first_close_s", "first close after", |seconds| time(seconds * 1e6)),
    figure("last_close_s", "last close after", |seconds| time(seconds * 1e6)),
    figure("most_closes_in_20_ms", "most closes in 20 ms", count),
    figure("messages_behind_at_close_most", "most messages behind at a close", count),
    figure("longest_silence_s", "longest silence of a session", |seconds| time(seconds * 1e6)),
    figure("topics_recovered", "topics recovered elsewhere", count),
    figure("topics_not_recovered", "topics begun anew elsewhere", count),
    figure("publishes_acknowledged", "publishes acknowledged", count),
    figure("publishes_refused", "publishes refused", count),
    figure("publishes_without_an_answer", "publishes without an answer", count),
];

/// The label and the formatted value of a figure. An unknown one has its key as label.
pub(super) fn written(key: &str, value: f64) -> (String, String) {
    match FIGURES.iter().find(|figure| figure.key == key) {
        Some(figure) => (figure.label.to_owned(), (figure.written)(value)),
        None => (key.replace('_', " "), format!("{value:.1}")),
    }
}
