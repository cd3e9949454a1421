//! PROTOCOL 8: the command line of the program.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

fn belfry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belfry"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("BELFRY_") {
            command.env_remove(key);
        }
    }
    command.env("RUST_LOG", "warn");
    command
}

fn run(arguments: &[&str]) -> Output {
    belfry().args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A gateway. It is killed on drop.
struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    fn start(listen: &str, settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let port_file = folder.path().join("port");
        let mut command = belfry();
        command.args(["serve", "--listen", listen, "--set", "feed.simulator.enabled=false", "--set", "server.drain=100ms", "--port-file"]);
        command.arg(&port_file);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut gateway = Self { process, address: String::new() };
        gateway.address = eventually("the port file", || std::fs::read_to_string(&port_file).ok()).trim().to_owned();
        gateway
    }

    fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    fn publish(&self, topic: &str, data: &str) {
        let output = run(&["pub", topic, data, "--url", &self.url()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.address.clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A running `belfry sub`, whose lines of output are read one by one.
struct Sub {
    process: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Sub {
    fn start(arguments: &[&str]) -> Self {
        Self::of(belfry().arg("sub").args(arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(process.stdout.take().unwrap());
        let errors = lines_of(process.stderr.take().unwrap());
        Self { process, lines, errors }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line within the deadline")
    }

    fn expect_success(mut self) {
        let status = eventually("the end of sub", || self.process.try_wait().unwrap());
        assert!(status.success());
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Waits for a fact until [`DEADLINE`] has passed.
fn eventually<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, content).unwrap();
    file.to_str().unwrap().to_owned()
}

/// PROTOCOL 8: `check --print-default` prints the built-in file, which passes `check`.
#[test]
fn the_built_in_file_passes_check() {
    let folder = TempDir::new().unwrap();
    let printed = run(&["check", "--print-default"]);
    assert!(printed.status.success());
    let file = write(folder.path(), "belfry.toml", &text(&printed.stdout));
    let checked = run(&["check", "--config", &file, "--set", "limits.sessions=5"]);
    assert!(checked.status.success());
    assert_eq!(text(&checked.stdout), format!("ok: {file}, --set limits.sessions\n"));
    assert_eq!(text(&run(&["check"]).stdout), "ok: the built-in configuration\n");
}

/// PROTOCOL 8: `check` reports each problem on a line.
#[test]
fn check_reports_every_problem() {
    let folder = TempDir::new().unwrap();
    let file = write(folder.path(), "bad.toml", "[server]\nlisten = \"nowhere\"\ncolour = 3\n[limits]\nping_interval = \"soon\"\n");
    let output = run(&["check", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    for key in ["listen", "colour", "ping_interval"] {
        assert!(errors.lines().any(|line| line.contains(key)), "{key} is not in {errors}");
    }
}

/// PROTOCOL 8: a command that fails exits with 1, and one line on standard error.
#[test]
fn failures_are_one_line() {
    for arguments in [
        &["sub", "quotes.AAPL", "--url", "ws://127.0.0.1:1/ws"][..],
        &["pub", "chat.lobby", "hi", "--url", "ws://127.0.0.1:1/ws"],
        &["top", "--url", "ws://127.0.0.1:1/ws"],
        &["check", "--config", "no-such-file.toml"],
        &["serve", "--log", "foo=bar=baz"],
        &["sub", "a", "--url", "wss://127.0.0.1:1/", "--cacert", "no-such-file.pem"],
        &["man", "nothing"],
        &["token", "--secret", "", "--sub", "ann"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let errors = text(&output.stderr);
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    }
}

/// PROTOCOL 8: wrong arguments exit with 1, and one line on standard error that names the argument and what would be
/// right. (They exited with 2, and several lines.)
#[test]
fn wrong_arguments_are_one_line_with_a_hint() {
    for (arguments, hint) in [
        (&[][..], "--help"),
        (&["sub"], "not provided: <TOPIC>...; usage: belfry sub"),
        (&["sub", "a..b"], "'a..b' for '<TOPIC>...': token 2 of topic \"a..b\" is empty; write `a.b`"),
        (&["sub", "a", "--last", "x"], "'x' for '--last <N>': write a whole number from 0 to"),
        (&["sub", "a", "--last", "-1"], "'-1' for '--last <N>': write a whole number from 0 to"),
        (&["sub", "a", "--count", "0"], "'0' for '--count <N>': write a whole number of 1 or more"),
        (&["sub", "a", "--url", "http://a/"], "write it as ws://"),
        (&["sub", "a", "--jsn"], "'--jsn' found; tip: a similar argument exists: '--json'"),
        (&["sub", "a", "--format", "xml"], "[possible values: text, json, raw]"),
        (&["pub", "a..b", "x"], "'a..b' for '<TOPIC>'"),
        (&["pub", "a\n\nb", "x"], "without white space"),
        (&["top", "--url"], "'--url <URL>'"),
        (&["token", "--sub", "ann"], "--secret <SECRET>|--key <FILE>"),
        (&["check", "a.toml"], "'--config a.toml' names the configuration"),
        (&["serve", "--colour"], "--colour"),
        (&["serv"], "'serv'; tip: a similar subcommand exists: 'serve'"),
    ] {
        let output = run(arguments);
        let errors = text(&output.stderr);
        assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("belfry: ") && errors.contains(hint), "{arguments:?}: {errors}");
    }
}

/// An error names its cause once. The bug: the causes of a bad log filter and of a used address were there twice.
#[test]
fn an_error_names_its_cause_once() {
    let errors = text(&run(&["serve", "--log", "foo=bar=baz"]).stderr);
    assert_eq!(errors.matches("error parsing level filter").count(), 1, "{errors}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let errors = text(&run(&["serve", "--listen", &address]).stderr);
    assert_eq!(errors.matches("in use").count(), 1, "{errors}");
}

/// `completions` and `man` print the commands and their options.
#[test]
fn completions_and_manual_pages_have_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]).stdout);
        assert!(script.contains("belfry") && script.contains("completions"), "{shell}: {script}");
    }
    let page = text(&run(&["man"]).stdout);
    assert!(page.contains(".TH") && page.contains("sub"), "{page}");
    let page = text(&run(&["man", "pub"]).stdout);
    assert!(page.contains("unthrottled"), "{page}");
}

/// `--version` and `--help` exit with 0.
#[test]
fn version_and_help_exit_with_0() {
    for arguments in [&["--version"][..], &["--help"], &["sub", "--help"]] {
        assert!(run(arguments).status.success(), "{arguments:?}");
    }
}

/// PROTOCOL 8: a token of `token` has the grants of its arguments, and no others.
#[test]
fn a_token_has_the_grants_of_its_arguments() {
    let secret = "a secret of more than thirty-two bytes";
    let keys = format!("auth.keys=[{{ algorithm = \"HS256\", secret = \"{secret}\" }}]");
    let gateway = Gateway::start("127.0.0.1:0", &[&keys]);
    let token = run(&["token", "--secret", secret, "--sub", "ann", "--subscribe", "desk.>", "--publish", "desk.*", "--ttl", "5m"]);
    assert!(token.status.success(), "{}", text(&token.stderr));
    let token = text(&token.stdout).trim().to_owned();
    let with_token = run(&["pub", "desk.a", "1", "--token", &token, "--url", &gateway.url()]);
    assert!(with_token.status.success(), "{}", text(&with_token.stderr));
    for refused in
        [&["pub", "desk.a", "1"][..], &["pub", "other.a", "1", "--token", &token], &["pub", "chat.lobby", "1", "--token", "nonsense"]]
    {
        let output = belfry().args(refused).args(["--url", &gateway.url()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{refused:?}");
    }
}

/// PROTOCOL 8: `sub` prints each payload as published, on a line, and ends after `--count` messages.
#[test]
fn sub_prints_payloads_and_ends_after_count() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", r#"{"price":187.300}"#);
    gateway.publish("chat.lobby", "plain words");
    let sub = Sub::start(&["chat.lobby", "--last", "2", "--count", "3", "--url", &gateway.url()]);
    assert_eq!(sub.next(), r#"{"price":187.300}"#);
    assert_eq!(sub.next(), "plain words");
    gateway.publish("chat.lobby", "3");
    assert_eq!(sub.next(), "3");
    sub.expect_success();
}

/// With a pattern, `sub` prints the topic before each message. A payload that is not UTF-8 is marked as Base64, and
/// printed unchanged with `--format raw`.
#[test]
fn messages_name_their_topic_and_bytes_are_marked() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.a", "hello");
    let request = format!(
        "POST /v1/topics/chat.b HTTP/1.1\r\nHost: {}\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n",
        gateway.address
    );
    let mut socket = std::net::TcpStream::connect(&gateway.address).unwrap();
    socket.write_all(format!("{request}Content-Length: 2\r\n\r\n").as_bytes()).unwrap();
    socket.write_all(&[0xff, 0x00]).unwrap();
    let answer = std::io::read_to_string(&mut socket).unwrap();
    assert!(answer.contains(" 200 "), "{answer}");
    let sub = Sub::start(&["chat.*", "--last", "1", "--count", "2", "--url", &gateway.url()]);
    let mut lines = [sub.next(), sub.next()];
    lines.sort();
    assert_eq!(lines, ["chat.a hello", "chat.b base64:/wA="]);
    sub.expect_success();
    let raw = run(&["sub", "chat.b", "--last", "1", "--count", "1", "--format", "raw", "--url", &gateway.url()]);
    assert_eq!(raw.stdout, [0xff, 0x00, b'\n']);
}

/// `pub` and `sub` report a URL whose path is not `/ws`. The bug: `pub` waited 30 s for a welcome, and `sub` for ever.
#[test]
fn a_url_of_another_dialect_is_reported() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    for path in ["/raw/chat.a", "/echo"] {
        let url = format!("ws://{}{path}", gateway.address);
        for arguments in [&["pub", "chat.a", "1", "--url", &url][..], &["sub", "chat.a", "--url", &url]] {
            let output = run(arguments);
            assert!(output.status.code() == Some(1) && text(&output.stderr).contains("is the path /ws?"), "{output:?}");
        }
    }
}

/// `BELFRY_URL` names the gateway, also as HOST:PORT. An empty `BELFRY_TOKEN` is no token.
#[test]
fn the_environment_names_the_gateway() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    let output = belfry().args(["pub", "chat.lobby", "1"]).env("BELFRY_URL", &gateway.address).env("BELFRY_TOKEN", "").output().unwrap();
    let errors = text(&output.stderr);
    assert!(output.status.success() && errors.contains("1 message published in"), "{errors}");
    let output = run(&["pub", "chat.lobby", "1", "--quiet", "--url", &gateway.address]);
    assert_eq!(text(&output.stderr), "");
}

/// `sub` reports a refused topic, and prints the messages of the others. The bug: it ended.
#[test]
fn a_refused_topic_does_not_end_the_others() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", "1");
    let sub = Sub::start(&["secret.a", "chat.lobby", "--last", "1", "--count", "1", "--url", &gateway.url()]);
    assert_eq!(sub.next(), "chat.lobby 1");
    let errors = sub.errors.recv_timeout(DEADLINE).unwrap();
    assert!(errors.contains("secret.a") && errors.contains("--token"), "{errors}");
    sub.expect_success();
}

/// `pub --unthrottled` with a key that has its own rate publishes as fast as the gateway answers.
#[test]
fn a_key_with_its_own_rate_is_not_throttled() {
    let key = r#"auth.api_keys=[{ name = "feed", key = "feed-key", publish = ["chat.>"], commands_per_second = 1000000 }]"#;
    let gateway = Gateway::start("127.0.0.1:0", &[key]);
    let arguments = ["pub", "chat.lines", "--unthrottled", "--token", "feed-key", "--url", &gateway.url()];
    let mut publisher = belfry().args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = publisher.stdin.take().unwrap();
    // More lines than `frames_burst`. The bug: the session was closed with 4003.
    (1..=10_000).for_each(|number| writeln!(input, "{number}").unwrap());
    drop(input);
    let output = publisher.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert!(output.status.success() && errors.contains("10000 messages published") && !errors.contains("held to"), "{errors}");
}

/// `token` warns of a short secret, and prints the token.
#[test]
fn token_warns_of_a_short_secret() {
    let output = run(&["token", "--secret", "short", "--sub", "ann"]);
    let errors = text(&output.stderr);
    assert!(output.status.success() && errors.contains("5 bytes") && errors.contains("32"), "{errors}");
}

/// PROTOCOL 8: `sub --json` prints the events as received.
#[test]
fn sub_prints_events_with_json() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", "1.50");
    let sub = Sub::start(&["chat.>", "--last", "1", "--count", "1", "--json", "--url", &gateway.url()]);
    let event = sub.next();
    assert!(event.starts_with(r#"{"op":"message","topic":"chat.lobby","epoch":""#) && event.contains(r#""data":1.50"#), "{event}");
    sub.expect_success();
}

/// PROTOCOL 8: `sub` reconnects after a restart of the gateway, and says so on standard error.
#[test]
fn sub_reconnects_after_a_restart() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", "1");
    let sub = Sub::start(&["chat.lobby", "--last", "1", "--url", &gateway.url()]);
    assert_eq!(sub.next(), "1");
    let address = gateway.kill();
    let errors = sub.errors.recv_timeout(DEADLINE).unwrap();
    assert!(errors.contains("reconnecting"), "{errors}");
    let gateway = Gateway::start(&address, &[]);
    gateway.publish("chat.lobby", "2");
    assert_eq!(sub.next(), "2");
}

/// `sub` reconnects with a closed standard error. The bug: it ended with the first line about the lost gateway.
#[test]
fn sub_reconnects_with_a_closed_standard_error() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", "1");
    let arguments = ["sub", "chat.lobby", "--last", "1", "--url", &gateway.url()];
    let mut process = belfry().args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stderr.take());
    let (lines, errors) = (lines_of(process.stdout.take().unwrap()), channel().1);
    let sub = Sub { process, lines, errors };
    assert_eq!(sub.next(), "1");
    let gateway = Gateway::start(&gateway.kill(), &[]);
    gateway.publish("chat.lobby", "2");
    assert_eq!(sub.next(), "2");
}

/// PROTOCOL 8: `sub` prints all messages that a restarted gateway had before `sub` reconnected. The bug: it printed the
/// newest `--last` of them.
#[test]
fn sub_misses_no_message_of_a_restarted_gateway() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    gateway.publish("chat.lobby", "1");
    let sub = Sub::start(&["chat.lobby", "--last", "1", "--count", "4", "--url", &gateway.url()]);
    assert_eq!(sub.next(), "1");
    let process = rustix::process::Pid::from_child(&sub.process);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    let gateway = Gateway::start(&gateway.kill(), &[]);
    ["2", "3", "4"].iter().for_each(|data| gateway.publish("chat.lobby", data));
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    assert_eq!([sub.next(), sub.next(), sub.next()], ["2", "3", "4"]);
    sub.expect_success();
}

/// PROTOCOL 8: `sub` reconnects after an operator has closed its session, and resumes by offset. The bug: it ended.
#[test]
fn sub_resumes_after_an_operators_close() {
    let key = r#"auth.api_keys=[{ name = "admin", key = "admin-key", admin = true, publish = ["chat.>"] }]"#;
    let gateway = Gateway::start("127.0.0.1:0", &[key]);
    gateway.publish("chat.lobby", "1");
    let sub = Sub::start(&["chat.lobby", "--last", "1", "--count", "3", "--url", &gateway.url()]);
    assert_eq!(sub.next(), "1");
    let listed = http(&gateway.address, "GET", "/v1/sessions");
    let id = listed.split("\"session\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(http(&gateway.address, "DELETE", &format!("/v1/sessions/{id}")).contains(" 204 "));
    ["2", "3"].iter().for_each(|data| gateway.publish("chat.lobby", data));
    assert_eq!([sub.next(), sub.next()], ["2", "3"]);
    sub.expect_success();
}

/// Sends one request with the admin key; gives the whole reply.
fn http(address: &str, method: &str, path: &str) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-key\r\nConnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(socket).unwrap()
}

/// PROTOCOL 8: `top` with an admin key prints the slowest sessions and the busiest topics, also into a pipe.
#[test]
fn top_shows_an_admin_sessions_and_topics() {
    let key = r#"auth.api_keys=[{ name = "admin", key = "admin-key", admin = true }]"#;
    let gateway = Gateway::start("127.0.0.1:0", &[key]);
    let mut top = belfry().args(["top", "--token", "admin-key", "--url", &gateway.url()]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(top.stdout.take().unwrap());
    for heading in ["published", "slowest sessions", "busiest topics"] {
        eventually(heading, || lines.recv_timeout(DEADLINE).expect(heading).contains(heading).then_some(()));
    }
    top.kill().unwrap();
    top.wait().unwrap();
}

/// PROTOCOL 8: `sub` ends with the gateway's error where all of its topics are refused.
#[test]
fn sub_ends_where_all_topics_are_refused() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    let output = run(&["sub", "secret.a", "--url", &gateway.url()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not_allowed"), "{}", text(&output.stderr));
}

/// `sub` exits with 0 once the reader of its output has gone, as `head` does.
#[test]
fn sub_ends_with_the_reader_of_its_output() {
    let gateway = Gateway::start("127.0.0.1:0", &[]);
    let mut process = belfry()
        .args(["sub", "chat.lobby", "--last", "1", "--url", &gateway.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gateway.publish("chat.lobby", "1");
    let mut reader: BufReader<ChildStdout> = BufReader::new(process.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let status = eventually("the end of sub", || {
        gateway.publish("chat.lobby", "2");
        process.try_wait().unwrap()
    });
    assert!(status.success());
}

/// PROTOCOL 7 and 8: `pub` keeps to the rate, so a thousand lines, which are more than the burst, arrive once and in
/// order.
#[test]
fn a_thousand_lines_arrive_in_order() {
    // The rule keeps 1,000 messages, so the subscriber may start after the publisher.
    let rule = r#"topics=[{ match = "chat.>", history = 1000 }]"#;
    let gateway = Gateway::start("127.0.0.1:0", &[rule]);
    let mut publisher = belfry().args(["pub", "chat.lines", "-", "--url", &gateway.url()]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = publisher.stdin.take().unwrap();
    for number in 1..=1_000 {
        writeln!(input, "{number}").unwrap();
    }
    drop(input);
    assert!(publisher.wait().unwrap().success());
    let sub = Sub::start(&["chat.lines", "--last", "1000", "--count", "1000", "--url", &gateway.url()]);
    for number in 1..=1_000 {
        assert_eq!(sub.next(), number.to_string());
    }
    sub.expect_success();
}

/// `pub` reports a line that is too long by its number, and publishes the others.
#[test]
fn a_line_too_long_is_reported_by_its_number() {
    let gateway = Gateway::start("127.0.0.1:0", &["limits.message_bytes=1000"]);
    let mut publisher =
        belfry().args(["pub", "chat.lines", "--url", &gateway.url()]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = publisher.stdin.take().unwrap();
    writeln!(input, "1\n\"{}\"\n3", "x".repeat(2_000)).unwrap();
    drop(input);
    let output = publisher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 2"), "{}", text(&output.stderr));
    let sub = Sub::start(&["chat.lines", "--last", "10", "--count", "2", "--url", &gateway.url()]);
    assert_eq!([sub.next(), sub.next()], ["1", "3"]);
    sub.expect_success();
}

/// Writes a certificate for 127.0.0.1 and its key as the gateway's; gives the certificate's file for a client to trust.
fn certify(folder: &Path, name: &str) -> String {
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    write(folder, "cert.pem", &pair.cert.pem());
    write(folder, "key.pem", &pair.signing_key.serialize_pem());
    write(folder, name, &pair.cert.pem())
}

/// Publishes over TLS with these roots; gives the errors where it fails.
fn publish_trusting(roots: &str, url: &str, data: &str) -> Result<(), String> {
    let output = belfry().args(["pub", "chat.lobby", data, "--url", url]).env("SSL_CERT_FILE", roots).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
}

/// PROTOCOL 8: `pub` and `sub` use the system's roots for `wss`. SIGHUP renews the gateway's certificate under running
/// sessions.
#[test]
fn a_certificate_is_renewed_under_running_sessions() {
    let folder = TempDir::new().unwrap();
    let old = certify(folder.path(), "old.pem");
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls = format!("server.tls={{ cert = {:?}, key = {:?} }}", file("cert.pem"), file("key.pem"));
    let gateway = Gateway::start("127.0.0.1:0", &[&tls]);
    let url = format!("wss://{}/ws", gateway.address);
    publish_trusting(&old, &url, "1").unwrap();
    let sub = Sub::of(belfry().env("SSL_CERT_FILE", &old).args(["sub", "chat.lobby", "--last", "1", "--count", "3", "--url", &url]));
    assert_eq!(sub.next(), "1");
    let new = certify(folder.path(), "new.pem");
    assert!(publish_trusting(&new, &url, "no").unwrap_err().contains("no TLS with"), "the old certificate is still in effect");
    let process = rustix::process::Pid::from_child(&gateway.process);
    rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    eventually("the new certificate", || publish_trusting(&new, &url, "2").ok());
    assert_eq!(sub.next(), "2");
    let refused = publish_trusting(&old, &url, "no").unwrap_err();
    assert!(refused.contains("certificate") && refused.lines().count() == 1, "{refused}");
    publish_trusting(&new, &url, "3").unwrap();
    assert_eq!(sub.next(), "3");
    sub.expect_success();
}

/// A self-signed certificate is trusted with `--cacert` or `--insecure`, and refused otherwise.
#[test]
fn a_self_signed_certificate_is_trusted_on_request() {
    let folder = TempDir::new().unwrap();
    let roots = certify(folder.path(), "roots.pem");
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tls = format!("server.tls={{ cert = {:?}, key = {:?} }}", file("cert.pem"), file("key.pem"));
    let gateway = Gateway::start("127.0.0.1:0", &[&tls]);
    let url = format!("wss://{}/ws", gateway.address);
    let publish = |arguments: &[&str]| run(&[&["pub", "chat.lobby", "1", "--url", &url], arguments].concat());
    assert!(publish(&["--cacert", &roots]).status.success());
    let output = publish(&["--insecure"]);
    assert!(output.status.success() && text(&output.stderr).contains("warning: --insecure"), "{output:?}");
    let refused = text(&publish(&[]).stderr);
    assert!(refused.contains("--cacert"), "{refused}");
}

/// PROTOCOL 8: `check` and `serve` read keys and recordings, and report all problems in them at once.
#[test]
fn check_and_serve_read_keys_and_recordings() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "keys.json", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#);
    write(folder.path(), "public.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    write(folder.path(), "ticks.csv", "when,symbol\n1,A\n");
    let bad = r#"
server.listen = "127.0.0.1:0"
auth.keys = [{ public_key = "public.pem" }, { jwks = "keys.json" }]
[[feed.replay]]
file = "ticks.csv"
topic = "quotes.{symbol}"
"#;
    let file = write(folder.path(), "bad.toml", bad);
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", &file]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for key in ["auth.keys[0].public_key", "auth.keys[1].jwks", "feed.replay[0].time = \"timestamp\""] {
            assert!(errors.lines().any(|line| line.contains(key)), "{command}: {key} is not in {errors}");
        }
    }
}

/// PROTOCOL 8: `check` compares the certificate with its key, and reports problems in both with all others. The bug: it
/// checked only that the files are PEM, and after a problem in the configuration it read no files.
#[test]
fn check_compares_the_certificate_with_its_key() {
    let folder = TempDir::new().unwrap();
    certify(folder.path(), "old.pem");
    std::fs::rename(folder.path().join("key.pem"), folder.path().join("other.pem")).unwrap();
    certify(folder.path(), "new.pem");
    write(folder.path(), "public.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    let file = |key: &str, more: &str| {
        let keys = "auth.keys = [{ public_key = \"public.pem\" }]";
        let keys = if more.is_empty() { "" } else { keys };
        write(folder.path(), "belfry.toml", &format!("server.tls = {{ cert = \"cert.pem\", key = \"{key}\" }}\n{keys}\n{more}\n"))
    };
    assert!(run(&["check", "--config", &file("key.pem", "")]).status.success());
    for (key, more, expected) in [
        ("other.pem", "", &["server.tls.cert = ", "other.pem", "was made for"][..]),
        ("new.pem", "", &["server.tls.key = ", "new.pem", "private key"]),
        ("other.pem", "colour = 3", &["colour", "auth.keys[0].public_key", "other.pem"]),
    ] {
        let output = run(&["check", "--config", &file(key, more)]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(expected.iter().all(|part| errors.contains(part)), "{errors}");
    }
}

/// `check` warns of a valid setting that is hardly intended, and passes.
#[test]
fn check_warns_of_a_short_secret() {
    let output = run(&["check", "--set", "auth.keys=[{ secret = \"short\" }]"]);
    let errors = text(&output.stderr);
    assert!(output.status.success() && errors.contains("warning") && errors.contains("auth.keys[0].secret"), "{errors}");
}
