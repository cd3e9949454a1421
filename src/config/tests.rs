//! Tests of single keys, layers and reloads. `tests/configuration.rs` compares every key with the reference.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

type Loaded = Result<std::sync::Arc<Config>, Vec<Problem>>;

fn load_text(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("belfry.toml");
    std::fs::write(&file, text).unwrap();
    load(&file, &[])
}

fn load(file: &Path, settings: &[&str]) -> Loaded {
    load_over(Sources { file: Some(file.to_owned()), ..Sources::default() }, settings)
}

fn with_settings(settings: &[&str]) -> Loaded {
    load_over(Sources::default(), settings)
}

fn load_over(mut sources: Sources, settings: &[&str]) -> Loaded {
    settings.iter().for_each(|setting| sources.set(setting).unwrap());
    Config::load(&sources)
}

fn problems_of(result: Loaded) -> String {
    result.unwrap_err().iter().map(|problem| format!("{problem}\n")).collect()
}

/// PROTOCOL 8: without `--config` the gateway runs on the built-in file.
#[test]
fn the_built_in_file_has_the_values_of_the_contract() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.server, Server { shards: config.server.shards, ..Server::default() });
    let anonymous = config.auth.anonymous.as_ref().unwrap();
    let patterns: Vec<_> = anonymous.subscribe.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(patterns, ["quotes.>", "chat.>", "$belfry.>"]);
    assert_eq!(config.limits, Limits { outbox_total_bytes: config.limits.outbox_total_bytes, ..Limits::default() });
    assert_eq!(config.deflate, Deflate::default());
    let labels: Vec<_> = config.rules.iter().map(|rule| (rule.label(), rule.history, rule.last, rule.on_slow, rule.presence)).collect();
    let expected = [("quotes.>", 100, 1, OnSlow::Conflate, false), ("chat.>", 100, 0, OnSlow::Replay, true)];
    assert_eq!(labels, expected);
    assert_eq!(config.endpoints["/rooms/lobby"].as_str(), "chat.lobby");
    assert_eq!(config.feed.simulator, Some(Simulator::default()));
    assert_eq!(config.warnings(), [""; 0]);
}

/// PROTOCOL 8: `--config` replaces the built-in file: no anonymous grants, no simulator, and no rules but the file's.
#[test]
fn an_empty_file_grants_nothing() {
    let config = load_text("").unwrap();
    let expected = Config {
        server: Server { shards: config.server.shards, ..Server::default() },
        limits: Limits { outbox_total_bytes: config.limits.outbox_total_bytes, ..Limits::default() },
        ..Config::default()
    };
    assert_eq!(*config, expected);
    assert_eq!(load_text("[auth]\nanonymous = { subscribe = [], publish = [] }").unwrap().auth.anonymous, None);
}

/// The addresses of a list as written.
fn shown(places: &[ListenAddress]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// PROTOCOL 8: variables override the file, flags override both.
#[test]
fn later_layers_override_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("belfry.toml");
    std::fs::write(&file, "limits = { sessions = 1, topics = 1, pending = 1 }").unwrap();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: Some(file),
        environment: vec![
            variable("BELFRY__LIMITS__SESSIONS", "2"),
            variable("BELFRY__LIMITS__TOPICS", "2"),
            variable("BELFRY__SERVER__DRAIN", "2s"),
            variable("BELFRY_LOG", "debug"),
            variable("PATH", "/bin"),
        ],
        settings: vec![variable("limits.topics", "3"), variable("server.listen", "127.0.0.1:1")],
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.limits.pending, config.limits.sessions, config.limits.topics), (1, 2, 3));
    assert_eq!((config.server.drain, shown(&config.server.listen)), (Duration::from_secs(2), "127.0.0.1:0".to_owned()));
}

/// PROTOCOL 8: a value of `--set` or the environment is TOML, or else a string. It replaces the whole earlier value.
#[test]
fn a_setting_replaces_the_whole_value() {
    let config = with_settings(&["auth.anonymous={subscribe=[\">\"],publish=[]}", "endpoints.\"/a=b\"=chat.x", "topics=[]"]).unwrap();
    let anonymous = config.auth.anonymous.clone().unwrap();
    assert_eq!((anonymous.subscribe[0].as_str(), anonymous.publish.len()), (">", 0));
    assert_eq!(config.endpoints["/a=b"].as_str(), "chat.x");
    assert_eq!(config.rules.iter().count(), 0);
    assert_eq!(with_settings(&["auth.anonymous={}"]).unwrap().auth.anonymous, None);
}

#[test]
fn a_problem_names_its_source_and_key() {
    let problems = problems_of(load_text("[limits]\nsessions = \"many\"\n[server]\ndrain = 10"));
    assert!(problems.contains("belfry.toml: limits.sessions = \"many\" is not a whole number; write a whole number from 1"), "{problems}");
    assert!(problems.contains("belfry.toml: server.drain = 10 has no unit; write \"10s\""), "{problems}");
    let environment = vec![("BELFRY__SERVER__LISSTEN".to_owned(), "x:1".to_owned())];
    let problems = problems_of(Config::load(&Sources { environment, ..Sources::default() }));
    assert_eq!(problems, "BELFRY__SERVER__LISSTEN: server.lissten = \"x:1\" is not a key; did you mean server.listen\n");
    let problems = problems_of(with_settings(&["server.message_bytes=1"]));
    assert_eq!(problems, "--set: server.message_bytes = 1 is not a key; did you mean limits.message_bytes\n");
    assert!(Sources::default().set("limits.sessions").is_err());
    assert!(problems_of(with_settings(&["a b=1"])).contains("is not a key; write its names joined by dots"));
}

#[test]
fn a_file_that_is_not_toml_is_reported_with_its_line() {
    let problems = problems_of(load_text("[server]\nshards = 1\nlisten = = 3\n"));
    assert!(problems.contains("belfry.toml, line 3: not TOML: "), "{problems}");
    assert_eq!(problems.lines().count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin.toml");
    std::fs::write(&file, b"# fine\n# caf\xe9\n").unwrap();
    assert!(problems_of(load(&file, &[])).contains("latin.toml, line 2: not TOML: the text is not UTF-8"));
    assert!(problems_of(load(&folder.path().join("absent.toml"), &[])).contains("can't read"));
}

#[test]
fn no_problem_shows_a_secret() {
    let keys = "keys = [{ secret = 5550123 }, { secret = \"5550123\", algorithm = \"RS256\" }, { sekret = \"5550123\" }, \"5550123\"]";
    let api_keys = "api_keys = [{ name = \"a\", key = \"5550123 \" }, { name = \"b\", kye = \"5550123\" }]";
    let problems = problems_of(load_text(&format!("[auth]\n{keys}\n{api_keys}\nsecret = \"5550123\"")));
    assert!(problems.contains("auth.keys[0].secret = (not shown) is not a text"), "{problems}");
    assert!(!problems.contains("5550123"), "{problems}");
    let problems = problems_of(load_text("[auth]\nkeys = [{ secret = \"5550123\" \n x"));
    assert!(!problems.contains("5550123"), "{problems}");
    let config = load_text("[auth]\nkeys = [{ secret = \"5550123\" }]\napi_keys = [{ name = \"a\", key = \"5550124\" }]").unwrap();
    assert!(!format!("{config:?}").contains("555012"));
}

/// No problem shows a secret in a wrong place: in any key, an unknown key, the environment, or a broken `--set`. The
/// bug: a PEM in place of its file's path was printed whole.
#[test]
fn no_problem_shows_a_secret_in_the_wrong_place() {
    const SECRET: &str = "kX9vQ2mR7tB4nL8wJ5hG";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    for value in [SECRET, pem.as_str(), &format!("secret={SECRET}"), &format!("{{\"k\":\"{SECRET}\"}}")] {
        for key in keys().into_iter().filter(|key| !key.contains("[]")).chain(["sekret", "auth.sekret", "feed.a"].map(str::to_owned)) {
            let settings = vec![(key.clone(), format!("{value:?}"))];
            let problems = format!("{:?}", Config::load(&Sources { settings, ..Sources::default() }).err());
            assert!(!problems.contains("Q2mR7"), "{key}: {problems}");
            let environment = vec![(format!("BELFRY__{}", key.to_uppercase().replace('.', "__")), value.to_owned())];
            let problems = format!("{:?}", Config::load(&Sources { environment, ..Sources::default() }).err());
            assert!(!problems.contains("Q2mR7"), "{key}: {problems}");
        }
        let quoted = format!("{value:?}");
        for text in [
            format!("auth.keys = [{{ public_key = {quoted} }}]"),
            format!("auth.keys = [{{ jwks = {quoted} }}]"),
            format!("auth.keys = [{{ algorithm = {quoted}, secret = 'a' }}]"),
            format!("auth.keys = [{{ secret = [{quoted}] }}]"),
            format!("auth.api_keys = [{{ name = {quoted}, key = 'a' }}, {{ name = {quoted}, key = 'b' }}]"),
            format!("auth.api_keys = [{{ name = 'a', key = 'b', subscribe = [{quoted}], admin = {quoted} }}]"),
            format!("topics = [{{ match = {quoted}, on_slow = {quoted} }}]"),
            format!("feed.replay = [{{ file = {quoted}, topic = 'a' }}]"),
            format!("endpoints = {{ '/a' = {quoted} }}"),
            format!("server.origins = [{quoted}]"),
        ] {
            let problems = format!("{:?}", load_text(&text).err());
            assert!(!problems.contains("Q2mR7"), "{problems}");
        }
        assert!(!Sources::default().set(value.split('=').next().unwrap()).unwrap_err().0.contains("Q2mR7"));
    }
    // A word without a slash or extension may be a password.
    let problems = problems_of(load_text("auth.keys = [{ public_key = 'hunter2' }]\nserver.tls.key = 'hunter2'\napi_key = 'hunter2'"));
    assert!(problems.lines().count() >= 3 && !problems.contains("hunter2"), "{problems}");
}

/// A weak key, and a file with secrets that everybody may read, give warnings.
#[test]
fn weak_keys_and_readable_secrets_give_warnings() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("belfry.toml");
    let warnings = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        load(&file, &[]).unwrap().warnings().join("\n")
    };
    let key = |key: &str| format!("auth.api_keys = [{{ name = 'a', key = '{key}', admin = true }}]");
    assert!(warnings(&key("7"), 0o600).contains("auth.api_keys[0].key has 1 characters and may be guessed, and admin = true"));
    assert!(warnings(&key(&"ab".repeat(20)), 0o600).contains("auth.api_keys[0].key has 2 different characters"));
    let strong = key("3f2504e04f8911d39a0c0305e82c3301");
    assert_eq!(warnings(&strong, 0o640), "");
    assert!(warnings(&strong, 0o644).contains("belfry.toml holds a secret, and its mode 0644 lets everybody read it; chmod 640 "));
    assert_eq!(warnings("auth.anonymous.subscribe = [\"a\"]", 0o644), "", "there is no secret in it");
    assert!(warnings("limits.sessions = 5", 0o644).starts_with("auth grants nobody anything and has no keys"));
}

/// Threats, row 14: a secret shorter than its hash is a warning.
#[test]
fn a_configuration_with_warnings_loads() {
    let rules = "[[topics]]\nmatch = \"a.>\"\nlast = 2\n[[topics]]\nmatch = \"a.*\"\n\
                 [[topics]]\nmatch = \"b:>\"\n[[topics]]\nmatch = \"b:*.{user}\"";
    let auth = "anonymous = { subscribe = [\"#{user}\"] }\nkeys = [{ secret = \"short\" }]\napi_keys = [{ name = \"root\", key = \"k\", admin = true }]";
    let config = load_text(&format!("server.listen = \"0.0.0.0:0\"\nserver.proxy_protocol = true\n[auth]\n{auth}\n{rules}")).unwrap();
    let warnings = config.warnings().join("\n");
    for part in [
        "auth.keys[0].secret has 5 bytes",
        "admin.listen = \"\" lets",
        "server.proxy_protocol = true is read from server.trusted_proxies, which names nobody",
        "topics[0].last = 2",
        "topics[1].match = \"a.*\" never rules",
        "topics[3].match = \"b:*.{user}\" never rules",
        "topics[3].match = \"b:*.{user}\" matches {user} literally",
        "auth.anonymous grants \"#{user}\"",
    ] {
        assert!(warnings.contains(part), "{warnings}");
    }
}

#[test]
fn paths_are_relative_to_the_file_that_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("public.pem", "-----BEGIN PUBLIC KEY-----\n");
    write("private.pem", "-----BEGIN PRIVATE KEY-----\n");
    write("keys.json", "{\"keys\": []}");
    write("ticks.csv", "timestamp,symbol\n");
    let text = "server.tls = { cert = \"public.pem\", key = \"private.pem\" }\n\
        auth.keys = [{ public_key = \"public.pem\" }, { algorithm = \"ES256\", public_key = \"public.pem\" }, { jwks = \"keys.json\" }]\n\
        feed.replay = [{ file = \"ticks.csv\", topic = \"quotes.{symbol}\", speed = 2 }]";
    write("belfry.toml", text);
    let file = folder.path().join("belfry.toml");
    let config = load(&file, &[]).unwrap();
    assert_eq!(config.server.tls.as_ref().unwrap().cert, folder.path().join("public.pem"));
    assert_eq!(config.auth.keys.len(), 3);
    assert_eq!((config.feed.replay[0].speed, &*config.feed.replay[0].time), (2.0, "timestamp"));
    let problems = problems_of(load(&file, &["server.tls.cert=public.pem", "auth.keys=[{public_key=\"private.pem\"}]"]));
    assert!(problems.contains("--set: server.tls.cert = \"public.pem\" can't be read"), "{problems}");
    let in_folder = |name: &str| format!("auth.keys=[{{public_key={:?}}}]", folder.path().join(name));
    assert!(problems_of(load(&file, &[&in_folder("private.pem")])).contains("holds a private key"));
    assert!(problems_of(load(&file, &[&in_folder("ticks.csv")])).contains("is not a PEM file"));
}

/// PROTOCOL 8: SIGHUP can't change four keys, and names those that differ.
#[test]
fn a_reload_keeps_the_fixed_keys() {
    let old = Config::load(&Sources::default()).unwrap();
    let settings =
        ["server.listen=127.0.0.1:1", "server.unix_mode=0666", "server.shards=200", "admin.listen=127.0.0.1:2", "limits.sessions=5"];
    let new = with_settings(&settings).unwrap();
    assert_eq!(old.fixed_differences(&new), ["server.listen", "server.unix_mode", "server.shards", "admin.listen"]);
    let in_force = new.as_ref().clone().with_fixed_of(&old);
    assert_eq!(old.fixed_differences(&in_force), [""; 0]);
    assert_eq!((&in_force.server.listen, in_force.limits.sessions), (&old.server.listen, 5));
}

/// A reload changes limits and time-outs of a cluster, but not its servers and streams.
#[test]
fn a_reload_keeps_the_cluster() {
    let load = |ttl: &str, cluster: &str, stream: &str| {
        let text = format!(
            "topics = [{{ match = 'q.>', history_ttl = '{ttl}' }}]\n[cluster]\n{cluster}\n[[cluster.streams]]\nname = 'Q'\nmatch = 'q.>'\n{stream}"
        );
        load_text(&text).unwrap()
    };
    let old = load("1h", "urls = ['nats://a:1']", "");
    let new = load("2h", "urls = ['nats://b:1']\nname = 'x'\npublish_inflight = 7\npresence_timeout = '9s'", "max_bytes = '4GiB'");
    assert_eq!(old.fixed_differences(&new), ["cluster.urls", "cluster.name"]);
    let in_force = new.as_ref().clone().with_fixed_of(&old).cluster.unwrap();
    assert_eq!((&*in_force.urls[0], in_force.publish_inflight, in_force.presence_timeout.as_secs()), ("nats://a:1", 7, 9));
    assert_eq!((in_force.streams[0].max_bytes, in_force.streams[0].max_age.as_secs()), (4 << 30, 7_200));
    let other = load("1h", "urls = ['nats://a:1']", "retain = 5000\nmax_bytes = '4GiB'");
    assert_eq!(old.fixed_differences(&other), ["cluster.streams"]);
    assert_eq!(other.as_ref().clone().with_fixed_of(&old).cluster, old.cluster);
}

/// PROTOCOL 7: listed origins compare scheme, host and port; `null` never passes.
#[test]
fn listed_origins_compare_scheme_host_and_port() {
    let listed = with_settings(&["server.origins=[\"https://Example.com\"]"]).unwrap().server.origins.clone();
    let lists = |text| listed.iter().any(|entry| entry.matches(text));
    assert!(lists("https://example.com:443"));
    for other in ["http://example.com", "https://example.com:8443", "https://example.com.evil", "null", ""] {
        assert!(!lists(other), "{other}");
    }
}

#[test]
fn valid_values_are_accepted() {
    let settings = [
        "limits={outbox_bytes=4096,message_bytes=128,sessions=1,ping_interval=\"50ms\",handshake_timeout=\"100ms\",subscriptions_total=1}",
        "server={drain=\"0s\",listen=\"localhost:0\",coalesce=\"0s\",trusted_proxies=[\"10.0.0.0/8\",\"::1\",\"unix\"],origins=[\"http://a:1\"]}",
        "topics=[{match=\">\",history=1,max_age=\"1.5s\",on_slow=\"drop_oldest\"}]",
        "endpoints={\"/\"=\"chat.lobby\",\"/wss\"=\"$belfry.stats\"}",
        "feed.simulator.enabled=false",
    ];
    let config = with_settings(&settings).unwrap();
    assert_eq!(config.limits.ping_interval, Duration::from_millis(50));
    assert!(!config.server.listen[0].is_open());
    assert!(config.server.trusted_proxies.iter().any(|network| network.contains(&UNIX_PEER)));
    assert_eq!(config.rules.iter().next().unwrap().max_age, Some(Duration::from_millis(1500)));
    assert_eq!(config.feed.simulator, None);
}

/// Problems with relations between keys name the key.
#[test]
fn keys_that_contradict_each_other_are_reported() {
    for (setting, part) in [
        ("admin.listen=127.0.0.1:8765", "admin.listen = \"127.0.0.1:8765\" is server.listen too"),
        ("server.listen=[\"unix:/a\",\"unix:/a\"]", "server.listen[1] = \"unix:/a\" is listed twice"),
        ("server.listen=[\"unix:/a\",\"unix:b\"]", "server.listen[1] = \"unix:b\" names no file from the root on"),
        ("admin.listen=[\"unix:/b\",\"127.0.0.1:8765\"]", "admin.listen = \"127.0.0.1:8765\" is server.listen too"),
        ("server.tls={cert=\"Cargo.toml\"}", "server.tls.cert = \"Cargo.toml\" is not a PEM file"),
        ("server.tls.key=absent.pem", "server.tls.cert is missing"),
        ("auth.keys=[{secret=\"a\",jwks=\"b\"}]", "auth.keys[0].secret, public_key and jwks: one of the three"),
        ("auth.keys=[{secret=\"a\",algorithm=\"RS256\"}]", "auth.keys[0].algorithm = \"RS256\" does not go with secret"),
        (
            "auth.api_keys=[{name=\"a\",key=\"x\"},{name=\"a\",key=\"y\"}]",
            "auth.api_keys[1].name = \"a\" is the name of an earlier key too",
        ),
        (
            "auth.api_keys=[{name=\"a\",key=\"x\"},{name=\"b\",key=\"x\"}]",
            "auth.api_keys[1].key = (not shown) is an earlier entry's key too",
        ),
        ("endpoints={\"/v1/x\"=\"a\"}", "endpoints.\"/v1/x\" = \"a\" has a path of the gateway's own"),
        ("endpoints={\"/ws\"=\"a\"}", "has a path of the gateway's own"),
        ("endpoints={x=\"a\"}", "endpoints.x = \"a\" has a path without a leading slash"),
        ("feed.simulator.symbols=[\"A\",\"A\"]", "feed.simulator.symbols[1] = \"A\" is listed twice"),
        ("feed.replay=[{file=\"Cargo.toml\",topic=\"a\"}]", "feed.replay[0].file = \"Cargo.toml\" ends in neither"),
        ("feed.replay=[{file=\"absent.csv\",topic=\"a.{\"}]", "feed.replay[0].topic = \"a.{\" has a brace without column"),
    ] {
        let problems = problems_of(with_settings(&[setting]));
        assert!(problems.contains(part), "{setting}: {problems}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No text of a file, a key or a value panics.
    #[test]
    fn no_text_panics(text in "(\\PC|\n|[\\[\\]{}=\".,#])*", key in "[a-z_.\"\\[\\]]{0,20}", value in "\\PC{0,20}") {
        let _ = load_text(&text);
        let environment = vec![(format!("BELFRY__{key}"), value.clone())];
        let _ = Config::load(&Sources { environment, settings: vec![(key, value)], ..Sources::default() });
    }

    /// No value at any key panics.
    #[test]
    fn no_value_panics(key in prop::sample::select(keys()), value in "(-?[0-9]{1,25}[a-z.]{0,2}|\\[.{0,9}\\]|\\{.{0,9}\\}|\\PC{0,9})") {
        let key = key.replace("[]", "");
        let _ = Config::load(&Sources { settings: vec![(key, value)], ..Sources::default() });
    }
}

/// A problem is one line, whatever the file has. The bug: a topic's name with a line feed broke the line.
#[test]
fn a_problem_is_one_line() {
    let problem = problems_of(load_text("[endpoints]\n\"/a\" = \"a\\nb\\u001b[2J\"\n"));
    assert!(problem.lines().count() == 1 && !problem.contains('\u{1b}') && problem.contains("a\\nb"), "{problem}");
}
