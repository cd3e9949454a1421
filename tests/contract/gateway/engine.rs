//! The engine of the gateways under test: their own memory, or one NATS server for each gateway.
//!
//! The variable `BELFRY_CONTRACT_NATS` names the binary of that server.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::positions::{Log, Positions};
use super::within;

/// The variable that names the binary.
const BINARY: &str = "BELFRY_CONTRACT_NATS";

/// The number of streams of a server.
pub const STREAMS: usize = 4;

/// The patterns of the base configuration's rules. Each has a stream.
const PATTERNS: [&str; STREAMS] = ["quotes.>", "chat.>", "test.>", "private.>"];

/// The bound for a server to listen, and for a gateway to follow its streams. Many start at once.
pub const START_MAX: Duration = Duration::from_secs(30);

/// The NATS server of one gateway. It is killed on drop.
#[derive(Debug)]
pub struct Nats {
    process: Child,
    url: String,
    folder: TempDir,
    /// The messages of its streams, recorded from the first gateway on.
    log: OnceLock<Arc<Log>>,
}

impl Nats {
    /// Starts a server if `BELFRY_CONTRACT_NATS` is set.
    pub fn start_if_configured() -> Option<Self> {
        let binary = std::env::var(BINARY).ok()?;
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut command = Command::new(binary);
        command.args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"]).arg(folder.path().join("store"));
        command.arg("--ports_file_dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("BELFRY_CONTRACT_NATS is a nats-server");
        let mut server = Self { process, url: String::new(), folder, log: OnceLock::new() };
        server.url = within(START_MAX, "the NATS server to listen", || server.written_url());
        Some(server)
    }

    /// The server's URL, once the server has written its ports file.
    fn written_url(&self) -> Option<String> {
        let files = fs::read_dir(self.folder.path()).ok()?.filter_map(Result::ok).map(|file| file.path());
        let written = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "ports"))?;
        let ports: Value = serde_json::from_str(&fs::read_to_string(written).ok()?).ok()?;
        Some(ports["nats"][0].as_str()?.to_owned())
    }

    /// The sections of a configuration that connect a gateway to this server.
    pub fn sections(&self) -> String {
        let streams = PATTERNS.iter().enumerate().map(|(number, pattern)| {
            format!("[[cluster.streams]]\nname = \"S{number}\"\nmatch = \"{pattern}\"\nreplicas = 1\nstorage = \"memory\"\n")
        });
        format!("[cluster]\nurls = [\"{}\"]\n{}", self.url, streams.collect::<String>())
    }

    /// The positions in its streams. The streams exist once a gateway is ready.
    pub fn positions(&self) -> Positions {
        Positions::of(Arc::clone(self.log.get_or_init(|| self.follow().expect("the NATS server takes a connection"))))
    }

    /// Records every stream from its first message on, over a connection that lasts as long as the server.
    fn follow(&self) -> io::Result<Arc<Log>> {
        let mut socket = TcpStream::connect(self.url.trim_start_matches("nats://"))?;
        let log = Arc::<Log>::default();
        let mut commands = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}"#.to_owned() + "\r\n";
        for (number, pattern) in PATTERNS.iter().enumerate() {
            log.add_stream(pattern.trim_end_matches(".>"));
            let config =
                json!({"deliver_subject": format!("log.{number}"), "deliver_policy": "all", "ack_policy": "none", "headers_only": true});
            let consumer = json!({"stream_name": format!("S{number}"), "config": config}).to_string();
            commands += &format!("SUB log.{number} {number}\r\n");
            commands += &format!("PUB $JS.API.CONSUMER.CREATE.S{number} answer {}\r\n{consumer}\r\n", consumer.len());
        }
        socket.write_all(commands.as_bytes())?;
        let recorded = Arc::clone(&log);
        std::thread::spawn(move || record_messages(socket, &recorded)); // until the server is killed
        Ok(log)
    }
}

/// Reads the server's protocol and records the messages of the streams.
fn record_messages(socket: TcpStream, log: &Log) -> io::Result<()> {
    let mut writer = socket.try_clone()?;
    let (mut reader, mut line) = (BufReader::new(socket), String::new());
    while reader.read_line(&mut line)? > 0 {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["PING"] => writer.write_all(b"PONG\r\n")?,
            // Subject, subscription, and the reply subject of a consumer's message:
            // $JS.ACK.stream.consumer.delivered.sequence.…
            ["MSG", subject, stream, reply, bytes] | ["HMSG", subject, stream, reply, _, bytes] => {
                let payload = bytes.parse::<u64>().map_err(io::Error::other)? + 2;
                io::copy(&mut reader.by_ref().take(payload), &mut io::sink())?;
                let sequence = reply.split('.').nth(5).and_then(|sequence| sequence.parse().ok());
                let sequence = sequence.ok_or_else(|| io::Error::other(line.clone()))?;
                let pattern = stream.parse().ok().and_then(|stream: usize| PATTERNS.get(stream)).copied().unwrap_or_default();
                log.record(pattern.trim_end_matches(".>"), subject, sequence);
            }
            _ => {}
        }
        line.clear();
    }
    Ok(())
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
