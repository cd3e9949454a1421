//! PROTOCOL 8: the configuration: its layers, `check`, and the built-in file.

use std::fs;

use serde_json::json;

use crate::gateway::{Setup, belfry, eventually, program};

/// Runs `check` on this text; gives whether it passed, and its output.
fn check(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("belfry.toml");
    fs::write(&file, text).unwrap();
    let checked = belfry(&["check", "--config", file.to_str().unwrap()]);
    let output = String::from_utf8([checked.stdout, checked.stderr].concat()).unwrap();
    assert!(matches!(checked.status.code(), Some(0 | 1)), "{:?}: {output}", checked.status);
    (checked.status.success(), output)
}

/// PROTOCOL 8: `--print-default` prints the built-in file, which passes `check`. `tests/configuration.rs` checks its
/// values.
#[test]
fn the_built_in_file_is_printed() {
    let output = belfry(&["check", "--print-default"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(printed.trim_end(), include_str!("../../src/config/default.toml").trim_end());
    let (passed, output) = check(&printed);
    assert!(passed, "{output}");
}

/// PROTOCOL 8: an empty file passes, and so does the tests' base configuration.
#[test]
fn good_files_pass() {
    for text in ["", &Setup::new().text().unwrap()] {
        let (passed, output) = check(text);
        assert!(passed, "{output}");
    }
}

/// PROTOCOL 8: `check` reports all problems at once, with the key, the value and what would be right.
#[test]
fn check_reports_all_problems_at_once() {
    let text = r#"
[server]
listen = "nowhere"
drain = "10 parsecs"
[limits]
message_bytes = "many"
ping_interval = 30
[deflate]
level = 12
[[topics]]
match = "a..b"
on_slow = "panic"
"#;
    let (passed, output) = check(text);
    assert!(!passed);
    for word in [
        "server.listen",
        "nowhere",
        "server.drain",
        "10 parsecs",
        "limits.message_bytes",
        "many",
        "limits.ping_interval",
        "deflate.level",
        "12",
        "a..b",
        "on_slow",
        "panic",
        "drop_oldest",
    ] {
        assert!(output.contains(word), "{word} is missing in: {output}");
    }
}

/// PROTOCOL 8: an unknown key is an error, at every level.
#[test]
fn an_unknown_key_is_an_error() {
    for (text, key) in [
        ("[limits]\nmesage_bytes = 1", "mesage_bytes"),
        ("[sever]\nlisten = \"127.0.0.1:0\"", "sever"),
        ("[[topics]]\nmatch = \"a\"\nhistry = 1", "histry"),
        ("[auth]\napi_keys = [{ name = \"a\", key = \"b\", amin = true }]", "amin"),
    ] {
        let (passed, output) = check(text);
        assert!(!passed && output.contains(key), "{key}: {output}");
    }
}

/// PROTOCOL 8: `check` names the line of a syntax error, and a file that does not exist.
#[test]
fn a_file_that_is_not_toml_is_reported_with_the_line() {
    let (passed, output) = check("[limits]\nsessions = 5\nmessage_bytes = = 7\n");
    assert!(!passed && output.contains("line 3"), "{output}");
    let output = belfry(&["check", "--config", "not-there.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not-there.toml"));
}

/// PROTOCOL 8: durations are strings with us, ms, s, m, h, d.
#[test]
fn durations_have_units() {
    for duration in ["100us", "5ms", "5s", "5m", "5h", "5d"] {
        let (passed, output) = check(&format!("[[topics]]\nmatch = \"a\"\nhistory_ttl = \"{duration}\""));
        assert!(passed, "{duration}: {output}");
    }
    for duration in ["\"5\"", "\"5 weeks\"", "\"\"", "\"-5s\"", "5", "\"s\""] {
        let (passed, output) = check(&format!("[[topics]]\nmatch = \"a\"\nhistory_ttl = {duration}"));
        assert!(!passed && output.contains("history_ttl"), "{duration}: {output}");
    }
}

/// PROTOCOL 8: `check` names a key whose value has another type or is out of range, and does not panic.
#[test]
fn a_value_out_of_its_range_is_named() {
    let bad = [
        ("server", "shards", "-1"),
        ("server", "shards", "\"two\""),
        ("server", "origins", "[\"example.com\"]"),
        ("server", "trusted_proxies", "[\"nowhere\"]"),
        ("limits", "message_bytes", "-5"),
        ("limits", "message_bytes", "1.5"),
        ("limits", "sessions", "true"),
        ("limits", "commands_per_second", "\"fast\""),
        ("deflate", "level", "0"),
        ("deflate", "enabled", "\"maybe\""),
        ("admin", "listen", "\"nowhere\""),
        ("auth", "keys", "[{ algorithm = \"HS1\", secret = \"x\" }]"),
        ("auth", "anonymous", "{ subscribe = [\"a..b\"], publish = [] }"),
        ("endpoints", "\"/a\"", "\"a.>\""),
        ("endpoints", "\"/a\"", "5"),
    ];
    for (section, key, value) in bad {
        let (passed, output) = check(&format!("[{section}]\n{key} = {value}"));
        assert!(!passed && output.contains(key.trim_matches('"')) && !output.contains("panicked"), "[{section}] {key} = {value}: {output}");
    }
}

fn largest_message(setup: &Setup) -> u64 {
    setup.start().dial("/ws").read_welcome()["max_message_bytes"].as_u64().unwrap()
}

/// PROTOCOL 8: the environment overrides the file, and flags override both.
#[test]
fn later_layers_override() {
    let file = Setup::new().limits("message_bytes = 1001");
    assert_eq!(largest_message(&file), 1001);
    let environment = file.variable("BELFRY__LIMITS__MESSAGE_BYTES", "1002");
    assert_eq!(largest_message(&environment), 1002);
    assert_eq!(largest_message(&environment.argument("--set").argument("limits.message_bytes=1003")), 1003);
}

/// PROTOCOL 8: a value of `--set` or the environment is TOML, else a string.
#[test]
fn a_value_is_toml_else_a_string() {
    let setup = Setup::new()
        .argument("--set")
        .argument("limits.ping_interval=1500ms")
        .argument("--set")
        .argument("auth.anonymous={ subscribe = [\"only.>\"], publish = [] }");
    let gateway = setup.variable("BELFRY__SERVER__ORIGINS", "[\"https://example.com\"]").start();
    let mut session = gateway.dial_with("/ws", &[("Origin", "https://example.com")]).expect("the origin is listed");
    assert_eq!(session.read_welcome()["ping_interval_ms"], 1500);
    session.subscribe(&["only.a"]);
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["chat.a"]}));
    session.expect_error(1, "not_allowed");
}

/// PROTOCOL 8: a bad flag or variable prevents the start: exit 1, with the key and the value.
#[test]
fn a_bad_flag_or_variable_prevents_the_start() {
    for key in ["limits.message_bytes=many", "limits.nonsense=1"] {
        let output = belfry(&["serve", "--listen", "127.0.0.1:0", "--set", key]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(key.split('=').next().unwrap()));
    }
    let output = belfry(&["serve", "--listen", "nowhere", "--set", "server.listen=127.0.0.1:0"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("--listen: server.listen = \"nowhere\""), "{errors}");
    let output = program().args(["serve", "--listen", "127.0.0.1:0"]).env("BELFRY__LIMITS__SESSIONS", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("limits.sessions"));
}

/// PROTOCOL 8: the gateway runs on the built-in file without `--config`: quotes of the simulator with two decimals, and
/// a lobby.
#[test]
fn the_built_in_file_has_quotes_and_a_lobby() {
    let gateway = Setup::built_in().argument("--set").argument("feed.simulator.interval=50ms").start();
    let mut session = gateway.session_at("/ws?topics=quotes.AAPL");
    let quote = std::iter::repeat_with(|| session.receive()).find(|event| event["op"] == "message").unwrap()["data"].take();
    let names: Vec<_> = quote.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["ask", "bid", "price", "stock_id", "ts", "volume"]);
    assert_eq!(quote["stock_id"], "AAPL");
    let text = session.receive_text();
    for price in ["\"price\":", "\"bid\":", "\"ask\":"] {
        let digits: String = text.split_once(price).unwrap().1.chars().take_while(|c| *c != ',').collect();
        assert_eq!(digits.split_once('.').map(|(_, decimals)| decimals.len()), Some(2), "prices have two decimals: {text}");
    }
    gateway.dial("/rooms/lobby");
    gateway.publish("chat.lobby", "1");
    assert_eq!(gateway.post("/v1/topics/quotes.AAPL", "1").problem(401), "not_allowed");
}

/// PROTOCOL 8: the simulator makes the same prices from the same seed.
#[test]
fn a_seed_makes_the_same_prices() {
    let prices = || {
        let gateway = Setup::built_in()
            .argument("--set")
            .argument("feed.simulator.seed=7")
            .argument("--set")
            .argument("feed.simulator.interval=20ms")
            .start();
        let mut session = gateway.session_at("/ws?topics=quotes.AAPL&last=100");
        let quotes =
            std::iter::repeat_with(|| session.receive()).filter(|event| event["op"] == "message" && event["offset"].as_u64() <= Some(5));
        quotes.take(5).map(|event| event["data"]["price"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(prices(), prices());
}

/// PROTOCOL 8: without `--config`, the log has an admin key for this run.
#[test]
fn an_admin_key_is_made_and_logged() {
    let gateway = Setup::built_in().start();
    eventually("an admin key in the log", || {
        let log = gateway.log();
        let words =
            log.split(|c: char| c.is_whitespace() || "\"'=:,()\u{1b}".contains(c)).filter(|word| word.len() >= 16 && word.is_ascii());
        words
            .into_iter()
            .find(|key| gateway.request("GET", "/v1/sessions", &[("Authorization", &format!("Bearer {key}"))], b"").status == 200)
            .map(str::to_owned)
    });
}

/// PROTOCOL 8: a file replaces the built-in one: no anonymous grants, no simulator, no endpoints but those of the file.
#[test]
fn a_file_replaces_the_built_in_one() {
    let gateway = Setup::new().auth("").start();
    let mut session = gateway.session();
    session.send(json!({"op": "subscribe", "id": 1, "topics": ["quotes.AAPL"]}));
    session.expect_error(1, "not_allowed");
    assert_eq!(gateway.post("/v1/topics/chat.lobby", "1").status, 401);
    assert_eq!(gateway.refusal("/rooms/lobby", &[]).status, 404);
    assert_eq!(gateway.metrics().value("messages_published_total{rule=\"quotes.>\",source=\"feed\"}"), 0.0);
}

/// PROTOCOL 8: a replayed file keeps the digits of its numbers, and `{symbol}` in the topic is a column.
#[test]
fn recorded_ticks_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ticks.csv");
    fs::write(&file, "timestamp,symbol,price\n1700000000,USDJPY,150.10\n1700000000,EURUSD,1.0900\n").unwrap();
    let feed = format!("[[feed.replay]]\nfile = {:?}\ntopic = \"quotes.{{symbol}}\"\ntime = \"timestamp\"\nspeed = 0", file);
    let gateway = Setup::new().more(&feed).start();
    let mut session = gateway.session();
    session.subscribe_with(&["quotes.USDJPY"], json!({"last": 1}));
    let text = session.receive_text();
    assert!(text.contains("\"price\":150.10") && text.contains("\"symbol\":\"USDJPY\""), "{text}");
}
