//! The configuration of one test: a base, and what the test says otherwise.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use super::Gateway;
use super::engine::Nats;

/// Everybody may read and write `quotes`, `chat`, `test` and `plain`; nobody without credentials `private`.
const AUTH: &str = r#"
anonymous = { subscribe = ["quotes.>", "chat.>", "test.>", "plain.>", "$belfry.>"], publish = ["quotes.>", "chat.>", "test.>", "plain.>"] }
keys = [{ algorithm = "HS256", secret = "a secret of the tests, 32 bytes or more" }]
api_keys = [
    { name = "admin", key = "admin-key", admin = true },
    { name = "feed", key = "feed-key", subscribe = ["quotes.>", "private.>"], publish = ["quotes.>", "private.>"] },
]
"#;

/// One rule for each thing that may happen to a slow session; `plain` has none.
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

/// What a gateway is started with.
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
    /// Started for the first file.
    engine: Arc<OnceLock<Option<Arc<Nats>>>>,
}

impl Setup {
    /// The base.
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

    /// No file at all: the built-in one.
    pub fn built_in() -> Self {
        Self { without_file: true, ..Self::new() }
    }

    /// More lines of `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Other lines of `[auth]`, in place of the base's.
    pub fn auth(mut self, lines: &str) -> Self {
        self.auth = lines.to_owned();
        self
    }

    /// More lines of `[auth]`.
    pub fn more_auth(mut self, lines: &str) -> Self {
        self.auth.push_str(lines);
        self.auth.push('\n');
        self
    }

    /// The base's keys, but nothing for those who come without.
    pub fn without_anonymous(mut self) -> Self {
        self.auth = AUTH.lines().filter(|line| !line.starts_with("anonymous")).collect::<Vec<_>>().join("\n");
        self
    }

    /// More lines of `[limits]`.
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits.push_str(lines);
        self.limits.push('\n');
        self
    }

    /// Rates and bounds per address that no test reaches.
    pub fn without_rates(self) -> Self {
        self.limits("http_connections_per_address = 1000000\npending_per_address = 1000000\ncommands_per_second = 1000000\ncommands_burst = 1000000\nframes_per_second = 1000000\nframes_burst = 1000000")
    }

    /// A rule before the base's.
    pub fn rule(mut self, pattern: &str, lines: &str) -> Self {
        self.rules = format!("[[topics]]\nmatch = \"{pattern}\"\n{lines}\n{}", self.rules);
        self
    }

    /// Whole sections after the others.
    pub fn more(mut self, sections: &str) -> Self {
        self.more.push_str(sections);
        self.more.push('\n');
        self
    }

    /// One more argument of the command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// One variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a gateway on it.
    pub fn start(&self) -> Gateway {
        Gateway::spawn(self, None)
    }

    /// Starts a gateway on it whose standard error, and its input too, is `terminal`.
    pub fn start_on(&self, terminal: impl Into<OwnedFd>) -> Gateway {
        Gateway::spawn(self, Some(terminal.into()))
    }

    /// The file, if there is to be one.
    pub fn text(&self) -> Option<String> {
        let Self { server, auth, limits, rules, more, .. } = self;
        let engine = self.engine().map(|engine| engine.sections()).unwrap_or_default();
        (!self.without_file).then(|| format!("[server]\n{server}[auth]\n{auth}\n[limits]\n{limits}{rules}\n{engine}{more}"))
    }

    /// What the gateway's topics come from, if not from its memory.
    pub(super) fn engine(&self) -> Option<Arc<Nats>> {
        if self.without_file {
            return None;
        }
        self.engine.get_or_init(|| Nats::start_if_wanted().map(Arc::new)).clone()
    }

    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub(super) fn environment(&self) -> &[(String, String)] {
        &self.environment
    }
}
