//! A gateway before its configuration is read: it has a runtime, and hears signals.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use crate::server::{Signals, Supervisor};

/// What has to stand before anything that takes time.
pub struct Standby {
    /// Where the gateway's front runs.
    pub runtime: Runtime,
    /// The signals, heard from now on.
    pub signals: Signals,
    /// What started the process.
    pub supervisor: Supervisor,
}

impl Standby {
    /// Starts the runtime and takes the signals, and before there are threads what a supervisor passed on.
    pub fn begin() -> anyhow::Result<Self> {
        let supervisor = Supervisor::from_environment()
            .context("a socket that was passed on (LISTEN_FDS) can't be used; pass sockets of TCP or Unix that listen")?;
        let runtime = Builder::new_multi_thread().thread_name("belfry-front").enable_all().build().context("can't start the runtime")?;
        let signals = runtime.block_on(async { Signals::new() }).context("can't hear signals")?;
        Ok(Self { runtime, signals, supervisor })
    }
}
