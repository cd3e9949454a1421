//! Signals: from the first moment on, and what each asks for (PROTOCOL 6 and 8).

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::gateway::{Gateway, Setup, close, eventually, program};

fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap(), signal).unwrap();
}

/// Whether the process has a handler for a signal.
fn catches(process: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
    caught.is_some_and(|caught| caught >> (signal.as_raw() - 1) & 1 == 1)
}

/// A gateway whose configuration is a pipe that nobody has written to yet.
fn starting(folder: &TempDir) -> (Child, std::path::PathBuf) {
    let file = folder.path().join("belfry.toml");
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut command: Command = program();
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the handlers to stand before the configuration is read", || catches(&process, Signal::HUP).then_some(()));
    (process, file)
}

/// The bug: a SIGHUP ended the process while it was reading its configuration.
#[test]
fn a_reload_ordered_too_early_ends_nothing() {
    let folder = TempDir::new().unwrap();
    let (mut process, file) = starting(&folder);
    send(&process, Signal::HUP);
    std::fs::write(file, "[server]\ndrain = \"100ms\"\n").unwrap();
    let listens = |process: &Child| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).ok()?;
        tasks.flatten().find(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("belfry-log")))
    };
    eventually("the configuration to be read and the log to begin", || listens(&process));
    assert_eq!(process.try_wait().unwrap(), None);
    send(&process, Signal::TERM);
    assert!(eventually("it to end", || process.try_wait().unwrap()).success());
}

/// A start that can't end by itself is ended by SIGTERM.
#[test]
fn a_start_can_be_ended() {
    let folder = TempDir::new().unwrap();
    let (mut process, _file) = starting(&folder);
    send(&process, Signal::TERM);
    assert!(eventually("it to end", || process.try_wait().unwrap()).success());
}

/// The bug: a signal that means nothing to the gateway ended it.
#[test]
fn signals_without_meaning_are_passed_over() {
    let mut gateway = Setup::new().server("drain = \"100ms\"").start();
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
        gateway.signal(signal);
        assert_eq!(gateway.get("/healthz").status, 200, "{signal:?}");
    }
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// Whoever waits for a drain learns how to end it.
#[test]
fn a_second_interrupt_is_told_of_and_ends_the_drain() {
    let mut gateway = Setup::new().server("drain = \"1h\"").start();
    let _sessions: Vec<_> = (0..3).map(|_| gateway.session()).collect();
    gateway.signal(Signal::INT);
    eventually("the way out to be told", || gateway.log().contains("a second SIGINT or SIGTERM drops").then_some(()));
    gateway.signal(Signal::INT);
    assert!(gateway.exit_status().success());
}

/// The bug: with idle sessions alone, a Ctrl-C on a terminal took a second, spread for clients that would all come back at once. (The bound
/// is for a busy machine; a hundred random moments within a second would pass it once in 10^9 runs.)
#[test]
fn an_interrupt_on_a_terminal_is_quick() {
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let name = ptsname(&control, Vec::new()).unwrap();
    let terminal = std::fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut gateway: Gateway = Setup::new().server("drain = \"1h\"").start_on(terminal);
    let sessions: Vec<_> = (0..100).map(|_| gateway.session()).collect();
    let began = Instant::now();
    gateway.signal(Signal::INT);
    for mut session in sessions {
        assert_eq!(session.read_to_close().1, 1001);
        session.send_frame(close(1001));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(800), "{took:?}");
    assert!(gateway.exit_status().success());
}
