//! The parts of a gateway that exist before its configuration is read: the runtime and the signal handlers.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::server::{Signals, Supervisor};

/// The parts that must exist before any work that takes time.
pub struct Standby {
    /// The runtime of HTTP and TLS connections.
    pub runtime: Runtime,
    /// The signal handlers.
    pub signals: Signals,
    /// The supervisor that started the process.
    pub supervisor: Supervisor,
}

impl Standby {
    /// Takes passed sockets, before there are threads, then starts the runtime and installs the signal handlers.
    pub fn begin() -> anyhow::Result<Self> {
        let supervisor = Supervisor::from_environment()
            .context("a socket that was passed on (LISTEN_FDS) can't be used; pass sockets of TCP or Unix that listen")?;
        let runtime = Builder::new_multi_thread().thread_name("belfry-front").enable_all().build().context("can't start the runtime")?;
        let signals = runtime.block_on(async { Signals::new() }).context("can't handle signals")?;
        Ok(Self { runtime, signals, supervisor })
    }
}
