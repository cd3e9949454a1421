//! The server under test, and how it is started.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

/// The server under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    /// It runs already.
    Running,
    /// A gateway that is started for the run.
    Belfry {
        program: PathBuf,
        shards: usize,
        /// Its `--set` options.
        set: Vec<String>,
    },
    /// Plain sends, by this program itself.
    Baseline(Sends),
    /// Another server, started by a script that takes `--port-file FILE`.
    Peer(PathBuf),
}

impl Server {
    /// The same gateway with one more `--set`.
    pub fn with_setting(&self, setting: &str) -> Self {
        let mut server = self.clone();
        if let Self::Belfry { set, .. } = &mut server {
            set.push(setting.to_owned());
        }
        server
    }
}

/// How the messages of one read are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sends {
    /// One write per message and socket
    Single,
    /// One write per socket, of a copy of all messages in a row
    Joined,
    /// One write per socket, of a list of the messages
    Vectored,
}
