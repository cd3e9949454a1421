//! The command-line arguments that all scenarios share.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::expectation::Expectation;
use super::fault::Fault;
use super::preset::Preset;
use super::server::Server;
use crate::wire::{Deflate, Dialect};

/// The arguments that all scenarios share. Those that are left out have the scenario's default.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The server, ws:// or wss://; may be given several times for gateways that act as one, among which sessions alternate; ignored with --start [default: ws://127.0.0.1:8765/ws]
    #[arg(long)]
    pub url: Vec<String>,
    /// The gateway has its topics from a stream, so offsets have holes; several --url imply this
    #[arg(long)]
    pub clustered: bool,
    /// A token or an API key for each session
    #[arg(long, value_name = "TOKEN", env = "BELFRY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Trust the certificates of this PEM file for wss, in place of the system's roots
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// The first token of topics on a running gateway; the rule of these topics decides how long their history stays
    #[arg(long, value_name = "TOKEN", default_value = "chat")]
    pub prefix: String,
    /// Fail if a figure exceeds its bound: p50, p90, p99, p99.9, max or lateness=TIME; lost, duplicated, reordered, closed or refused=N; cpu=TIME and bytes=N a delivery; delivered=N a second at least
    #[arg(long, value_name = "FIGURE=BOUND")]
    pub expect: Vec<Expectation>,
    /// In `failover`: a shell command and its time, in seconds of the measurement; may be given several times
    #[arg(long, value_name = "TIME=COMMAND")]
    pub fault: Vec<Fault>,
    /// A server by name, which implies its dialect; without --url it is started
    #[arg(long, value_enum, value_name = "SERVER", conflicts_with = "dialect")]
    pub target: Option<Preset>,
    /// The folder of the scripts that start other servers
    #[arg(long, value_name = "FOLDER", default_value = "loadtest/peers")]
    pub peers: PathBuf,
    /// The dialect of subscribers; `plain` is a server that sends each text to everybody
    #[arg(long, value_enum, default_value = "json")]
    pub dialect: Dialect,
    /// Subscribers; for `chat`, members
    #[arg(long, short = 'n', value_name = "N", alias = "subscribers")]
    pub sessions: Option<usize>,
    /// Messages a second, all publishers together
    #[arg(long, short, value_name = "N")]
    pub rate: Option<f64>,
    /// Messages published at the same time; `rate` remains messages a second
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub burst: u32,
    /// Keep N messages in flight instead of a rate, which finds the limit
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "burst"])]
    pub ahead: Option<u32>,
    /// The time of the measurement, in seconds or with a unit: 10s, 2m
    #[arg(long, short, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<f64>,
    /// The time in which the load rises evenly to its rate, before the warm-up
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value_t = 0.0, conflicts_with = "ahead")]
    pub ramp: f64,
    /// The time of load before the measurement
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value_t = 1.0)]
    pub warmup: f64,
    /// Bytes of a payload
    #[arg(long, short, value_name = "BYTES")]
    pub payload: Option<usize>,
    /// Topics, for scenarios with several
    #[arg(long, value_name = "N")]
    pub topics: Option<usize>,
    /// Publishing sessions; `commands_per_second` applies to each
    #[arg(long, value_name = "N")]
    pub publishers: Option<usize>,
    /// How publishers publish; `http` in batches by POST /v1/publish
    #[arg(long, value_enum, default_value = "session")]
    pub publish_by: PublishBy,
    /// Offer permessage-deflate; with `history`, messages may refer to earlier ones, and each session has its own window
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "alone")]
    pub deflate: Option<Deflate>,
    /// Sessions from each source address 127.0.0.x; 0: all from one
    #[arg(long, value_name = "N")]
    pub spread: Option<usize>,
    /// Start this gateway for the run, with limits above those of a load test
    #[arg(long, value_name = "BELFRY")]
    pub start: Option<PathBuf>,
    /// Shards of a gateway that --start starts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub shards: usize,
    /// A `--set` for the gateway that --start starts
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Pin what --start starts to the first core, and the load to the last
    #[arg(long)]
    pub pin: bool,
    /// The server's process, for its CPU and memory; may be given several times, for their sum
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishBy {
    /// In the dialect of the subscribers
    Session,
    /// By POST
    Http,
}

impl Arguments {
    pub(super) fn server(&self) -> anyhow::Result<Server> {
        let belfry = match &self.start {
            Some(program) => Server::Belfry { program: program.clone(), shards: self.shards, set: self.set.clone() },
            None => Server::Running,
        };
        match self.target {
            Some(preset) if self.url.is_empty() => preset.server(&belfry, &self.peers),
            _ => Ok(belfry),
        }
    }
}

/// Reads a time in seconds, which may have a unit.
fn seconds(text: &str) -> Result<f64, String> {
    let (number, factor) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)]
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .unwrap_or((text, 1.0));
    let read = number.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    read.map(|seconds| seconds * factor).ok_or_else(|| "not a time; write seconds or a unit, as in 10, 10s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bug: `--duration 3s` was "invalid float literal", while `--expect` wants units.
    #[test]
    fn seconds_may_have_a_unit() {
        for (text, expected) in [("3", 3.0), ("0.5", 0.5), ("3s", 3.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3_600.0)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "-1", "-1s", "soon", "inf", "NaN", "3 parsecs"] {
            assert!(seconds(text).is_err_and(|error| error.contains("10s")), "{text}");
        }
    }
}
