//! A session's far end: it says commands, reads when it is told to, and writes down both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::DEADLINE;

/// Offsets by topic.
pub type Offsets = BTreeMap<String, u64>;

/// What happened to a session, in order.
#[derive(Debug, Clone)]
pub enum Entry {
    /// It sent this; the newest offsets were these, then.
    Said(Value, Offsets),
    /// It heard this; and for the answer to a subscribe, the newest offsets by then.
    Heard(Value, Offsets),
    /// It was closed.
    Closed(u16),
}

/// One connection.
pub struct Session {
    socket: TcpStream,
    read: Vec<u8>,
    pub tight: bool,
    pub open: bool,
    pub trace: Vec<Entry>,
    /// As a well-behaved client remembers it: of each topic the epoch and the last offset.
    pub positions: BTreeMap<String, (String, u64)>,
    pub subscriptions: BTreeSet<String>,
    /// What it has published without wanting to hear it: topics and offsets.
    pub unheard: BTreeSet<(String, u64)>,
    said: u64,
    pongs: u64,
}

impl Session {
    /// A session on a fresh connection.
    pub fn new(socket: TcpStream, tight: bool) -> Self {
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            read: Vec::new(),
            tight,
            open: true,
            trace: Vec::new(),
            positions: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            unheard: BTreeSet::new(),
            said: 0,
            pongs: 0,
        }
    }

    /// Sends `command` with an `id`; gives the id.
    pub fn say(&mut self, mut command: Value, newest: Offsets) -> u64 {
        self.said += 1;
        command["id"] = self.said.into();
        self.send(&command);
        self.trace.push(Entry::Said(command, newest));
        self.said
    }

    /// Sends `value` as one text.
    pub fn send(&mut self, value: &Value) {
        let text = value.to_string();
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length => frame.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
        }
        frame.extend([0; 4]); // a mask of zeros leaves the payload as it is
        frame.extend_from_slice(text.as_bytes());
        self.socket.set_nonblocking(false).unwrap();
        // A connection that the gateway has given up shows that when it is read.
        let _ = self.socket.write_all(&frame);
    }

    /// Ends the connection without a word.
    pub fn cut(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.open = false;
    }

    /// Reads what is there.
    pub fn read_on(&mut self, newest: &impl Fn() -> Offsets) {
        self.socket.set_nonblocking(true).unwrap();
        while self.open && self.receive(newest) {}
    }

    /// Reads until `fact` is true of what it has written down, or it is closed.
    pub fn read_until(&mut self, what: &str, newest: &impl Fn() -> Offsets, fact: impl Fn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        while self.open && !fact(self) {
            if Instant::now() > deadline {
                return Err(format!("waited {DEADLINE:?} in vain for {what}"));
            }
            self.receive(newest);
        }
        Ok(())
    }

    /// Reads until all has come that was published before: an unsubscribe is answered after that, even if it ends nothing.
    pub fn fence(&mut self, newest: &impl Fn() -> Offsets) -> Result<(), String> {
        if !self.open {
            return Ok(());
        }
        let id = self.say(json!({"op": "unsubscribe", "topics": ["nothing"]}), Offsets::new());
        self.read_until("the answer to a fence", newest, |session| session.has_answer(id))
    }

    /// Reads until everything that the session has sent is carried out: RFC 6455 messages are read in order, so the pong to a ping comes
    /// after that.
    pub fn await_pong(&mut self, newest: &impl Fn() -> Offsets) -> Result<(), String> {
        let before = self.pongs;
        self.socket.set_nonblocking(false).unwrap();
        // A connection that the gateway has given up shows that when it is read.
        let _ = self.socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]);
        self.read_until("a pong", newest, |session| session.pongs > before)
    }

    /// Whether the command `id` was answered.
    pub fn has_answer(&self, id: u64) -> bool {
        self.answer(id).is_some()
    }

    /// The answer to the command `id`.
    pub fn answer(&self, id: u64) -> Option<&Value> {
        self.trace.iter().rev().find_map(|entry| match entry {
            Entry::Heard(event, _) if event["id"] == id => Some(event),
            _ => None,
        })
    }

    /// One read; `false`: there was nothing.
    fn receive(&mut self, newest: &impl Fn() -> Offsets) -> bool {
        let mut bytes = [0; 16 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => self.end(1006),
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(_) => self.end(1006),
        }
        while let Some((opcode, payload)) = self.take_frame() {
            match opcode {
                1 => self.hear(serde_json::from_slice(&payload).unwrap(), newest),
                10 => self.pongs += 1,
                8 => self.end(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))),
                _ => {}
            }
        }
        true
    }

    fn hear(&mut self, event: Value, newest: &impl Fn() -> Offsets) {
        let topic = || event["topic"].as_str().unwrap_or_default().to_owned();
        let mut by_then = Offsets::new();
        match event["op"].as_str().unwrap_or_default() {
            "message" => {
                let epoch = event["epoch"].as_str().unwrap_or_default().to_owned();
                self.positions.insert(topic(), (epoch, event["offset"].as_u64().unwrap_or_default()));
            }
            "gap" => {
                if let Some((_, offset)) = self.positions.get_mut(&topic()) {
                    *offset = event["to"].as_u64().unwrap_or_default();
                }
            }
            "subscribed" => by_then = newest(),
            _ => {}
        }
        self.trace.push(Entry::Heard(event, by_then));
    }

    fn end(&mut self, code: u16) {
        if self.open {
            self.open = false;
            self.trace.push(Entry::Closed(code));
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = *self.read.first_chunk()?;
        let (head, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*self.read.get(2..)?.first_chunk()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(*self.read.get(2..)?.first_chunk()?)).unwrap()),
            short => (2, usize::from(short)),
        };
        let payload = self.read.get(head..head + length)?.to_vec();
        self.read.drain(..head + length);
        Some((first & 0x0f, payload))
    }
}
