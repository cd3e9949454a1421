//! The whole gateway: builds each part and hands it only what it needs.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{Config, Sources};

/// A running gateway.
pub struct Running {
    /// Where it listens, ports chosen.
    pub address: SocketAddr,
    /// Where the administrators' listener is, if it is one of its own.
    pub admin_address: Option<SocketAddr>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be had.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Starts everything that `config` asks for; `sources` are read again on SIGHUP.
pub async fn start(_config: Arc<Config>, _sources: Sources) -> Result<Running, StartError> {
    unimplemented!()
}

impl Running {
    /// Until SIGTERM or SIGINT has drained it.
    pub async fn run_until_drained(self) {
        unimplemented!()
    }
}
