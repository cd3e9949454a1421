//! PROTOCOL 9: the gateway works where its log can't be written.

use std::fs::File;
use std::io::{Write, pipe};
use std::os::fd::OwnedFd;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Setup, eventually};

/// The capacity of a pipe.
const PIPE_BYTES: usize = 64 << 10;

/// Asserts that a reload, a refusal without descriptors, a session and a drain work. Each of them logs a line.
fn expect_working(mut gateway: Gateway, setup: &Setup) {
    let mut session = gateway.session();
    gateway.reload(&setup.clone().more("[endpoints]\n\"/new\" = \"chat.new\""));
    eventually("the reload to take effect", || gateway.dial_with("/new", &[]).ok());
    gateway.forbid_new_descriptors();
    let refused = eventually("an answer without a descriptor", || gateway.dial_with("/ws", &[]).err());
    assert_eq!(refused.status, 503);
    session.send(json!({"op": "ping", "id": 1}));
    session.expect(json!({"op": "pong", "id": 1}));
    drop(session);
    gateway.terminate();
    assert!(gateway.exit_status().success());
}

/// The bug: the gateway panicked at the second line that could not be written.
#[test]
fn the_gateway_works_with_standard_error_closed() {
    let setup = Setup::new().server("drain = \"100ms\"");
    let (reader, writer) = pipe().unwrap();
    let gateway = setup.start_on(writer);
    drop(reader);
    gateway.signal(Signal::HUP);
    eventually("the lines of a reload to be counted", || (gateway.metrics().value("log_suppressed_total") >= 1.0).then_some(()));
    expect_working(gateway, &setup);
}

/// The bug: the gateway panicked at the second line that could not be written.
#[test]
fn the_gateway_works_with_a_full_disk() {
    let setup = Setup::new().server("drain = \"100ms\"");
    let full: OwnedFd = File::options().write(true).open("/dev/full").unwrap().into();
    let gateway = setup.start_on(full);
    gateway.expect_metric("shard_inbox_messages{shard=\"0\"}", 0.0);
    assert!(gateway.metrics().value("log_suppressed_total") >= 1.0);
    expect_working(gateway, &setup);
}

/// The bug: a shard that logged a line waited for a reader of the pipe.
#[test]
fn the_gateway_works_with_a_full_pipe() {
    let setup = Setup::new().server("drain = \"100ms\"").variable("RUST_LOG", "trace");
    let (_reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'\n'; PIPE_BYTES]).unwrap();
    expect_working(setup.start_on(writer), &setup);
}

/// With `log.format = "json"` each line is an object, which has the fields beside the message.
#[test]
fn json_lines_are_objects() {
    let gateway = Setup::new().more("[log]\nformat = \"json\"").start();
    let listening = eventually("the line with the address", || {
        let log = gateway.log();
        let lines: Vec<Value> = log.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter().find(|line| line["message"] == "listening")
    });
    assert_eq!((&listening["level"], &listening["address"]), (&"INFO".into(), &gateway.address().to_string().into()));
    for line in gateway.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"].is_string()), "{line}");
    }
}
