//! PROTOCOL 8: listeners: several addresses, Unix sockets, and sockets passed by a supervisor.

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

/// `setup` with the Unix socket `path` as a further listener.
fn listening_at(path: &Path, setup: Setup) -> Setup {
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

/// A Unix socket serves HTTP, sessions and streams; the address of its peers is `unix`. The socket's file has the
/// configured mode, and is removed when the gateway exits.
#[test]
fn a_unix_socket_serves_http_sessions_and_streams() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let mut gateway = listening_at(&path, Setup::new().server("unix_mode = \"0640\"\ndrain = \"100ms\"")).start();
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
    let listed = get(unix_socket(&path), "/v1/sessions").json();
    assert_eq!((&listed["sessions"][0]["address"], &listed["sessions"][1]["address"]), (&json!("unix"), &json!("unix")), "{listed}");
    // A page can't reach a Unix socket, so `Host` is not checked there as on a loopback address.
    assert_eq!(request_over(unix_socket(&path), "push.example", "GET", "/healthz", &[], b"").status, 200);
    assert_eq!(gateway.request("GET", "/healthz", &[("Host", "push.example")], b"").status, 421);
    gateway.terminate();
    assert_eq!(session.read_to_close().1, 1001);
    assert!(gateway.exit_status().success() && !path.exists());
}

/// The commands `pub` and `sub` accept a Unix socket as `--url`.
#[test]
fn the_command_line_takes_a_unix_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let _gateway = listening_at(&path, Setup::new()).start();
    let url = format!("unix:{}", path.display());
    let published = belfry(&["pub", "test.a", "7", "--url", &url]);
    assert!(published.status.success(), "{published:?}");
    let received = belfry(&["sub", "test.a", "--last", "1", "--count", "1", "--url", &url]);
    assert_eq!(String::from_utf8_lossy(&received.stdout), "7\n", "{received:?}");
}

/// All peers of a Unix socket have one address for limits. Where `trusted_proxies` has `unix`, the forwarded address
/// counts.
#[test]
fn limits_count_a_unix_socket_as_one_address() {
    let folder = TempDir::new().unwrap();
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let limits = "sessions_per_address = 1";
    let (untrusting, trusting) = (folder.path().join("untrusting"), folder.path().join("trusting"));
    let _gateway = listening_at(&untrusting, Setup::new().limits(limits)).start();
    let _one = session_at(&untrusting, &from("192.0.2.1")).unwrap();
    assert_eq!(session_at(&untrusting, &from("192.0.2.2")).err().unwrap().status, 429);
    let gateway = listening_at(&trusting, Setup::new().server("trusted_proxies = [\"unix\"]").limits(limits)).start();
    let _one = session_at(&trusting, &from("192.0.2.1")).unwrap();
    let _two = session_at(&trusting, &from("192.0.2.2")).unwrap();
    assert_eq!(session_at(&trusting, &from("192.0.2.1")).err().unwrap().status, 429);
    // A peer of the TCP listener is no trusted proxy.
    let _three = gateway.dial_with("/ws", &from("192.0.2.3")).unwrap();
    assert_eq!(gateway.refusal("/ws", &from("192.0.2.4")).status, 429);
}

/// The socket of a killed gateway is replaced. The socket of a running gateway, or another file, prevents the start.
#[test]
fn only_a_stale_socket_is_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("belfry.sock");
    let setup = listening_at(&path, Setup::new());
    let mut killed = setup.start();
    killed.signal(Signal::KILL);
    killed.exit_status();
    assert!(path.exists());
    let _gateway = setup.start();
    let address = format!("unix:{}", path.display());
    let serve = |address: &str| {
        let output = belfry(&["serve", "--listen", address]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, errors) = serve(&address);
    assert!(status == Some(1) && errors.contains("another process listens there"), "{errors}");
    assert_eq!(get(unix_socket(&path), "/healthz").status, 200);
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let (status, errors) = serve(&format!("unix:{}", file.display()));
    assert!(status == Some(1) && errors.contains("no socket"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

/// The gateway listens at each address of a list.
#[test]
fn several_addresses_are_listened_at() {
    let gateway = Setup::new().argument("--listen").argument("127.0.0.2:0").start();
    let addresses = gateway.listen_addresses();
    assert!(addresses.len() == 2 && addresses[1].starts_with("127.0.0.2:"), "{addresses:?}");
    for address in addresses {
        let reply = request_over(TcpStream::connect(&address).unwrap(), &address, "GET", "/readyz", &[], b"");
        assert_eq!(reply.status, 200, "{address}: {reply:?}");
    }
}

/// `admin.listen` may be a list, and may have Unix sockets, whose mode is 0600.
#[test]
fn the_admin_listener_may_be_a_unix_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("admin.sock");
    let gateway = Setup::new().more(&format!("[admin]\nlisten = [\"unix:{}\", \"127.0.0.1:0\"]", path.display())).start();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for target in ["/metrics", "/v1/topics", "/v1/sessions"] {
        assert_eq!(gateway.admin(target).status, 404, "{target}");
        assert_eq!(get(unix_socket(&path), target).status, 200, "{target}");
    }
}

/// A gateway that a supervisor starts. The supervisor passes a TCP listener named `public` and a Unix socket named
/// `inner`.
struct Supervised {
    process: Child,
    notifications: UnixDatagram,
    folder: TempDir,
}

impl Supervised {
    fn start(configuration: &str, public: TcpListener, inner: UnixListener) -> Self {
        let folder = TempDir::new().unwrap();
        let notifications = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(DEADLINE)).unwrap();
        fs::write(folder.path().join("belfry.toml"), configuration).unwrap();
        let script =
            "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=public:inner exec \"$0\" serve --config belfry.toml 3<&0 4<&1 </dev/null >&2";
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program().get_program()).current_dir(folder.path());
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env_remove("BELFRY_URL");
        command.stdin(Stdio::from(OwnedFd::from(public))).stdout(Stdio::from(OwnedFd::from(inner)));
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        Self { process: command.spawn().unwrap(), notifications, folder }
    }

    /// The next notification to the supervisor.
    fn notification(&self) -> String {
        let mut buffer = [0; 256];
        let received = self.notifications.recv(&mut buffer).map(|bytes| String::from_utf8_lossy(&buffer[..bytes]).into_owned());
        received.unwrap_or_else(|error| panic!("no notification ({error}): {}", self.log()))
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

/// Passed sockets serve the listeners that name them. The supervisor is notified of the start, of a reload and of the
/// end.
#[test]
fn a_supervisor_passes_sockets_and_is_notified() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("inner.sock");
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = public.local_addr().unwrap().to_string();
    let configuration = "[server]\nlisten = \"systemd\"\ndrain = \"100ms\"\n[admin]\nlisten = \"systemd:inner\"\n";
    let mut gateway = Supervised::start(configuration, public, UnixListener::bind(&path).unwrap());
    assert!(gateway.notification().starts_with("READY=1\n"));
    let get = |path: &str| request_over(TcpStream::connect(&address).unwrap(), &address, "GET", path, &[], b"").status;
    assert_eq!((get("/readyz"), get("/metrics")), (200, 404));
    assert_eq!(request_over(unix_socket(&path), "localhost", "GET", "/metrics", &[], b"").status, 200);
    gateway.signal(Signal::HUP);
    let reloading = gateway.notification();
    let since_boot = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
    assert!(reloading.starts_with("RELOADING=1\n") && since_boot.is_some(), "{reloading}");
    assert!(gateway.notification().starts_with("READY=1\n"));
    gateway.signal(Signal::TERM);
    assert!(gateway.notification().starts_with("STOPPING=1\n"));
    assert!(eventually("the gateway to exit", || gateway.process.try_wait().unwrap()).success(), "{}", gateway.log());
    assert!(path.exists(), "the gateway must not remove the supervisor's file");
}

/// A passed socket that no listener names is logged. A listener whose socket was not passed prevents the start.
#[test]
fn passed_sockets_and_listeners_must_match() {
    let folder = TempDir::new().unwrap();
    let start = |configuration: &str, name: &str| {
        let inner = UnixListener::bind(folder.path().join(name)).unwrap();
        Supervised::start(configuration, TcpListener::bind("127.0.0.1:0").unwrap(), inner)
    };
    let unused = start("[server]\nlisten = \"systemd:public\"\n", "a");
    assert!(unused.notification().starts_with("READY=1\n"));
    eventually("the log to name the unused socket", || unused.log().contains("nothing uses").then_some(()));
    let mut wrong = start("[server]\nlisten = \"systemd:absent\"\n", "b");
    let status = eventually("the gateway to exit", || wrong.process.try_wait().unwrap());
    assert!(status.code() == Some(1) && wrong.log().contains("systemd:absent"), "{}", wrong.log());
    let without = belfry(&["serve", "--listen", "systemd"]);
    let errors = String::from_utf8_lossy(&without.stderr);
    assert!(without.status.code() == Some(1) && errors.contains("socket unit"), "{errors}");
}
