//! The client's end of a session. It sends commands, reads when the case says so, and keeps a trace of both.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::DEADLINE;

/// Offsets by topic.
pub type Offsets = BTreeMap<String, u64>;

/// An entry of a session's trace.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A command, and the newest offsets before it was sent.
    Sent(Value, Offsets),
    /// An event, and for the answer to a subscribe the newest offsets after it was received.
    Received(Value, Offsets),
    /// The end of the connection, with the code of its Close.
    Closed(u16),
}

/// One connection.
pub struct Session {
    socket: TcpStream,
    read: Vec<u8>,
    pub has_small_buffers: bool,
    pub open: bool,
    pub trace: Vec<Entry>,
    /// The epoch and the last offset of each topic.
    pub positions: BTreeMap<String, (String, u64)>,
    pub subscriptions: BTreeSet<String>,
    /// The topics and offsets of its messages that were published with `echo` false.
    pub without_echo: BTreeSet<(String, u64)>,
    commands: u64,
    pongs: u64,
}

impl Session {
    /// A session on a new connection.
    pub fn new(socket: TcpStream, has_small_buffers: bool) -> Self {
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            read: Vec::new(),
            has_small_buffers,
            open: true,
            trace: Vec::new(),
            positions: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            without_echo: BTreeSet::new(),
            commands: 0,
            pongs: 0,
        }
    }

    /// Sends `command` with an `id`; gives the id.
    pub fn send_command(&mut self, mut command: Value, newest: Offsets) -> u64 {
        self.commands += 1;
        command["id"] = self.commands.into();
        self.send(&command);
        self.trace.push(Entry::Sent(command, newest));
        self.commands
    }

    /// Sends `value` as one text message.
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
        // A connection that the gateway has closed shows that when it is read.
        let _ = self.socket.write_all(&frame);
    }

    /// Ends the connection without a Close.
    pub fn cut(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.open = false;
    }

    /// Reads the bytes that have come.
    pub fn read_on(&mut self, newest: &impl Fn() -> Offsets) {
        self.socket.set_nonblocking(true).unwrap();
        while self.open && self.receive(newest) {}
    }

    /// Reads until `fact` is true, or the session is closed.
    pub fn read_until(&mut self, what: &str, newest: &impl Fn() -> Offsets, fact: impl Fn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + DEADLINE;
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        while self.open && !fact(self) {
            if Instant::now() > deadline {
                return Err(format!("waited {DEADLINE:?} for {what}"));
            }
            self.receive(newest);
        }
        Ok(())
    }

    /// Reads until all messages published before have come: the answer to an unsubscribe follows them, also if it is an
    /// error.
    pub fn barrier(&mut self, newest: &impl Fn() -> Offsets) -> Result<(), String> {
        if !self.open {
            return Ok(());
        }
        let id = self.send_command(json!({"op": "unsubscribe", "topics": ["nothing"]}), Offsets::new());
        self.read_until("the answer to an unsubscribe", newest, |session| session.has_answer(id))
    }

    /// Reads until the gateway has carried out everything that the session has sent. It reads frames in order, so the
    /// pong follows that.
    pub fn await_pong(&mut self, newest: &impl Fn() -> Offsets) -> Result<(), String> {
        let before = self.pongs;
        self.socket.set_nonblocking(false).unwrap();
        // A connection that the gateway has closed shows that when it is read.
        let _ = self.socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]);
        self.read_until("a pong", newest, |session| session.pongs > before)
    }

    /// Whether the command `id` has an answer.
    pub fn has_answer(&self, id: u64) -> bool {
        self.answer(id).is_some()
    }

    /// The answer to the command `id`.
    pub fn answer(&self, id: u64) -> Option<&Value> {
        self.trace.iter().rev().find_map(|entry| match entry {
            Entry::Received(event, _) if event["id"] == id => Some(event),
            _ => None,
        })
    }

    /// Reads once; `false` if no bytes had come.
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
                1 => self.record(serde_json::from_slice(&payload).unwrap(), newest),
                10 => self.pongs += 1,
                8 => self.end(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))),
                _ => {}
            }
        }
        true
    }

    fn record(&mut self, event: Value, newest: &impl Fn() -> Offsets) {
        let topic = || event["topic"].as_str().unwrap_or_default().to_owned();
        let mut offsets = Offsets::new();
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
            "subscribed" => offsets = newest(),
            _ => {}
        }
        self.trace.push(Entry::Received(event, offsets));
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
