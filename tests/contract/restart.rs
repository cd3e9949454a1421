//! `[store]`: a planned restart keeps every topic; any other end begins new epochs (PROTOCOL section 1).

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

/// Stops a gateway as an operator does.
fn stop(mut gateway: Gateway) {
    gateway.terminate();
    assert!(gateway.exit_status().success(), "{}", gateway.log());
}

/// What a client that was at `position` is told when it comes back.
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

/// A client that comes back after a planned restart has every message once and in order, and offsets go on.
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

/// The file is gone once it was read, so a crash never finds it: new epochs, and nobody is told `recovered:true` falsely.
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
    let anew = gateway.publish(TOPIC, "x");
    assert_ne!(anew.epoch, first.epoch);
    assert_eq!(resume(&gateway, &newest), subscribed(&anew, false));
}

/// Without `[store]` a planned restart ends every topic, as before.
#[test]
fn without_a_store_a_restart_begins_new_epochs() {
    let gateway = Setup::new().server("drain = \"100ms\"").start();
    let first = gateway.publish(TOPIC, "1");
    stop(gateway);
    assert_ne!(Setup::new().start().publish(TOPIC, "1").epoch, first.epoch);
}

/// One byte that is not as it was written: nothing of the file counts, the log says so, and the file is kept aside.
#[test]
fn a_damaged_file_is_refused_whole() {
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
    eventually("the log to tell of it", || {
        let log = gateway.log();
        (log.contains("a checksum in it is wrong") && log.contains("new epochs")).then_some(())
    });
    assert_ne!(gateway.publish(TOPIC, "1").epoch, first.epoch);
    assert!(folder.path().join("topics.damaged").exists());
}

/// Messages go on ageing while the gateway is down.
#[test]
fn what_has_grown_too_old_meanwhile_is_not_replayed() {
    let folder = TempDir::new().unwrap();
    let setup = setup(folder.path()).rule(TOPIC, "history = 10\nhistory_ttl = \"300ms\"");
    let gateway = setup.start();
    let newest = gateway.publish_all(TOPIC, ["1", "2"]);
    stop(gateway);
    let published = std::time::Instant::now();
    eventually("the messages to be too old", || (published.elapsed().as_millis() > 300).then_some(()));
    let gateway = setup.start();
    assert_eq!(resume(&gateway, &newest.at(1)), subscribed(&newest, false), "the offset stays, the history does not");
}

/// Two gateways on one folder would each hand out the other's offsets.
#[test]
fn a_second_gateway_on_the_folder_does_not_start() {
    let folder = TempDir::new().unwrap();
    let _first = setup(folder.path()).start();
    let dir = format!("store.dir={}", folder.path().display());
    let second = program().args(["serve", "--listen", "127.0.0.1:0", "--set", &dir]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("store.dir") && said.contains("used by another gateway"), "{said}");
}

/// `check` tries the folder.
#[test]
fn check_tries_the_folder() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "").unwrap();
    let dir = format!("store.dir={}", file.join("store").display());
    let checked = program().args(["check", "--set", &dir]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("store.dir") && said.contains("name a folder that this user may write to"), "{said}");
}
