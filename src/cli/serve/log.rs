//! The gateway's log: its filter, its format, and its writer.

use std::io::IsTerminal;

use anyhow::{Context, anyhow};
use tracing_subscriber::EnvFilter;

use super::log_writer::LogWriter;
use crate::config::LogFormat;

/// The filter that `--log` names.
pub(super) fn filter(text: &str) -> anyhow::Result<EnvFilter> {
    // The error's text repeats its source, so the chain is not printed.
    EnvFilter::try_new(text)
        .map_err(|error| anyhow!("the log filter {text:?} can't be read: {error}; write as in `info` or `belfry=debug`"))
}

/// The log of this process.
pub(super) struct Log {
    writer: LogWriter,
    format: LogFormat,
}

impl Log {
    /// Starts it.
    pub(super) fn start(filter: EnvFilter, format: LogFormat) -> anyhow::Result<Self> {
        let writer = LogWriter::start().context("can't start the thread that writes the log")?;
        let queue = writer.clone();
        let plain = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(move || queue.clone());
        match format {
            LogFormat::Text => plain.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => plain.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        }
        Ok(Self { writer, format })
    }

    /// Writes `text`, whatever the filter is.
    pub(super) fn write(&self, text: &str) {
        match self.format {
            LogFormat::Text => self.writer.put(text.as_bytes()),
            LogFormat::Json => self.writer.put(format!("{}\n", serde_json::json!({"level": "INFO", "message": text})).as_bytes()),
        }
    }

    /// A function that returns how many lines were dropped since its last call.
    pub(super) fn suppressed(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let writer = self.writer.clone();
        move || writer.take_suppressed()
    }
}

impl Drop for Log {
    /// Waits until the last lines are written, for at most a second.
    fn drop(&mut self) {
        self.writer.finish();
    }
}
