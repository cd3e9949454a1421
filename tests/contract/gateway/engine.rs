//! The engine of the gateways under test: their own memory, or with `BELFRY_CONTRACT_NATS` a NATS server for each, whose binary that names.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::within;

/// The variable that names the binary.
const BINARY: &str = "BELFRY_CONTRACT_NATS";

/// The patterns of the base configuration's rules; each has a stream.
const PATTERNS: [&str; 4] = ["quotes.>", "chat.>", "test.>", "private.>"];

/// How long a server may take to listen, and a gateway to follow its streams: many start at once.
pub const START_MAX: Duration = Duration::from_secs(30);

/// A NATS server of one gateway, killed once nobody holds it any more.
#[derive(Debug)]
pub struct Nats {
    process: Child,
    url: String,
    folder: TempDir,
}

impl Nats {
    /// Starts one, if the gateways under test are to have an engine.
    pub fn start_if_wanted() -> Option<Self> {
        let binary = std::env::var(BINARY).ok()?;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut command = Command::new(binary);
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"]).arg(folder.path().join("store"));
        command.arg("--ports_file_dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("BELFRY_CONTRACT_NATS is a nats-server");
        let mut server = Self { process, url: String::new(), folder };
        server.url = within(START_MAX, "the NATS server to listen", || server.listens_at());
        Some(server)
    }

    /// Its address, once it has written it into its folder.
    fn listens_at(&self) -> Option<String> {
        let files = fs::read_dir(self.folder.path()).ok()?.filter_map(Result::ok).map(|file| file.path());
        let written = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "ports"))?;
        let ports: Value = serde_json::from_str(&fs::read_to_string(written).ok()?).ok()?;
        Some(ports["nats"][0].as_str()?.to_owned())
    }

    /// The sections of a configuration by which a gateway has its topics from it.
    pub fn sections(&self) -> String {
        let streams = PATTERNS.iter().enumerate().map(|(number, pattern)| {
            format!("[[cluster.streams]]\nname = \"S{number}\"\nmatch = \"{pattern}\"\nreplicas = 1\nstorage = \"memory\"\n")
        });
        format!("[cluster]\nurls = [\"{}\"]\n{}", self.url, streams.collect::<String>())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An event as a gateway without an engine sends it: the `prev` that an engine adds is checked, and left out.
pub fn without_prev(mut event: Value) -> Value {
    if std::env::var_os(BINARY).is_none() {
        return event;
    }
    let offset = event["offset"].as_u64();
    if let Some(prev) = event.as_object_mut().and_then(|event| event.remove("prev")) {
        assert!(prev.as_u64() < offset, "{prev} comes before {event}");
    }
    event
}
