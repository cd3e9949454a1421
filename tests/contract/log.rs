//! The log decides over nothing: whatever becomes of its lines, the gateway does what it is asked (PROTOCOL 9).

use std::fs::File;
use std::io::{Write, pipe};
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Setup, eventually};

/// What a pipe holds before it is full.
const PIPE_BYTES: usize = 64 << 10;

/// Each of these panicked, and ended the process or closed the listener, where a line could not be written.
fn expect_all_works(mut gateway: Gateway, setup: &Setup) {
    let mut session = gateway.session();
    gateway.reload(&setup.clone().more("[endpoints]\n\"/new\" = \"chat.new\""));
    eventually("the reload to hold", || gateway.dial_with("/new", &[]).ok());
    gateway.forbid_new_descriptors();
    let refused = eventually("an answer without a descriptor", || gateway.dial_with("/ws", &[]).err());
    assert_eq!(refused.status, 503);
    session.send(json!({"op": "ping", "id": 1}));
    session.expect(json!({"op": "pong", "id": 1}));
    drop(session);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// The bug: the second line that could not be written was a panic.
#[test]
fn a_closed_standard_error_is_no_end() {
    let setup = Setup::new().server("drain = \"100ms\"");
    let (reader, writer) = pipe().unwrap();
    let gateway = setup.start_on(writer);
    drop(reader);
    gateway.signal(Signal::HUP);
    eventually("the lines of a reload to be counted", || (gateway.metrics().value("log_suppressed_total") >= 1.0).then_some(()));
    expect_all_works(gateway, &setup);
}

#[test]
fn a_full_disk_is_no_end() {
    let setup = Setup::new().server("drain = \"100ms\"");
    let full: OwnedFd = File::options().write(true).open("/dev/full").unwrap().into();
    let gateway = setup.start_on(full);
    gateway.expect_metric("shard_inbox_messages{shard=\"0\"}", 0.0);
    assert!(gateway.metrics().value("log_suppressed_total") >= 1.0);
    expect_all_works(gateway, &setup);
}

/// The bug: a shard that had a line to write waited for whoever was to read it.
#[test]
fn a_pipe_that_nobody_reads_holds_nobody_up() {
    let setup = Setup::new().server("drain = \"100ms\"").variable("RUST_LOG", "trace");
    let (_reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'\n'; PIPE_BYTES]).unwrap();
    expect_all_works(setup.start_on(writer), &setup);
}

/// `log.format = "json"`: an object a line, the fields beside the message.
#[test]
fn lines_are_objects_where_asked_for() {
    let gateway = Setup::new().more("[log]\nformat = \"json\"").start();
    let listening = eventually("the line that tells the address", || {
        let log = gateway.log();
        let lines: Vec<Value> = log.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter().find(|line| line["message"] == "listening")
    });
    assert_eq!((&listening["level"], &listening["address"]), (&"INFO".into(), &gateway.address().to_string().into()));
    for line in gateway.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"].is_string()), "{line}");
    }
}
