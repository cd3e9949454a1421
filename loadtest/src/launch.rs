//! Starts a server for a run, finds its address, pins it to a core, and stops it afterwards.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;

use crate::named::Named;
use crate::plan::Server;

/// The longest time until a server listens. A peer's script may have to install the server first.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A server that this run started. Dropping it kills the process and removes its folder.
pub struct StartedServer {
    child: Child,
    pub address: SocketAddr,
    /// Its configuration and its port file.
    folder: TempDir,
}

impl StartedServer {
    /// Starts `server`; `None` if it runs already. With `pin`, it runs on the first core, and this process on the last.
    /// A peer's script is passed `deflate`; Belfry always offers it.
    pub fn start(server: &Server, pin: bool, deflate: bool) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("belfry-loadtest-").tempdir().context("can't make a folder")?;
        let mut command = match server {
            Server::Running => return Ok(None),
            Server::Belfry { program, shards, set } => {
                // The limits are above those of a load test, and all features are on: history, accounts, presence.
                // Sessions choose deflate with history by their offer.
                let config = folder.path().join("belfry.toml");
                fs::write(&config, configuration(*shards))?;
                let mut command = Command::new(program);
                command.args(["serve", "--log", "warn", "--config"]).arg(&config);
                set.iter().for_each(|set| {
                    command.args(["--set", set]);
                });
                command
            }
            Server::Baseline(sends) => {
                let mut command = Command::new(std::env::current_exe().context("can't find this program itself")?);
                command.args(["baseline-serve", "--sends", &sends.name()]);
                command
            }
            Server::Peer(script) => {
                let mut command = Command::new(script);
                if deflate {
                    command.env("PEER_DEFLATE", "1");
                }
                command
            }
        };
        command.arg("--port-file").arg(folder.path().join("port"));
        Self::launch(command, folder, pin).map(Some)
    }

    fn launch(mut command: Command, folder: TempDir, pin: bool) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = if pin { on_first_core(|| command.spawn()) } else { command.spawn() };
        let child = child.with_context(|| format!("can't run {:?}", command.get_program()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut started = Self { child, address, folder };
        started.address = started.wait_for_address()?;
        Ok(started)
    }

    fn wait_for_address(&mut self) -> anyhow::Result<SocketAddr> {
        let (file, deadline) = (self.folder.path().join("port"), Instant::now() + START_TIMEOUT);
        while Instant::now() < deadline {
            if let Some(address) = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()) {
                return Ok(address);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it listened ({status})");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the server did not say where it listens within {} s", START_TIMEOUT.as_secs())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended with success; `None` while it runs.
    pub fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().ok().flatten().map(|status| status.success())
    }
}

impl Drop for StartedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGTERM.
pub fn terminate(pid: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("0 is no process")?;
    kill_process(pid, Signal::TERM).context("can't send SIGTERM to the server")
}

/// Runs `start` on the first core, because a child inherits the CPU affinity of its parent. Then moves this process to
/// the last core.
fn on_first_core<T>(start: impl FnOnce() -> T) -> T {
    // Read once, because after the first start this process is pinned.
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    let allowed = ALLOWED.get_or_init(|| {
        let cores = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).collect()
    });
    let (Some(first), Some(last)) = (allowed.first(), allowed.last()) else { return start() };
    pin_to(*first);
    let started = start();
    pin_to(*last);
    started
}

fn pin_to(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// The configuration of a gateway for load tests: limits above those of a run, and a rule for each kind of topic.
fn configuration(shards: usize) -> String {
    let rule = |(topics, history, on_slow, presence)| {
        format!(
            r#"
[[topics]]
match = "{topics}.>"
history = {history}
history_ttl = "1h"
on_slow = "{on_slow}"
deflate = "history"
presence = {presence}"#
        )
    };
    let rules = [
        ("chat", 100, "disconnect", true),
        ("closing", 10_000, "disconnect", false),
        ("quotes", 100, "conflate", false),
        ("kept", 10_000, "drop_oldest", false),
    ];
    format!(
        r#"[server]
listen = "127.0.0.1:0"
shards = {shards}
drain = "2s"

[auth]
anonymous = {{ subscribe = [">"], publish = [">"] }}

[limits]
sessions_per_address = 100000
pending_per_address = 100000
http_connections_per_address = 100000
commands_per_second = 10000000
commands_burst = 10000000
frames_per_second = 10000000
frames_burst = 10000000
{}
"#,
        rules.map(rule).concat()
    )
}
