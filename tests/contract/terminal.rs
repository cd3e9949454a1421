//! PROTOCOL 8: commands on a terminal, and interrupted commands.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::gateway::{Gateway, Setup, eventually, program, within};

/// The sequence by which `top` leaves the alternate screen.
const LEAVE_ALTERNATE_SCREEN: &str = "\u{1b}[?1049l";

/// A command on a pseudo-terminal of its own.
struct OnTerminal {
    child: Child,
    control: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    fn start(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&control).unwrap();
        unlockpt(&control).unwrap();
        tcsetwinsize(&control, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&control, Vec::new()).unwrap();
        let terminal = || Stdio::from(OwnedFd::from(File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap()));
        let child = program().args(arguments).stdin(terminal()).stdout(terminal()).stderr(terminal()).spawn().unwrap();
        let (control, shown) = (File::from(control), Arc::new(Mutex::new(Vec::new())));
        let (mut output, kept) = (control.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                kept.lock().unwrap().extend(&bytes[..read]);
            }
        });
        Self { child, control, shown }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn expect(&self, text: &str) {
        eventually(text, || self.shown().contains(text).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn press(&self, keys: &str) {
        (&self.control).write_all(keys.as_bytes()).unwrap();
    }

    fn status(&mut self) -> ExitStatus {
        eventually("the command to end", || self.child.try_wait().unwrap())
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn top(gateway: &Gateway, columns: u16, rows: u16) -> OnTerminal {
    OnTerminal::start(&["top", "--url", &gateway.address().to_string(), "--token", "admin-key"], columns, rows)
}

/// `top` restores the terminal at its end. The bug: after SIGTERM and SIGHUP the terminal kept `top`'s screen, without echo.
#[test]
fn top_restores_the_terminal() {
    let gateway = Gateway::start();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut top = top(&gateway, 80, 24);
        top.expect("sessions");
        top.signal(signal);
        assert!(top.status().success(), "{signal:?}");
        top.expect(LEAVE_ALTERNATE_SCREEN);
    }
    for keys in ["q", "\u{3}"] {
        let mut top = top(&gateway, 80, 24);
        top.expect("sessions");
        top.press(keys);
        assert!(top.status().success(), "{keys:?}");
        top.expect(LEAVE_ALTERNATE_SCREEN);
    }
}

/// `top` works on a terminal of any size, and of unknown size.
#[test]
fn top_fits_any_terminal() {
    let gateway = Gateway::start();
    for (columns, rows) in [(1, 1), (20, 3), (39, 10), (0, 0)] {
        let mut top = top(&gateway, columns, rows);
        top.expect("\u{1b}[?1049h");
        top.press("\tsrp jk");
        top.press("q");
        assert!(top.status().success(), "{columns}×{rows}: {}", top.shown());
    }
}

/// SIGTERM ends a start that waits for a reader of its port file. The bug: it did not.
#[test]
fn a_start_that_waits_for_a_pipe_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = program();
    command.arg("serve").arg(format!("--listen=unix:{}", socket.display())).arg("--port-file").arg(&pipe);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the socket to be listened at", || UnixStream::connect(&socket).ok());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = eventually("the gateway to end", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// `top` reads keys while it waits for a table. The bug: it read none for up to ten seconds.
#[test]
fn top_reads_keys_while_the_gateway_does_not_answer() {
    let gateway = Gateway::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let accept = |what| {
        let stream = eventually(what, || listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream
    };
    let url = listener.local_addr().unwrap().to_string();
    let mut top = OnTerminal::start(&["top", "--url", &url, "--token", "admin-key"], 80, 24);
    let (near, far) = (accept("the session"), TcpStream::connect(gateway.address()).unwrap());
    for (mut source, mut target) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
        std::thread::spawn(move || std::io::copy(&mut source, &mut target));
    }
    let _unanswered = accept("a request for a table");
    top.press("q");
    assert!(top.status().success());
}

/// `top` reconnects after a restart of the gateway. The bug: it ended.
#[test]
fn top_reconnects_after_a_restart() {
    // No other test listens on this loopback address, so its port stays free during the restart.
    let address = TcpListener::bind("127.83.7.1:0").unwrap().local_addr().unwrap().to_string();
    let setup = Setup::new().server("drain = \"100ms\"").argument(&format!("--listen={address}"));
    let mut gateway = setup.start();
    let both = [&["top", "--token", "admin-key", "--url", &address][..], &["top", "--plain", "--url", &address]]
        .map(|arguments| OnTerminal::start(arguments, 110, 24));
    both.iter().for_each(|top| top.expect("sessions"));
    gateway.terminate();
    assert!(gateway.exit_status().success());
    both.iter().for_each(|top| top.expect("reconnecting"));
    let _again = setup.start();
    for top in both {
        // The pauses between attempts grow to ten seconds.
        within(Duration::from_secs(30), "the new gateway's figures", || {
            top.shown().rsplit("reconnecting").next()?.contains("up ").then_some(())
        });
    }
}

/// An interrupted `pub` reports what it has published, and exits with 1. The bug: it reported nothing, and exited with
/// 0.
#[test]
fn an_interrupted_pub_reports_what_it_published() {
    let gateway = Gateway::start();
    let mut child = program()
        .args(["pub", "chat.a", "--url", &gateway.address().to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap(); // Kept open, so that `pub` waits for more.
    input.write_all(b"1\n2\n").unwrap();
    gateway.expect_metric("messages_published_total{rule=\"chat.>\",source=\"session\"}", 2.0);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("interrupted: ") && errors.contains(" published"), "{errors}");
}

/// Without DATA, `pub` on a terminal prompts for input.
#[test]
fn pub_prompts_on_a_terminal() {
    let gateway = Gateway::start();
    let address = gateway.address().to_string();
    let mut publisher = OnTerminal::start(&["pub", "chat.a", "--url", &address], 80, 24);
    publisher.expect("end with Ctrl-D");
    publisher.press("hello\n\u{4}");
    assert!(publisher.status().success());
    publisher.expect("1 message published");
}
