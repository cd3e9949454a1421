//! PROTOCOL 6 and 8: signals during the start, in operation and during a drain.

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
    eventually("the signal handlers", || catches(&process, Signal::HUP).then_some(()));
    (process, file)
}

/// A SIGHUP during the start does not end the process. The bug: it did while the configuration was read.
#[test]
fn a_hangup_during_the_start_does_not_end_the_process() {
    let folder = TempDir::new().unwrap();
    let (mut process, file) = starting(&folder);
    send(&process, Signal::HUP);
    std::fs::write(file, "[server]\ndrain = \"100ms\"\n").unwrap();
    let log_thread = |process: &Child| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).ok()?;
        tasks.flatten().find(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("belfry-log")))
    };
    eventually("the thread of the log, which begins once the configuration is read", || log_thread(&process));
    assert_eq!(process.try_wait().unwrap(), None);
    send(&process, Signal::TERM);
    assert!(eventually("the process to end", || process.try_wait().unwrap()).success());
}

/// SIGTERM ends a start that waits for its configuration.
#[test]
fn a_start_can_be_ended() {
    let folder = TempDir::new().unwrap();
    let (mut process, _file) = starting(&folder);
    send(&process, Signal::TERM);
    assert!(eventually("the process to end", || process.try_wait().unwrap()).success());
}

/// Signals that the gateway does not use are ignored. The bug: they ended the process.
#[test]
fn unused_signals_are_ignored() {
    let mut gateway = Setup::new().server("drain = \"100ms\"").start();
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM] {
        gateway.signal(signal);
        assert_eq!(gateway.get("/healthz").status, 200, "{signal:?}");
    }
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// During a drain the log says how to end it, and a second SIGINT ends it.
#[test]
fn a_second_interrupt_ends_the_drain() {
    let mut gateway = Setup::new().server("drain = \"1h\"").start();
    let _sessions: Vec<_> = (0..3).map(|_| gateway.session()).collect();
    gateway.signal(Signal::INT);
    eventually("the hint in the log", || gateway.log().contains("a second SIGINT or SIGTERM drops").then_some(()));
    gateway.signal(Signal::INT);
    assert!(gateway.exit_status().success());
}

/// On a terminal, SIGINT closes idle sessions without a spread. The bug: the closes were spread over a second.
///
/// The bound leaves room for a busy machine, and so do three tries. A spread over a second would keep it once in 10^8 runs.
#[test]
fn an_interrupt_on_a_terminal_closes_without_a_spread() {
    let times: Vec<_> = (0..3).map(|_| interrupt_on_a_terminal()).take_while(|took| *took >= Duration::from_millis(800)).collect();
    assert!(times.len() < 3, "{times:?}");
}

/// The time from a SIGINT until 100 sessions are closed.
fn interrupt_on_a_terminal() -> Duration {
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
    assert!(gateway.exit_status().success());
    took
}
