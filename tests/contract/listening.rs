//! Where the gateway listens: several addresses, Unix sockets, sockets of a supervisor, and what that is told (PROTOCOL
//! 8).

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::gateway::{ADMIN, DEADLINE, Reply, Session, Setup, Stream, belfry, eventually, program, request_over, unix_socket};

/// A gateway that listens by the Unix socket `path` too.
fn also_at(path: &Path, setup: Setup) -> Setup {
    setup.argument("--listen").argument(&format!("unix:{}", path.display()))
}

fn get(socket: TcpStream, path: &str) -> Reply {
    request_over(socket, "localhost", "GET", path, &[ADMIN], b"")
}

fn session_at(path: &Path, headers: &[(&str, &str)]) -> Result<Session, Reply> {
    let mut session = Session::over(unix_socket(path), "localhost", "/ws", headers)?;
    session.read_welcome();
    Ok(session)
}

/// By a Unix socket there is all that there is by an address: HTTP, sessions, streams, whose peer is `unix`. Its file
/// has the mode that was asked for, and goes when the gateway goes.
#[test]
fn a_unix_socket_serves_all() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let mut gateway = also_at(&path, Setup::new().server("unix_mode = \"0640\"\ndrain = \"100ms\"")).start();
    assert_eq!(gateway.listen_addresses()[1], format!("unix:{}", path.display()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut session = session_at(&path, &[]).unwrap();
    session.subscribe(&["chat.a"]);
    let mut stream = Stream::open(unix_socket(&path), "/stream?topics=chat.a", &[], "1.1").unwrap();
    let reply = request_over(unix_socket(&path), "localhost", "POST", "/v1/topics/chat.a", &[], b"\"hi\"");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(session.receive()["data"], "hi");
    let mut lines = std::iter::from_fn(|| Some(stream.object()));
    assert_eq!(lines.find(|line| line["op"] == "message").unwrap()["data"], "hi");
    let seen = get(unix_socket(&path), "/v1/sessions").json();
    assert_eq!((&seen["sessions"][0]["address"], &seen["sessions"][1]["address"]), (&json!("unix"), &json!("unix")), "{seen}");
    // A page can't reach it, so names are not looked at as on a loopback address.
    assert_eq!(request_over(unix_socket(&path), "push.example", "GET", "/healthz", &[], b"").status, 200);
    assert_eq!(gateway.request("GET", "/healthz", &[("Host", "push.example")], b"").status, 421);
    gateway.terminate();
    assert_eq!(session.read_to_close().1, 1001);
    assert!(gateway.exit_status().success() && !path.exists());
}

/// The command line reaches it as well.
#[test]
fn the_command_line_takes_a_unix_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let _gateway = also_at(&path, Setup::new()).start();
    let url = format!("unix:{}", path.display());
    let published = belfry(&["pub", "test.a", "7", "--url", &url]);
    assert!(published.status.success(), "{published:?}");
    let heard = belfry(&["sub", "test.a", "--last", "1", "--count", "1", "--url", &url]);
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "7\n", "{heard:?}");
}

/// All who come by a Unix socket are one address, unless `trusted_proxies` names `unix` and the header tells them
/// apart.
#[test]
fn limits_count_a_unix_socket_as_one_address() {
    let folder = TempDir::new().unwrap();
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let limits = "sessions_per_address = 1";
    let (wary, trusting) = (folder.path().join("wary"), folder.path().join("trusting"));
    let _gateway = also_at(&wary, Setup::new().limits(limits)).start();
    let _one = session_at(&wary, &from("192.0.2.1")).unwrap();
    assert_eq!(session_at(&wary, &from("192.0.2.2")).err().unwrap().status, 429);
    let gateway = also_at(&trusting, Setup::new().server("trusted_proxies = [\"unix\"]").limits(limits)).start();
    let _one = session_at(&trusting, &from("192.0.2.1")).unwrap();
    let _two = session_at(&trusting, &from("192.0.2.2")).unwrap();
    assert_eq!(session_at(&trusting, &from("192.0.2.1")).err().unwrap().status, 429);
    // Nobody else may say so.
    let _three = gateway.dial_with("/ws", &from("192.0.2.3")).unwrap();
    assert_eq!(gateway.refusal("/ws", &from("192.0.2.4")).status, 429);
}

/// What a killed gateway left is replaced; a gateway that lives, or a file that is none, keeps the next from starting.
#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let setup = also_at(&path, Setup::new());
    let mut killed = setup.start();
    killed.signal(Signal::KILL);
    killed.exit_status();
    assert!(path.exists());
    let _gateway = setup.start();
    let address = format!("unix:{}", path.display());
    let told = |output: std::process::Output| (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    let (status, said) = told(belfry(&["serve", "--listen", &address]));
    assert!(status == Some(1) && said.contains("another process listens there"), "{said}");
    assert_eq!(get(unix_socket(&path), "/healthz").status, 200);
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let (status, said) = told(belfry(&["serve", "--listen", &format!("unix:{}", file.display())]));
    assert!(status == Some(1) && said.contains("no socket"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

/// A list of addresses is listened at whole.
#[test]
fn several_addresses_are_listened_at() {
    let gateway = Setup::new().argument("--listen").argument("127.0.0.2:0").start();
    let places = gateway.listen_addresses();
    assert!(places.len() == 2 && places[1].starts_with("127.0.0.2:"), "{places:?}");
    for place in places {
        let reply = request_over(TcpStream::connect(&place).unwrap(), &place, "GET", "/readyz", &[], b"");
        assert_eq!(reply.status, 200, "{place}: {reply:?}");
    }
}

/// `admin.listen` takes the same places, with a mode of its own.
#[test]
fn administrators_come_by_a_unix_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("admin.sock");
    let gateway = Setup::new().more(&format!("[admin]\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]", path.display())).start();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for path_of_it in ["/metrics", "/v1/topics", "/v1/sessions"] {
        assert_eq!(gateway.admin(path_of_it).status, 404, "{path_of_it}");
        assert_eq!(get(unix_socket(&path), path_of_it).status, 200, "{path_of_it}");
    }
}

/// A gateway that a supervisor starts: it is passed an address named `public` and a Unix socket named `inner`.
struct Supervised {
    process: Child,
    notified: UnixDatagram,
    folder: TempDir,
}

impl Supervised {
    fn start(configuration: &str, public: TcpListener, inner: UnixListener) -> Self {
        let folder = TempDir::new().unwrap();
        let notified = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notified.set_read_timeout(Some(DEADLINE)).unwrap();
        fs::write(folder.path().join("belfry.toml"), configuration).unwrap();
        let script =
            "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=public:inner exec \"$0\" serve --config belfry.toml 3<&0 4<&1 </dev/null >&2";
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program().get_program()).current_dir(folder.path());
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env_remove("BELFRY_URL");
        command.stdin(Stdio::from(OwnedFd::from(public))).stdout(Stdio::from(OwnedFd::from(inner)));
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        Self { process: command.spawn().unwrap(), notified, folder }
    }

    /// What the supervisor is told next.
    fn told(&self) -> String {
        let mut buffer = [0; 256];
        let told = self.notified.recv(&mut buffer).map(|bytes| String::from_utf8_lossy(&buffer[..bytes]).into_owned());
        told.unwrap_or_else(|error| panic!("the supervisor is told nothing ({error}): {}", self.log()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sockets that were passed on are served by their names, and the supervisor is told of the start, a reload and the
/// end.
#[test]
fn a_supervisor_passes_sockets_and_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("inner.sock");
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = public.local_addr().unwrap().to_string();
    let configuration = "[server]\nlisten = \"systemd\"\ndrain = \"100ms\"\n[admin]\nlisten = \"systemd:inner\"\n";
    let mut gateway = Supervised::start(configuration, public, UnixListener::bind(&path).unwrap());
    assert!(gateway.told().starts_with("READY=1\n"));
    let get = |path: &str| request_over(TcpStream::connect(&address).unwrap(), &address, "GET", path, &[], b"").status;
    assert_eq!((get("/readyz"), get("/metrics")), (200, 404));
    assert_eq!(request_over(unix_socket(&path), "localhost", "GET", "/metrics", &[], b"").status, 200);
    gateway.signal(Signal::HUP);
    let reloading = gateway.told();
    let since_boot = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
    assert!(reloading.starts_with("RELOADING=1\n") && since_boot.is_some(), "{reloading}");
    assert!(gateway.told().starts_with("READY=1\n"));
    gateway.signal(Signal::TERM);
    assert!(gateway.told().starts_with("STOPPING=1\n"));
    assert!(eventually("the gateway to exit", || gateway.process.try_wait().unwrap()).success(), "{}", gateway.log());
    assert!(path.exists(), "the file is the supervisor's");
}

/// A socket that no entry asks for is told of; an entry that finds none keeps the gateway from starting.
#[test]
fn sockets_and_entries_have_to_match() {
    let folder = TempDir::new().unwrap();
    let start = |configuration: &str, name: &str| {
        let inner = UnixListener::bind(folder.path().join(name)).unwrap();
        Supervised::start(configuration, TcpListener::bind("127.0.0.1:0").unwrap(), inner)
    };
    let unused = start("[server]\nlisten = \"systemd:public\"\n", "a");
    assert!(unused.told().starts_with("READY=1\n"));
    eventually("the log to name the other", || unused.log().contains("nothing uses").then_some(()));
    let mut wrong = start("[server]\nlisten = \"systemd:absent\"\n", "b");
    let status = eventually("the gateway to exit", || wrong.process.try_wait().unwrap());
    assert!(status.code() == Some(1) && wrong.log().contains("systemd:absent"), "{}", wrong.log());
    let without = belfry(&["serve", "--listen", "systemd"]);
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(without.status.code() == Some(1) && said.contains("socket unit"), "{said}");
}
