//! PROTOCOL 8: a reload by SIGHUP.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Certificate, FEED, Gateway, Setup, belfry, eventually, text, token};

const KEYS: &str = r#"keys = [{ algorithm = "HS256", secret = "a secret of the tests, 32 bytes or more" }]"#;

fn largest_message(gateway: &Gateway) -> Value {
    gateway.dial("/ws").read_welcome()["max_message_bytes"].take()
}

fn expect_reloaded(gateway: &Gateway, message_bytes: u64) {
    eventually("the reload to take effect", || (largest_message(gateway) == message_bytes).then_some(()));
}

/// PROTOCOL 8: a new `message_bytes` holds for new sessions only.
#[test]
fn message_bytes_hold_for_new_sessions_only() {
    let gateway = Gateway::start();
    let mut old = gateway.dial("/echo");
    gateway.reload(&Setup::new().limits("message_bytes = 1000"));
    expect_reloaded(&gateway, 1000);
    old.send_text(&"x".repeat(2000));
    old.expect_message(text(&"x".repeat(2000)));
    let mut new = gateway.dial("/echo");
    new.send_text(&"x".repeat(2000));
    new.expect_close(1009);
}

/// PROTOCOL 8: the other limits hold for running sessions too.
#[test]
fn running_sessions_get_the_new_limits() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.a", "chat.b"]);
    gateway.reload(&Setup::new().limits("subscriptions_per_session = 2\nmessage_bytes = 1000"));
    expect_reloaded(&gateway, 1000);
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["chat.c"]}));
    session.expect_error(1, "too_many_subscriptions");
}

/// PROTOCOL 8: new grants hold at once. A subscription that is no longer covered ends with a `not_allowed` that names
/// it.
#[test]
fn new_grants_hold_at_once() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.a", "test.a", "test.*"]);
    gateway.reload(&Setup::new().auth(&format!("anonymous = {{ subscribe = [\"chat.>\"], publish = [] }}\n{KEYS}")));
    let message = session.expect_error(Value::Null, "not_allowed");
    assert!(message.contains("test.a") && message.contains("test.*") && !message.contains("chat.a"), "{message}");
    session.send(json!({"op": "publish", "id": 1, "topic": "chat.a", "data": 1}));
    session.expect_error(1, "not_allowed");
    assert_eq!(session.ask(json!({"op": "subscriptions", "id": 2}))["topics"], json!(["chat.a"]));
}

/// PROTOCOL 8: a removed key closes its sessions with 4001, be it an API key or a key of tokens. Other sessions stay
/// open.
#[test]
fn a_removed_key_closes_its_sessions() {
    let gateway = Gateway::start();
    let mut feed = gateway.dial_with("/ws", &[FEED]).expect("the upgrade is accepted");
    feed.read_welcome();
    let (mut alice, mut anonymous) = (gateway.session_as(&token("alice", &[], &[])), gateway.session());
    gateway.reload(&Setup::new().auth("anonymous = { subscribe = [\"chat.>\"], publish = [] }"));
    feed.expect_close(4001);
    alice.expect_close(4001);
    anonymous.expect_quiet();
    gateway.expect_metric("sessions_closed_total{reason=\"token_invalid\"}", 2.0);
}

/// PROTOCOL 8: a new rule holds from the next message on.
#[test]
fn new_rules_hold_from_the_next_message_on() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["plain.a"]);
    gateway.publish("plain.a", "1");
    gateway.reload(&Setup::new().rule("plain.>", "history = 10").limits("message_bytes = 1000"));
    expect_reloaded(&gateway, 1000);
    gateway.publish("plain.a", "2");
    let offsets: Vec<_> = gateway.get("/v1/topics/plain.a/history").json()["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["offset"].clone())
        .collect();
    assert_eq!(offsets, [2]);
    session.receive_all(2);
    gateway.expect_metric("messages_published_total{rule=\"\",source=\"http\"}", 1.0);
    gateway.expect_metric("messages_published_total{rule=\"plain.>\",source=\"http\"}", 1.0);
    gateway.expect_accounts_closed();
}

/// PROTOCOL 3 and 8: where a reload turns presence on, earlier subscribers are members, and watchers get their leaves.
/// The bug: only later subscribers were members.
#[test]
fn presence_turned_on_includes_earlier_subscribers() {
    let gateway = Gateway::start();
    let (mut member, mut watcher) = (gateway.session(), gateway.session());
    member.subscribe(&["plain.a"]);
    watcher.send(json!({"op": "subscribe", "topics": ["plain.*"], "presence": true}));
    let _raw = gateway.dial("/raw/plain.a");
    gateway.expect_metric("subscriptions", 3.0);
    gateway.reload(&Setup::new().rule("plain.>", "presence = true"));
    eventually("both members", || (gateway.admin("/v1/topics/plain.a/presence").json()["count"] == 2).then_some(()));
    let expected = member.member(Value::Null);
    member.cut();
    watcher.expect(json!({"op": "leave", "topic": "plain.a", "member": expected}));
}

/// PROTOCOL 8: origins, endpoints and deflate are reloaded.
#[test]
fn origins_endpoints_and_deflate_are_reloaded() {
    let gateway = Gateway::start();
    let more = "[endpoints]\n\"/lobby\" = \"chat.lobby\"\n[deflate]\nenabled = false";
    assert_eq!(gateway.refusal("/lobby", &[]).status, 404);
    gateway.reload(&Setup::new().server("origins = [\"https://example.com\"]").more(more));
    eventually("the endpoint to be accepted", || gateway.dial_with("/lobby", &[]).ok());
    gateway.dial_with("/ws", &[("Origin", "https://example.com")]).expect("the origin is listed now");
    let offered = gateway.dial_with("/ws", &[("Sec-WebSocket-Extensions", "permessage-deflate")]).expect("the upgrade is accepted");
    assert_eq!(offered.upgrade.header("Sec-WebSocket-Extensions"), None);
}

/// PROTOCOL 8: a bad file changes nothing, and the log has the same problems as `check`.
#[test]
fn a_bad_file_changes_nothing() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.subscribe(&["chat.a"]);
    let bad = Setup::new().limits("message_bytes = 1000\nsessions = \"plenty\"").server("nonsense = 1").text().unwrap();
    gateway.reload_text(&bad);
    eventually("the log to name both problems", || {
        let log = gateway.log();
        (log.contains("limits.sessions") && log.contains("plenty") && log.contains("server.nonsense")).then_some(())
    });
    gateway.reload_text("this is = = not TOML");
    eventually("the log to name the line", || gateway.log().contains("line 1").then_some(()));
    assert_eq!(largest_message(&gateway), 65536);
    session.expect_quiet();
}

/// PROTOCOL 8: the log names each key that differs and that a reload can't change. The other keys are reloaded.
#[test]
fn keys_that_a_reload_cannot_change_are_logged() {
    let gateway = Gateway::start();
    let text = Setup::new().limits("message_bytes = 1000").more("[admin]\nlisten = \"127.0.0.1:0\"").text().unwrap();
    gateway.reload_text(&text.replace("shards = 2", "shards = 3"));
    expect_reloaded(&gateway, 1000);
    eventually("the log to name both keys", || {
        let log = gateway.log();
        (log.contains("server.shards") && log.contains("admin.listen")).then_some(())
    });
    assert!(!gateway.log().contains("feed.replay"), "`feed.replay` does not differ");
    assert_eq!(gateway.get("/metrics").status, 200);
}

/// PROTOCOL 8: flags override the file after a reload too.
#[test]
fn flags_override_a_reloaded_file() {
    let gateway = Setup::new().argument("--set").argument("limits.message_bytes=2000").start();
    gateway.reload(&Setup::new().limits("message_bytes = 1000\nping_interval = \"7s\""));
    eventually("the reload to take effect", || (gateway.dial("/ws").read_welcome()["ping_interval_ms"] == 7000).then_some(()));
    assert_eq!(largest_message(&gateway), 2000);
}

/// PROTOCOL 8: a file without `tls` changes nothing on a listener with TLS, so its port never answers plain HTTP.
#[test]
fn a_reload_cannot_remove_tls() {
    let certificate = Certificate::new();
    let gateway = Setup::new().server(&certificate.setting()).start();
    let refusals = || gateway.log().matches("server.tls is gone").count();
    for (index, text) in [String::new(), Setup::new().text().unwrap()].into_iter().enumerate() {
        gateway.reload_text(&text);
        eventually("the refusal in the log", || (refusals() > index).then_some(()));
    }
    let mut socket = gateway.socket_with(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut socket, &mut answer); // at most a TLS alert
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
}

/// PROTOCOL 8: a reload reads key sets again, so a timer can follow an issuer that rotates its keys.
#[test]
fn a_reload_reads_key_sets_again() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys.json");
    let write = |key: &str| std::fs::write(&file, format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{key}"}}]}}"#)).unwrap();
    write("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"); // the example of RFC 8037, appendix A.2
    let setup = Setup::new().auth(&format!("anonymous = {{ subscribe = [], publish = [] }}\nkeys = [{{ jwks = {file:?} }}]"));
    let gateway = setup.start();
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/src/auth/testdata/ed.pem");
    let minted = belfry(&["token", "--key", pem, "--sub", "ann", "--publish", "chat.>"]);
    let credential = format!("Bearer {}", String::from_utf8(minted.stdout).unwrap().trim());
    let publish = || gateway.request("POST", "/v1/topics/chat.a", &[("Authorization", &credential)], b"1").status;
    assert_eq!(publish(), 401);
    write("XFFmO7ALejqFul-Qk9RsU_tymS8DUKOu5ehcly6B3KA"); // the public key of ed.pem
    gateway.reload(&setup);
    eventually("the new key to take effect", || (publish() == 200).then_some(()));
}
