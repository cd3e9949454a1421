//! PROTOCOL 1: with `[store]` a planned restart keeps every topic. After any other end the epochs are new.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tempfile::TempDir;

use super::gateway::{Gateway, Position, Setup, eventually, program, replayed};

const TOPIC: &str = "chat.lobby";

fn setup(folder: &Path) -> Setup {
    Setup::new().server("drain = \"100ms\"").more(&format!("[store]\ndir = {:?}", folder.display().to_string()))
}

/// Stops a gateway by SIGTERM.
fn stop(mut gateway: Gateway) {
    gateway.terminate();
    assert!(gateway.exit_status().success(), "{}", gateway.log());
}

/// The answer to a client that resumes from `position`.
fn resume(gateway: &Gateway, position: &Position) -> serde_json::Value {
    gateway.session().ask(since(position))
}

fn since(position: &Position) -> serde_json::Value {
    json!({"op": "subscribe", "id": 1, "topics": [TOPIC], "since": {TOPIC: position.json()}})
}

fn subscribed(position: &Position, recovered: bool) -> serde_json::Value {
    let topic = json!({"topic": TOPIC, "epoch": position.epoch, "offset": position.offset, "recovered": recovered});
    json!({"op": "subscribed", "id": 1, "topics": [topic]})
}

/// After a planned restart a client gets every missed message once and in order. Offsets continue.
#[test]
fn a_planned_restart_keeps_epochs_offsets_and_histories() {
    let folder = TempDir::new().unwrap();
    let setup = setup(folder.path());
    let gateway = setup.start();
    let newest = gateway.publish_all(TOPIC, ["1", "2", "3"]);
    stop(gateway);
    let gateway = setup.start();
    assert!(gateway.metrics().value("store_recovered_topics{epoch=\"kept\"}") >= 1.0);
    let mut session = gateway.session();
    assert_eq!(session.ask(since(&newest.at(1))), subscribed(&newest, true));
    session.expect_all([replayed(TOPIC, &newest.at(2), 2), replayed(TOPIC, &newest.at(3), 3)]);
    assert_eq!(gateway.publish(TOPIC, "4"), newest.at(4));
}

/// The start deletes the file that it has read. So a gateway that starts after a crash has new epochs, and reports no
/// recovery that misses messages.
#[test]
fn a_kill_after_a_planned_restart_begins_new_epochs() {
    let folder = TempDir::new().unwrap();
    let setup = setup(folder.path());
    let gateway = setup.start();
    let first = gateway.publish_all(TOPIC, ["1", "2"]);
    stop(gateway);
    let killed = setup.start();
    let newest = killed.publish(TOPIC, "3");
    assert_eq!(newest, first.at(3));
    drop(killed);
    let gateway = setup.start();
    let restarted = gateway.publish(TOPIC, "x");
    assert_ne!(restarted.epoch, first.epoch);
    assert_eq!(resume(&gateway, &newest), subscribed(&restarted, false));
}

/// Without `[store]` a planned restart begins new epochs.
#[test]
fn without_a_store_a_restart_begins_new_epochs() {
    let gateway = Setup::new().server("drain = \"100ms\"").start();
    let first = gateway.publish(TOPIC, "1");
    stop(gateway);
    assert_ne!(Setup::new().start().publish(TOPIC, "1").epoch, first.epoch);
}

/// A file with one changed byte is not used. The log reports it, and the file is renamed.
#[test]
fn a_damaged_file_is_not_used() {
    let folder = TempDir::new().unwrap();
    let gateway = setup(folder.path()).start();
    let first = gateway.publish_all(TOPIC, ["1", "2"]);
    stop(gateway);
    let file = folder.path().join("topics");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let gateway = setup(folder.path()).start();
    eventually("the damage in the log", || {
        let log = gateway.log();
        (log.contains("a checksum in it is wrong") && log.contains("new epochs")).then_some(())
    });
    assert_ne!(gateway.publish(TOPIC, "1").epoch, first.epoch);
    assert!(folder.path().join("topics.damaged").exists());
}

/// `history_ttl` counts the time while the gateway is down.
#[test]
fn messages_expire_while_the_gateway_is_down() {
    let folder = TempDir::new().unwrap();
    let setup = setup(folder.path()).rule(TOPIC, "history = 10\nhistory_ttl = \"300ms\"");
    let gateway = setup.start();
    let newest = gateway.publish_all(TOPIC, ["1", "2"]);
    stop(gateway);
    let published = std::time::Instant::now();
    eventually("the messages to expire", || (published.elapsed().as_millis() > 300).then_some(()));
    let gateway = setup.start();
    assert_eq!(resume(&gateway, &newest.at(1)), subscribed(&newest, false), "the position is kept, the history has expired");
}

/// A second gateway on one folder does not start, because both would assign the same offsets.
#[test]
fn a_second_gateway_on_the_folder_does_not_start() {
    let folder = TempDir::new().unwrap();
    let _first = setup(folder.path()).start();
    let dir = format!("store.dir={}", folder.path().display());
    let second = program().args(["serve", "--listen", "127.0.0.1:0", "--set", &dir]).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{errors}");
    assert!(errors.contains("store.dir") && errors.contains("used by another gateway"), "{errors}");
}

/// PROTOCOL 8: `check` reports a folder that can't be written.
#[test]
fn check_reports_an_unusable_folder() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "").unwrap();
    let dir = format!("store.dir={}", file.join("store").display());
    let checked = program().args(["check", "--set", &dir]).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{errors}");
    assert!(errors.contains("store.dir") && errors.contains("name a folder that this user may write to"), "{errors}");
}
