//! `belfry sub`: prints messages, comes back when the gateway was gone.

use std::io::{BufWriter, ErrorKind, IsTerminal, Stdout, Write};
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::connect::{ConnectError, upgrade};
use super::endpoint::Endpoint;
use super::event::{Event, Message, one_line, read_event};
use super::resume::{Resume, SUBSCRIBE_ID};
use super::wire::{Incoming, Wire};

/// How long the gateway may be silent before its welcome has said how often it pings.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);

/// How long whoever was closed by an operator stays away.
const AFTER_OPERATOR: Duration = Duration::from_secs(1);

/// What the user asked for.
#[derive(Debug)]
pub struct Wanted {
    /// Names and patterns.
    pub topics: Vec<String>,
    /// `--last`.
    pub last: Option<u32>,
    /// `--count`.
    pub count: Option<u64>,
    /// `--json`.
    pub json: bool,
}

/// One `belfry sub`, over all of its sessions.
pub struct Subscriber {
    endpoint: Endpoint,
    token: Option<String>,
    resume: Resume,
    /// How many messages are still to be printed, if that has an end.
    left: Option<u64>,
    json: bool,
    output: BufWriter<Stdout>,
    /// A person reads along: each message is shown at once.
    flush_each: bool,
    backoff: Backoff,
}

/// How a session ended.
enum End {
    /// `--count` is full, or nobody reads any more.
    Done,
    /// Gone, for this reason; not to be sought before then, if the gateway has said so.
    Lost(String, Option<Instant>),
}

/// What one event did.
enum Heard {
    Nothing,
    Welcome { silence_max: Duration },
    Draining(Instant),
    Done,
}

impl Subscriber {
    /// Nothing is connected yet.
    pub fn new(endpoint: Endpoint, token: Option<String>, wanted: Wanted) -> Self {
        let output = std::io::stdout();
        Self {
            endpoint,
            token,
            resume: Resume::new(wanted.topics, wanted.last),
            left: wanted.count,
            json: wanted.json,
            flush_each: output.is_terminal(),
            output: BufWriter::new(output),
            backoff: Backoff::default(),
        }
    }

    /// Prints messages until there is nothing left to do, or nothing that could help.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut was_connected = false;
        loop {
            let not_before = match upgrade(&self.endpoint, self.token.as_deref()).await {
                Ok(wire) => {
                    if std::mem::replace(&mut was_connected, true) {
                        eprintln!("belfry: back at {}", self.endpoint);
                    }
                    match self.listen(wire).await? {
                        End::Done => return Ok(()),
                        End::Lost(why, not_before) => {
                            eprintln!("belfry: {why}; reconnecting");
                            not_before
                        }
                    }
                }
                Err(ConnectError::Later(error, wait)) => {
                    if !was_connected {
                        eprintln!("belfry: {error:#}; trying again");
                    }
                    wait.map(|wait| Instant::now() + wait)
                }
                Err(ConnectError::Unreachable(_)) if was_connected => None,
                Err(error) => return Err(error.into_error()),
            };
            let wait = self.backoff.wait();
            tokio::time::sleep_until(not_before.unwrap_or_else(|| Instant::now() + wait)).await;
        }
    }

    /// One session, from its welcome to its end.
    async fn listen(&mut self, mut wire: Wire) -> anyhow::Result<End> {
        let mut silence_max = WELCOME_WITHIN;
        let mut not_before = None;
        loop {
            let incoming = match wire.take_received() {
                Ok(Some(incoming)) => Ok(incoming),
                Ok(None) => {
                    if is_closed(self.output.flush())? {
                        return Ok(End::Done);
                    }
                    match tokio::time::timeout(silence_max, wire.next()).await {
                        Ok(incoming) => incoming,
                        Err(_) => return Ok(End::Lost(format!("nothing heard for {} s", silence_max.as_secs()), not_before)),
                    }
                }
                Err(error) => Err(error),
            };
            match incoming {
                Ok(Incoming::Alive) => {}
                Ok(Incoming::Close(code, reason)) => return after_close(code, &reason, not_before),
                Ok(Incoming::Text(text)) => match self.hear(&text, &mut wire)? {
                    Heard::Nothing => {}
                    Heard::Welcome { silence_max: longer } => silence_max = longer,
                    Heard::Draining(until) => not_before = Some(until),
                    Heard::Done => {
                        is_closed(self.output.flush())?;
                        wire.close().await;
                        return Ok(End::Done);
                    }
                },
                Err(error) => return Ok(End::Lost(error.to_string(), not_before)),
            }
        }
    }

    fn hear(&mut self, text: &str, wire: &mut Wire) -> anyhow::Result<Heard> {
        if let Some(message) = Message::read(text) {
            return self.print(text, &message);
        }
        match read_event(text) {
            Some(Event::Welcome { ping_interval_ms, max_message_bytes }) => {
                self.resume.commands(max_message_bytes).iter().for_each(|command| wire.queue_text(command));
                // Two pings that didn't come, and the way here.
                let silence_max = Duration::from_millis(ping_interval_ms.saturating_mul(2)) + Duration::from_secs(5);
                return Ok(Heard::Welcome { silence_max });
            }
            Some(Event::Subscribed { topics }) => {
                self.backoff.reset();
                for notice in self.resume.subscribed(topics) {
                    eprintln!("belfry: {notice}");
                }
            }
            Some(Event::Gap { topic, from, to }) => {
                eprintln!("belfry: {topic}: messages {from} to {to} are lost, this session was too slow")
            }
            Some(Event::Draining { retry_after_ms }) => {
                return Ok(Heard::Draining(Instant::now() + Duration::from_millis(retry_after_ms)));
            }
            Some(Event::Error { id, code, message }) => {
                if id.and_then(|id| id.as_u64()) == Some(SUBSCRIBE_ID) {
                    bail!("{code}: {message}");
                }
                eprintln!("belfry: {code}: {message}");
            }
            Some(Event::Published { .. } | Event::Other) | None => {}
        }
        Ok(Heard::Nothing)
    }

    fn print(&mut self, text: &str, message: &Message<'_>) -> anyhow::Result<Heard> {
        if !self.resume.is_new(&message.topic, &message.epoch, message.offset) {
            return Ok(Heard::Nothing);
        }
        let line = match (self.json, message.data, &message.data_base64) {
            (true, ..) => one_line(text),
            (false, Some(data), _) => one_line(data.get()),
            (false, None, Some(base64)) => base64.clone(),
            (false, None, None) => "null".into(),
        };
        let written = writeln!(self.output, "{line}").and_then(|()| if self.flush_each { self.output.flush() } else { Ok(()) });
        if is_closed(written)? {
            return Ok(Heard::Done);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(if self.left == Some(0) { Heard::Done } else { Heard::Nothing })
    }
}

/// Whether whoever read standard output has left; that is no failure.
fn is_closed(written: std::io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(anyhow!("can't write to standard output: {error}")),
    }
}

/// What the gateway's Close means to a subscriber (PROTOCOL section 6): come back, or give up with its words.
fn after_close(code: u16, reason: &str, not_before: Option<Instant>) -> anyhow::Result<End> {
    let said =
        if reason.is_empty() { format!("the gateway closed with {code}") } else { format!("the gateway closed with {code}, {reason}") };
    match code {
        4001 => bail!("{said}: the token is not one that it knows; give another --token"),
        4002 => bail!("{said}: the token has expired; give a new --token"),
        1008 => bail!("{said}: not allowed without credentials? give a --token"),
        // The operator wanted this session gone, not its reader; the key is what keeps somebody out.
        4009 => Ok(End::Lost(said, Some(not_before.unwrap_or_else(|| Instant::now() + AFTER_OPERATOR)))),
        1002 | 1003 | 1007 | 1009 | 1010 => bail!("{said}: it doesn't understand this version of belfry"),
        _ => Ok(End::Lost(said, not_before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 6, 8: a drain, a slow session or one that an operator closed comes back, a bad token doesn't.
    #[test]
    fn some_closes_are_final() {
        for code in [1000, 1001, 1005, 1011, 1013, 4003, 4004, 4005, 4009] {
            assert!(after_close(code, "", None).is_ok(), "{code}");
        }
        for code in [1002, 1008, 4001, 4002] {
            let error = after_close(code, "why", None).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("why") && error.contains(&code.to_string()), "{error}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert!(is_closed(Err(ErrorKind::BrokenPipe.into())).unwrap());
        assert!(is_closed(Err(ErrorKind::StorageFull.into())).is_err());
        assert!(!is_closed(Ok(())).unwrap());
    }
}
