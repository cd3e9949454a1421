//! The configuration of one test: the base configuration with the test's changes.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use super::Gateway;
use super::engine::Nats;

/// Grants: `quotes`, `chat`, `test` and `plain` are open to all; `private` needs credentials.
const AUTH: &str = r#"
anonymous = { subscribe = ["quotes.>", "chat.>", "test.>", "plain.>", "$belfry.>"], publish = ["quotes.>", "chat.>", "test.>", "plain.>"] }
keys = [{ algorithm = "HS256", secret = "a secret of the tests, 32 bytes or more" }]
api_keys = [
    { name = "admin", key = "admin-key", admin = true },
    { name = "feed", key = "feed-key", subscribe = ["quotes.>", "private.>"], publish = ["quotes.>", "private.>"] },
]
"#;

/// One rule for each `on_slow`; `plain` has no rule.
const RULES: &str = r#"
[[topics]]
match = "quotes.>"
history = 100
last = 1
on_slow = "conflate"
[[topics]]
match = "chat.>"
history = 100
on_slow = "disconnect"
presence = true
[[topics]]
match = "test.>"
history = 1000
on_slow = "drop_oldest"
presence = true
[[topics]]
match = "private.>"
history = 100
presence = true
"#;

/// The configuration file, the arguments and the environment of a gateway.
#[derive(Debug, Clone)]
pub struct Setup {
    server: String,
    auth: String,
    limits: String,
    rules: String,
    more: String,
    without_file: bool,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Started for the first file. Clones share the server.
    engine: Arc<OnceLock<Option<Arc<Nats>>>>,
}

impl Setup {
    /// The base configuration.
    pub fn new() -> Self {
        Self {
            server: "shards = 2\n".to_owned(),
            auth: AUTH.to_owned(),
            limits: String::new(),
            rules: RULES.to_owned(),
            more: String::new(),
            without_file: false,
            arguments: Vec::new(),
            environment: Vec::new(),
            engine: Arc::default(),
        }
    }

    /// No file, so the gateway runs on the built-in one.
    pub fn built_in() -> Self {
        Self { without_file: true, ..Self::new() }
    }

    /// Adds lines to `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Replaces the lines of `[auth]`.
    pub fn auth(mut self, lines: &str) -> Self {
        self.auth = lines.to_owned();
        self
    }

    /// Adds lines to `[auth]`.
    pub fn more_auth(mut self, lines: &str) -> Self {
        self.auth.push_str(lines);
        self.auth.push('\n');
        self
    }

    /// The base configuration's keys without its anonymous grants.
    pub fn without_anonymous(mut self) -> Self {
        self.auth = AUTH.lines().filter(|line| !line.starts_with("anonymous")).collect::<Vec<_>>().join("\n");
        self
    }

    /// Adds lines to `[limits]`.
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits.push_str(lines);
        self.limits.push('\n');
        self
    }

    /// Rates and bounds per address that are too high for a test to reach.
    pub fn without_rates(self) -> Self {
        let keys = [
            "http_connections_per_address",
            "pending_per_address",
            "commands_per_second",
            "commands_burst",
            "frames_per_second",
            "frames_burst",
        ];
        self.limits(&keys.map(|key| format!("{key} = 1000000")).join("\n"))
    }

    /// Adds a rule before the base configuration's rules.
    pub fn rule(mut self, pattern: &str, lines: &str) -> Self {
        self.rules = format!("[[topics]]\nmatch = \"{pattern}\"\n{lines}\n{}", self.rules);
        self
    }

    /// Adds sections after the others.
    pub fn more(mut self, sections: &str) -> Self {
        self.more.push_str(sections);
        self.more.push('\n');
        self
    }

    /// Adds an argument of the command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a gateway.
    pub fn start(&self) -> Gateway {
        Gateway::spawn(self, None)
    }

    /// Starts a gateway whose standard input and standard error are `terminal`.
    pub fn start_on(&self, terminal: impl Into<OwnedFd>) -> Gateway {
        Gateway::spawn(self, Some(terminal.into()))
    }

    /// The configuration file; `None` without a file.
    pub fn text(&self) -> Option<String> {
        let Self { server, auth, limits, rules, more, .. } = self;
        let engine = self.engine().map(|engine| engine.sections()).unwrap_or_default();
        (!self.without_file).then(|| format!("[server]\n{server}[auth]\n{auth}\n[limits]\n{limits}{rules}\n{engine}{more}"))
    }

    /// The NATS server of the gateway's topics; `None` where they are in memory.
    pub(super) fn engine(&self) -> Option<Arc<Nats>> {
        if self.without_file {
            return None;
        }
        self.engine.get_or_init(|| Nats::start_if_configured().map(Arc::new)).clone()
    }

    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }
}
