//! Runs the program, and gateways for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The outcome of a run of the program.
pub struct Outcome {
    pub status: i32,
    pub report: Value,
    pub errors: String,
}

impl Outcome {
    /// A number of the report, by its path.
    pub fn number(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer} in {self:?}"))
    }

    /// Expects that all checks held, and something was delivered.
    pub fn expect_all_well(&self) {
        assert_eq!(self.status, 0, "{self:?}");
        assert!(self.number("/deliveries") > 0.0, "{self:?}");
        assert!(self.number("/latency/p50") > 0.0, "{self:?}");
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |key: &str| &self.report[key];
        write!(
            f,
            "status {}: {}\nverdict {}\nfailures {}\nfigures {}",
            self.status,
            self.errors,
            part("verdict"),
            part("failures"),
            part("figures")
        )
    }
}

/// Runs the program for a short time, unless `arguments` say how long.
pub fn run(arguments: &[&str]) -> Outcome {
    let duration: &[&str] = if arguments.contains(&"--duration") { &[] } else { &["--duration", "0.6"] };
    let output = Command::new(env!("CARGO_BIN_EXE_belfry-loadtest"))
        .args(arguments)
        .args(duration)
        .args(["--warmup", "0.2", "--json"])
        .output()
        .expect("the program runs");
    Outcome {
        status: output.status.code().unwrap_or(-1),
        report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the program, which starts its own gateway.
pub fn run_with_gateway(arguments: &[&str]) -> Outcome {
    let gateway = gateway().to_str().expect("the path of the target folder is text");
    run(&[arguments, &["--start", gateway]].concat())
}

/// The gateway's binary beside the program, which is built if it does not exist.
fn gateway() -> &'static Path {
    static GATEWAY: OnceLock<PathBuf> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_belfry-loadtest")).with_file_name("belfry");
        if !beside.exists() {
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            let built =
                Command::new(env!("CARGO")).args(["build", "--package", "belfry", "--bin", "belfry", "--profile", profile]).status();
            assert!(built.is_ok_and(|status| status.success()), "the gateway can't be built");
        }
        beside
    })
}

/// Does `work` with all `items` at the same time. A run waits for most of its time, so several fit on two cores.
pub fn each_at_once<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let work = &work;
    std::thread::scope(|scope| items.into_iter().for_each(|item| _ = scope.spawn(move || work(item))));
}

/// Runs the program. Returns its standard output.
pub fn print(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_belfry-loadtest")).args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A gateway that is not started by the program, and ends with the test.
pub struct Served {
    process: std::process::Child,
    /// Its address.
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Served {
    /// Starts the gateway with its built-in configuration and `settings`.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port_file = folder.path().join("port");
        let mut command = Command::new(gateway());
        command.args(["serve", "--log", "warn", "--listen", "127.0.0.1:0", "--port-file"]).arg(&port_file);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        let process = command.spawn().expect("the gateway starts");
        let mut served = Self { process, address: String::new(), _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while served.address.is_empty() {
            assert!(Instant::now() < deadline, "the gateway did not say where it listens");
            served.address = std::fs::read_to_string(&port_file).unwrap_or_default();
            std::thread::park_timeout(Duration::from_millis(10));
        }
        served
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
