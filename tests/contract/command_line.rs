//! PROTOCOL 8: the commands `pub`, `sub` and `token`.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};

use serde_json::json;

use crate::gateway::{DEADLINE, Gateway, SECRET, belfry, found_within, program, replayed, token};

fn url(gateway: &Gateway) -> String {
    format!("ws://{}/ws", gateway.address())
}

fn start(arguments: &[&str]) -> Child {
    program().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a command. One that does not end in time is killed.
fn end(mut child: Child) -> Output {
    drop(child.stdin.take());
    let ended = found_within(DEADLINE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_some(), "the command did not end: {output:?}");
    output
}

fn history(gateway: &Gateway, topic: &str) -> Vec<String> {
    let history = gateway.admin(&format!("/v1/topics/{topic}/history")).json();
    history["messages"].as_array().unwrap().iter().map(|message| message["data"].to_string()).collect()
}

/// PROTOCOL 8: `belfry --version`.
#[test]
fn the_version_is_printed() {
    let output = belfry(&["--version"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("belfry {}", env!("CARGO_PKG_VERSION")));
}

/// PROTOCOL 8: `belfry pub TOPIC DATA` publishes DATA byte for byte if it is JSON, else as a JSON string.
#[test]
fn pub_publishes_its_data() {
    let gateway = Gateway::start();
    for data in ["{\"p\": 1.50}", "hello"] {
        let output = end(start(&["pub", "chat.a", data, "--url", &url(&gateway)]));
        assert!(output.status.success(), "{output:?}");
    }
    let text = gateway.admin("/v1/topics/chat.a/history").text();
    assert!(text.contains("\"data\":{\"p\": 1.50}") && text.contains("\"data\":\"hello\""), "{text}");
}

/// PROTOCOL 8: `belfry pub TOPIC` and `belfry pub TOPIC -` publish each line of standard input, and end once all are
/// acknowledged.
#[test]
fn pub_reads_lines() {
    let gateway = Gateway::start();
    for (topic, arguments) in [("chat.a", &["pub", "chat.a"][..]), ("chat.b", &["pub", "chat.b", "-"])] {
        let mut child = start(&[arguments, &["--url", &url(&gateway)]].concat());
        child.stdin.as_mut().unwrap().write_all(b"1\n\"two\"\nthree\n").unwrap();
        assert!(end(child).status.success());
        assert_eq!(history(&gateway, topic), ["1", "\"two\"", "\"three\""]);
    }
}

/// PROTOCOL 8: `belfry sub --json --count N` prints N events as received, and ends.
#[test]
fn sub_prints_events() {
    let gateway = Gateway::start();
    let position = gateway.publish_all("chat.a", ["1", "{\"p\": 1.50}"]);
    let output = end(start(&["sub", "chat.a", "--url", &url(&gateway), "--last", "2", "--count", "2", "--json"]));
    let text = gateway.positions().with_ordinals(&String::from_utf8(output.stdout).unwrap(), None);
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events, [replayed("chat.a", &position.at(1), 1), replayed("chat.a", &position, json!({"p": 1.5}))]);
    assert!(output.status.success() && text.contains("{\"p\": 1.50}"), "{text}");
}

/// PROTOCOL 8: `belfry sub` prints each message of its topics and patterns on a line, live messages too.
#[test]
fn sub_prints_a_message_a_line() {
    let gateway = Gateway::start();
    let child = start(&["sub", "chat.a", "test.>", "--url", &url(&gateway), "--count", "2"]);
    gateway.expect_metric("subscriptions", 2.0);
    gateway.publish("chat.a", "\"hello\"");
    gateway.publish("test.a", "42");
    let output = end(child);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(output.status.success() && lines.len() == 2, "{text}");
    assert!(text.contains("hello") && text.contains("42"), "{text}");
}

/// PROTOCOL 8: `pub` and `sub` have the grants of `--token`.
#[test]
fn a_token_is_sent_to_the_gateway() {
    let gateway = Gateway::start();
    let token = token("alice", &["private.>"], &["private.>"]);
    let output = end(start(&["pub", "private.a", "1", "--url", &url(&gateway), "--token", &token]));
    assert!(output.status.success(), "{output:?}");
    let output = end(start(&["sub", "private.a", "--url", &url(&gateway), "--token", &token, "--last", "1", "--count", "1"]));
    assert!(output.status.success(), "{output:?}");
}

/// PROTOCOL 8: a command that fails exits with 1, and one line on standard error.
#[test]
fn a_failure_is_one_line() {
    let gateway = Gateway::start();
    let nowhere = "ws://127.0.0.1:1/ws";
    let url = url(&gateway);
    for arguments in
        [&["pub", "private.a", "1", "--url", &url][..], &["pub", "chat.a", "1", "--url", nowhere], &["sub", "private.a", "--url", &url]]
    {
        let output = end(start(arguments));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{arguments:?}: {errors}");
    }
}

/// PROTOCOL 8: `belfry token` prints a JWT that the gateway accepts.
#[test]
fn a_token_is_printed() {
    let gateway = Gateway::start();
    let output = belfry(&[
        "token",
        "--secret",
        SECRET,
        "--sub",
        "alice",
        "--subscribe",
        "private.a",
        "--subscribe",
        "private.b",
        "--publish",
        "private.>",
        "--ttl",
        "1h",
    ]);
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let mut session = gateway.session();
    let reply = session.ask(json!({"op": "auth", "id": 1, "token": token.trim()}));
    let left = reply["expires"].as_u64().unwrap() - crate::gateway::unix_seconds();
    assert!(reply["user"] == "alice" && (3500..=3600).contains(&left), "{reply}");
    session.subscribe(&["private.a", "private.b"]);
    session.send(json!({"op": "subscribe", "id": 2, "topics": ["private.c"]}));
    session.expect_error(2, "not_allowed");
}

/// Accepts one connection and relays it to the gateway. The connection is cut on drop of the relay.
fn relay(listener: &TcpListener, gateway: &Gateway) -> Relay {
    let (near, _) = listener.accept().unwrap();
    let far = TcpStream::connect(gateway.address()).unwrap();
    for (source, target) in [(&near, &far), (&far, &near)] {
        let (mut source, mut target) = (source.try_clone().unwrap(), target.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut source, &mut target));
    }
    Relay(near, far)
}

struct Relay(TcpStream, TcpStream);

impl Drop for Relay {
    fn drop(&mut self) {
        [&self.0, &self.1].into_iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    }
}

/// PROTOCOL 8: `belfry sub` reconnects after its connection was cut and resumes by offset. No message is missing or
/// comes twice.
#[test]
fn sub_resumes_by_offset() {
    let gateway = Gateway::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let mut child = start(&["sub", "chat.a", "--url", &url, "--count", "4", "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = relay(&listener, &gateway);
    gateway.expect_metric("subscriptions", 1.0);
    gateway.publish_all("chat.a", ["1", "2"]);
    let mut printed: Vec<_> = lines.by_ref().take(2).map(Result::unwrap).collect();
    drop(first);
    gateway.publish_all("chat.a", ["3", "4"]);
    let _second = relay(&listener, &gateway);
    printed.extend(lines.map(Result::unwrap));
    printed.iter_mut().for_each(|line| *line = gateway.positions().with_ordinals(line, None));
    assert!(end(child).status.success());
    let offset = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_u64().unwrap();
    assert_eq!(printed.iter().map(offset).collect::<Vec<_>>(), [1, 2, 3, 4]);
}
