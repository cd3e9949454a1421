//! `belfry pub`: a payload, or the lines of standard input, each acknowledged.

use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use super::connect::{ConnectError, upgrade};
use super::endpoint::Endpoint;
use super::event::{Event, read_event};
use super::window::{Line, Turn, Window};
use super::wire::{Incoming, Wire};
use crate::clock::Clock;
use crate::topic_name::TopicName;

const LINE_BYTES_MAX: u64 = 16 << 20;
const LINES_AHEAD: usize = 256;
/// How long an answer may take before the gateway counts as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where payloads come from.
pub struct Source {
    lines: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    /// How a payload is called in an error.
    many: bool,
}

impl Source {
    /// One payload.
    pub fn one(data: String) -> Self {
        let (sender, lines) = mpsc::channel(1);
        sender.try_send(Ok(data.into_bytes())).expect("a new queue of one has room for one");
        Self { lines, many: false }
    }

    /// The lines of standard input, without their ends.
    pub fn standard_input() -> Self {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        tokio::spawn(async move {
            let mut input = BufReader::new(tokio::io::stdin());
            loop {
                let mut line = Vec::new();
                let outcome = match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                    Ok(0) => return,
                    Ok(_) if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") => {
                        Err(std::io::Error::other("a line of standard input is longer than 16 MiB"))
                    }
                    Ok(_) => {
                        line.pop_if(|byte| *byte == b'\n');
                        line.pop_if(|byte| *byte == b'\r');
                        Ok(line)
                    }
                    Err(error) => Err(error),
                };
                let failed = outcome.is_err();
                if sender.send(outcome).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { lines, many: true }
    }
}

/// Publishes everything from `source` on `topic`, in order, and waits for every answer.
pub async fn publish(endpoint: &Endpoint, token: Option<&str>, topic: &TopicName, source: Source) -> anyhow::Result<()> {
    let mut wire = upgrade(endpoint, token).await.map_err(ConnectError::into_error)?;
    let message_bytes_max = welcome(&mut wire).await?;
    let clock = Clock::machine();
    let window = Window::new(clock.moment());
    let report = Report { many: source.many, ..Report::default() };
    Publisher { topic: topic.clone(), lines: source.lines, ended: false, message_bytes_max, clock, window, report }.run(wire).await
}

/// One `belfry pub`, from its welcome to its last answer.
struct Publisher {
    topic: TopicName,
    lines: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    /// Whether no further line is wanted: the source is at its end, or the gateway takes none of them.
    ended: bool,
    message_bytes_max: usize,
    clock: Clock,
    window: Window,
    report: Report,
}

/// What is told at the end.
#[derive(Debug, Default)]
struct Report {
    many: bool,
    /// Lines read.
    read: u64,
    published: u64,
    failed: u64,
    /// Which failed first, and why.
    first_failure: Option<String>,
}

impl Publisher {
    async fn run(mut self, mut wire: Wire) -> anyhow::Result<()> {
        let outcome = self.publish_all(&mut wire).await;
        if let Err(error) = outcome {
            return Err(self.report.broken(&error, self.window.under_way(), self.ended && !self.window.has_refused()));
        }
        wire.close().await;
        self.report.verdict()
    }

    async fn publish_all(&mut self, wire: &mut Wire) -> anyhow::Result<()> {
        let mut heard_at = self.clock.moment();
        loop {
            if self.ended && self.window.is_settled() {
                return Ok(());
            }
            let now = self.clock.moment();
            let turn = self.window.turn(now);
            if turn == Turn::Now
                && let Some(line) = self.window.take_refused()
            {
                self.send(line, wire);
                continue;
            }
            if self.window.under_way() == 0 {
                heard_at = now;
            }
            let may_read = turn == Turn::Now && !self.ended;
            let pause = match turn {
                Turn::At(moment) => moment.since(now),
                Turn::Now | Turn::AfterAnswer => ANSWER_WITHIN.saturating_sub(now.since(heard_at)),
            };
            tokio::select! {
                // Lines first: what is ready is sent together.
                biased;
                line = self.lines.recv(), if may_read => match line {
                    Some(line) => self.take_line(line?, wire),
                    None => self.ended = true,
                },
                incoming = wire.next() => {
                    heard_at = self.clock.moment();
                    self.hear(incoming?)?;
                }
                () = tokio::time::sleep(pause) => {
                    if self.window.under_way() > 0 && pause.is_zero() {
                        bail!("the gateway has not answered for {} s", ANSWER_WITHIN.as_secs());
                    }
                }
            }
        }
    }

    fn take_line(&mut self, line: Vec<u8>, wire: &mut Wire) {
        self.report.read += 1;
        let number = self.report.read;
        match command(number, &self.topic, &line, self.message_bytes_max) {
            Ok(text) => self.send(Line { number, text }, wire),
            Err(why) => self.report.failure(number, &why),
        }
    }

    fn send(&mut self, line: Line, wire: &mut Wire) {
        wire.queue_text(&line.text);
        self.window.sent(line, self.clock.moment());
    }

    fn hear(&mut self, incoming: Incoming) -> anyhow::Result<()> {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Alive => return Ok(()),
            Incoming::Close(code, reason) => bail!(closed(code, &reason)),
        };
        match read_event(&text) {
            Some(Event::Published { id }) if self.window.settled(id) => self.report.published += 1,
            Some(Event::Error { id, code, message }) => match id.and_then(|id| id.as_u64()) {
                Some(number) if code == "rate_limited" => self.window.rate_limited(number, self.clock.moment()),
                Some(number) if self.window.settled(number) => {
                    self.report.failure(number, &format!("{code}: {message}"));
                    // The gateway would say the same to every other line, but for one that it can't read.
                    self.ended |= code != "bad_request" && code != "message_too_large";
                }
                _ => eprintln!("belfry: {code}: {message}"),
            },
            _ => {}
        }
        Ok(())
    }
}

impl Report {
    fn failure(&mut self, number: u64, why: &str) {
        self.failed += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some(if self.many { format!("line {number}: {why}") } else { why.to_owned() });
        }
    }

    fn verdict(self) -> anyhow::Result<()> {
        match self.first_failure {
            None => Ok(()),
            Some(first) if !self.many => Err(anyhow!(first)),
            Some(first) => Err(anyhow!("{} of {} lines were not published; the first: {first}", self.failed, self.read)),
        }
    }

    /// What is known when the gateway is gone before all is answered.
    fn broken(&self, error: &anyhow::Error, unknown: usize, all_sent: bool) -> anyhow::Error {
        let rest = if all_sent { "" } else { ", and the rest was not sent" };
        anyhow!("{error:#}: {} published, {unknown} without an answer (published or not){rest}", self.published)
    }
}

/// Waits for the welcome, which tells the longest message that the gateway takes.
async fn welcome(wire: &mut Wire) -> anyhow::Result<usize> {
    loop {
        let incoming = tokio::time::timeout(ANSWER_WITHIN, wire.next()).await.map_err(|_| anyhow!("the gateway says no welcome"))??;
        match incoming {
            Incoming::Close(code, reason) => bail!("{}; nothing was published", closed(code, &reason)),
            Incoming::Alive => {}
            Incoming::Text(text) => {
                if let Some(Event::Welcome { max_message_bytes, .. }) = read_event(&text) {
                    return Ok(max_message_bytes);
                }
            }
        }
    }
}

/// The `publish` of one payload; the error says why there is none.
fn command(number: u64, topic: &TopicName, payload: &[u8], bytes_max: usize) -> Result<String, String> {
    let payload = std::str::from_utf8(payload).map_err(|_| "it is not UTF-8".to_owned())?;
    // As it stands where it is JSON: prices keep their zeros. A topic's name never needs escaping.
    let data = match serde_json::from_str::<&RawValue>(payload) {
        Ok(json) => json.get().to_owned(),
        Err(_) => serde_json::Value::from(payload).to_string(),
    };
    let text = format!(r#"{{"op":"publish","id":{number},"topic":"{topic}","data":{data}}}"#);
    if text.len() > bytes_max {
        return Err(format!("its command has {} bytes, the gateway takes {bytes_max} (message_bytes)", text.len()));
    }
    Ok(text)
}

fn closed(code: u16, reason: &str) -> String {
    match code {
        4001 => "the gateway does not know this token (4001); give another --token".to_owned(),
        4002 => "the token has expired (4002); give a new --token".to_owned(),
        _ if reason.is_empty() => format!("the gateway closed with {code}"),
        _ => format!("the gateway closed with {code}, {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(payload: &str) -> String {
        command(7, &TopicName::parse("chat.lobby").unwrap(), payload.as_bytes(), 1_000).unwrap()
    }

    /// PROTOCOL 8: DATA that isn't JSON is sent as a JSON string; what is goes byte for byte.
    #[test]
    fn payloads_go_as_they_are_or_as_a_string() {
        assert_eq!(written(r#"{"price":187.300}"#), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":{"price":187.300}}"#);
        assert_eq!(written("12345678901234567890"), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":12345678901234567890}"#);
        assert_eq!(written("say \"hi\""), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":"say \"hi\""}"#);
        assert_eq!(written(""), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":""}"#);
        assert_eq!(written("{} {}"), r#"{"op":"publish","id":7,"topic":"chat.lobby","data":"{} {}"}"#);
    }

    #[test]
    fn what_the_gateway_would_close_for_is_not_sent() {
        let topic = TopicName::parse("a").unwrap();
        assert!(command(1, &topic, &[b'1'; 200], 100).unwrap_err().contains("100"));
        assert!(command(1, &topic, b"\xFF", 100).is_err());
    }

    #[test]
    fn the_verdict_names_the_first_failure() {
        let mut report = Report { many: true, read: 3, ..Report::default() };
        report.failure(2, "not_allowed: no");
        report.failure(3, "not_allowed: no");
        let told = report.verdict().unwrap_err().to_string();
        assert!(told.contains("2 of 3") && told.contains("line 2: not_allowed"), "{told}");
        assert!(Report::default().verdict().is_ok());
    }

    #[test]
    fn a_break_tells_what_is_unknown() {
        let report = Report { published: 5, ..Report::default() };
        let told = report.broken(&anyhow!("gone"), 3, false).to_string();
        assert!(told.contains("5 published") && told.contains("3 without an answer") && told.contains("not sent"), "{told}");
    }
}
