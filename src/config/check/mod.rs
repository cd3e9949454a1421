//! Turns the raw tree into `Config`. All problems are reported together, each with its key, its value and what would be
//! right.

mod auth;
mod cluster;
mod feed;
mod warnings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use self::auth::auth;
use self::cluster::cluster;
use self::feed::feed;
use super::limits::Limits;
use super::listen_address::{ListenAddress, listen_addresses, socket_mode};
use super::notation::{OriginPattern, host_of, network};
use super::rules::{OnSlow, Rule, Rules, TopicDeflate};
use super::settings::{Admin, Centrifugo, ClientAddressHeader, Config, Deflate, Log, LogFormat, Served, Server, Store, Tls};
use super::tree::{Problem, Raw, Report, Section, Sources, misspelt_variables, pem_file};
use crate::topic_name::TopicName;

/// The largest number of shards.
const SHARDS_MAX: u64 = 256;
/// The largest number of rules. Each is a label of the metrics for the life of the process.
const RULES_MAX: usize = 10_000;
/// The gateway's own paths. A path that ends in `/` includes all paths below it.
const OWN_PATHS: [&str; 14] = [
    "/ws",
    "/api/",
    "/connection/",
    "/emulation",
    "/sse",
    "/stream",
    "/echo",
    "/metrics",
    "/healthz",
    "/readyz",
    "/belfry.js",
    "/page/",
    "/v1/",
    "/raw/",
];
/// A file with every table once. Reading it asks for every key.
const EVERY_TABLE: &str =
    "auth = { keys = [{}], api_keys = [{}] }\ntopics = [{}]\nfeed = { simulator = {}, replay = [{}] }\ncluster = { streams = [{}] }";

impl Config {
    /// Reads and checks all layers. The error has all problems.
    pub fn load(sources: &Sources) -> Result<Arc<Config>, Vec<Problem>> {
        let (config, problems) = Self::draft(sources)?;
        if problems.is_empty() { Ok(Arc::new(config)) } else { Err(problems) }
    }

    /// Reads and checks all layers. A configuration with problems is for further checks only. In it, an invalid
    /// `[auth]`, `[feed]` or `server.tls` is left out, so that no problem is reported twice.
    pub fn draft(sources: &Sources) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let raw = sources.merged()?;
        let report = Report::default();
        let config = config(&raw, &report);
        let mut problems = report.into_problems(keys);
        if !sources.unread.is_empty() {
            problems.extend(misspelt_variables(&sources.unread, &keys()));
        }
        Ok((config, problems))
    }
}

/// Every key that a file may have. `[]` is in the place of the index of a list. `[endpoints]` has free keys, so only the table
/// is in the list.
pub fn keys() -> Vec<String> {
    let report = Report::default();
    config(&Raw::of(EVERY_TABLE), &report);
    report.into_known_keys().into_iter().collect()
}

fn config(raw: &Raw, report: &Report) -> Config {
    let root = Section::root(&raw.root, report);
    let config = root.read(|root| sections(root, raw, report));
    let is_fixed = |address: &&ListenAddress| !matches!(address, ListenAddress::Network(address) if address.port() == 0);
    for shared in config.admin.listen.iter().filter(is_fixed).filter(|address| config.server.listen.contains(address)) {
        report.add(format!("admin.listen = \"{shared}\" is server.listen too; write another place, or \"\" to share the listener"));
    }
    config
}

fn sections(root: &Section<'_>, raw: &Raw, report: &Report) -> Config {
    let mut config = Config {
        server: root.table("server", |section| server(section, raw, report)),
        admin: root.table("admin", |section| admin(section, raw, report)),
        auth: valid_or_default(report, || root.section("auth").with_secrets().read(|section| auth(section, raw))),
        limits: root.table("limits", Limits::read),
        deflate: root.table("deflate", deflate),
        log: root.table("log", log),
        page: root.table("page", served),
        centrifugo: root.table("centrifugo", centrifugo),
        rules: rules(root),
        echo: root.table("echo", served),
        endpoints: endpoints(&root.section("endpoints")),
        feed: valid_or_default(report, || root.table("feed", |section| feed(section, raw))),
        store: root.table("store", |section| store(section, raw)),
        cluster: None,
        secret_files: Vec::new(),
    };
    config.cluster = valid_or_default(report, || root.table("cluster", |section| cluster(section, &config.rules, raw)));
    config.secret_files = report.origins_of_secrets().iter().filter_map(|origin| raw.file_of(origin)).map(Path::to_owned).collect();
    config.secret_files.extend(config.server.tls.iter().chain(&config.admin.tls).map(|tls| tls.key.clone()));
    config
}

/// The result of `read`, or the default if `read` reported a problem.
fn valid_or_default<T: Default>(report: &Report, read: impl FnOnce() -> T) -> T {
    let problems_before = report.problem_count();
    let part = read();
    if report.problem_count() == problems_before { part } else { T::default() }
}

fn server(section: &Section<'_>, raw: &Raw, report: &Report) -> Server {
    const CLIENT_ADDRESS_HEADERS: [(&str, ClientAddressHeader); 2] =
        [("x-forwarded-for", ClientAddressHeader::XForwardedFor), ("forwarded", ClientAddressHeader::Forwarded)];
    let default = Server::default();
    let shards = section.integer("shards", 0, 0..=SHARDS_MAX);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX as usize);
    Server {
        listen: section.entry("listen").map_or(default.listen, listen_addresses),
        unix_mode: section.parsed("unix_mode", default.unix_mode, socket_mode),
        shards: if shards == 0 { cores() } else { shards },
        drain: section.duration("drain", default.drain, ("0s", "1d")),
        origins: section.list("origins", |entry| entry.parsed(OriginPattern::parse)),
        tls: valid_or_default(report, || section.table("tls", |section| tls(section, raw))),
        coalesce: section.duration("coalesce", default.coalesce, ("0s", "1s")),
        trusted_proxies: section.list("trusted_proxies", |entry| entry.parsed(network)),
        proxy_protocol: section.boolean("proxy_protocol", default.proxy_protocol),
        client_address_header: section.choice("client_address_header", default.client_address_header, &CLIENT_ADDRESS_HEADERS),
        hosts: section.list("hosts", |entry| entry.parsed(host)),
    }
}

/// Reads a host without a port, and returns it in lower case.
fn host(text: &str) -> Result<String, &'static str> {
    match host_of(text) {
        Some(host) if host == text => Ok(host.to_ascii_lowercase()),
        _ => Err("is not the name of a host; write it without scheme and port, as in \"gateway.example.com\""),
    }
}

fn tls(section: &Section<'_>, raw: &Raw) -> Option<Tls> {
    let file = |key| {
        let entry = section.path(key)?;
        match entry.text()? {
            "" => None,
            _ => pem_file(&entry, raw).map(|(file, _)| file).or(Some(PathBuf::new())),
        }
    };
    let files = (file("cert"), file("key"));
    let missing = match &files {
        (Some(_), None) => Some("key"),
        (None, Some(_)) => Some("cert"),
        _ => None,
    };
    if let Some(missing) = missing {
        section.add_problem(format_args!("{missing} is missing; set both to PEM files, or none for a listener without TLS"));
    }
    Some(Tls { cert: files.0?, key: files.1? })
}

fn admin(section: &Section<'_>, raw: &Raw, report: &Report) -> Admin {
    let entry = section.entry("listen").filter(|entry| entry.text_or_none() != Some(""));
    let default = Admin::default();
    Admin {
        listen: entry.map_or(default.listen, listen_addresses),
        unix_mode: section.parsed("unix_mode", default.unix_mode, socket_mode),
        tls: valid_or_default(report, || section.table("tls", |section| tls(section, raw))),
    }
}

fn deflate(section: &Section<'_>) -> Deflate {
    let default = Deflate::default();
    Deflate {
        enabled: section.boolean("enabled", default.enabled),
        threshold: section.integer("threshold", default.threshold, 0..=1 << 30),
        level: section.integer("level", default.level, 1..=9),
        history: section.boolean("history", default.history),
        references: section.integer("references", default.references, 1..=64),
        topics: section.integer("topics", default.topics, 1..=1_024),
    }
}

fn store(section: &Section<'_>, raw: &Raw) -> Store {
    let default = Store::default();
    let dir = section.entry("dir").and_then(|entry| Some((entry.text().filter(|text| !text.is_empty())?, entry.origin())));
    Store { dir: dir.map(|(text, origin)| raw.resolve(text, origin)), grace: section.duration("grace", default.grace, ("0s", "1d")) }
}

fn served(section: &Section<'_>) -> Served {
    Served { enabled: section.boolean("enabled", Served::default().enabled) }
}

fn log(section: &Section<'_>) -> Log {
    Log { format: section.choice("format", LogFormat::default(), &[("text", LogFormat::Text), ("json", LogFormat::Json)]) }
}

fn centrifugo(section: &Section<'_>) -> Centrifugo {
    let default = Centrifugo::default();
    Centrifugo { enabled: section.boolean("enabled", default.enabled), personal: section.parsed("personal", default.personal, personal) }
}

/// Reads a topic with `{user}` in it, or an empty text.
fn personal(text: &str) -> Result<String, String> {
    let right = "write a topic with {user} in it, as in \"#{user}\", or \"\" for none";
    match TopicName::parse(&text.replace("{user}", "u")) {
        _ if text.is_empty() => Ok(String::new()),
        Ok(_) if text.contains("{user}") => Ok(text.to_owned()),
        Ok(_) => Err(format!("has no {{user}} in it; {right}")),
        Err(error) => Err(format!("is not a topic: {error}; {right}")),
    }
}

fn rules(root: &Section<'_>) -> Rules {
    let sections = root.sections("topics");
    if sections.len() > RULES_MAX {
        root.add_problem(format_args!("topics has {} entries, the most is {RULES_MAX}; put patterns together", sections.len()));
        return Rules::new(Vec::new());
    }
    Rules::new(sections.into_iter().map(|section| section.read(rule)).collect())
}

fn rule(section: &Section<'_>) -> Rule {
    const ON_SLOW: [(&str, OnSlow); 4] = [
        ("replay", OnSlow::Replay),
        ("conflate", OnSlow::Conflate),
        ("drop_oldest", OnSlow::DropOldest),
        ("disconnect", OnSlow::Disconnect),
    ];
    const DEFLATE: [(&str, TopicDeflate); 3] =
        [("history", TopicDeflate::History), ("alone", TopicDeflate::Alone), ("off", TopicDeflate::Off)];
    let pattern = section.required("match", section.entry("match"), "write the pattern of the topics that it rules, as in \"chat.>\"");
    let default = Rule::plain(pattern.and_then(|(_, entry)| entry.scope()));
    let history = section.integer("history", default.history, 0..=10_000_000);
    let entry = section.entry("on_slow");
    let on_slow = entry.as_ref().and_then(|entry| entry.choice(&ON_SLOW));
    if let (Some(entry), Some(OnSlow::Replay), 0) = (&entry, on_slow, history) {
        entry.refuse("reads on from a history, and the rule keeps none; set history too, as in history = 100");
    }
    Rule {
        history,
        history_ttl: section.duration("history_ttl", default.history_ttl, ("1us", "3650d")),
        last: section.integer("last", default.last, 0..=10_000_000),
        on_slow: on_slow.unwrap_or(if history > 0 { OnSlow::Replay } else { default.on_slow }),
        max_age: section.entry("max_age").and_then(|entry| entry.duration(("1us", "3650d"))),
        presence: section.boolean("presence", default.presence),
        sender: section.boolean("sender", default.sender),
        pushes_joins: section.parsed("join_leave", default.pushes_joins, pushes_joins),
        publish_for_subscribers: section.boolean("publish_for_subscribers", default.publish_for_subscribers),
        user_channels: section.boolean("user_channels", default.user_channels),
        deflate: section.choice("deflate", default.deflate, &DEFLATE),
        ..default
    }
}

fn pushes_joins(text: &str) -> Result<bool, &'static str> {
    match text {
        "push" => Ok(true),
        "" => Ok(false),
        _ => Err("is not known; write \"push\", or leave it out for clients that ask alone"),
    }
}

fn endpoints(section: &Section<'_>) -> BTreeMap<String, TopicName> {
    let name = |text: &str| TopicName::parse(text).map_err(|error| format!("is not a topic: {error}"));
    let entries = section.free_entries().into_iter().filter_map(|(path, entry)| {
        let path = endpoint_path(path).map_err(|reason| entry.refuse(reason)).unwrap_or_default();
        Some((path, entry.parsed(name)?))
    });
    entries.collect()
}

/// Percent-decodes a path. Paths of requests are compared in that form.
fn endpoint_path(written: &str) -> Result<String, &'static str> {
    let path = percent_decode_str(written).decode_utf8().map_err(|_| "has a path whose percent-encoding is not UTF-8")?;
    let path = &*path;
    let is_own = |own: &&str| path == *own || own.strip_suffix('/').is_some_and(|above| path == above || path.starts_with(*own));
    if !path.starts_with('/') {
        Err("has a path without a leading slash; write it as in \"/rooms/lobby\"")
    } else if OWN_PATHS.iter().any(is_own) {
        Err("has a path of the gateway's own; choose another, as in \"/rooms/lobby\"")
    } else if written.contains(|character: char| character.is_whitespace() || character.is_control() || "?#".contains(character)) {
        Err("has a path that no request has; write one without white space, ? and #, as in \"/rooms/lobby\"")
    } else {
        Ok(path.to_owned())
    }
}
