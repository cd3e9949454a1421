//! The client's end of a session: a WebSocket that can violate the protocol, and that reads only when the test asks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::positions::Positions;
use super::{DEADLINE, Reply, read_reply};

/// One frame as received. A Close without a code has opcode 8 and no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    /// Whether RSV1 is set, which marks a compressed message.
    pub rsv1: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a Close, 1005 for a Close without a code.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().map_or(1005, |bytes| u16::from_be_bytes(*bytes));
        (self.opcode == 8).then_some(code)
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap_or_else(|_| panic!("not UTF-8: {self:?}"))
    }
}

/// A whole text message.
pub fn text(payload: &str) -> Frame {
    Frame { opcode: 1, rsv1: false, payload: payload.as_bytes().to_vec() }
}

/// A whole binary message.
pub fn binary(payload: &[u8]) -> Frame {
    Frame { opcode: 2, rsv1: false, payload: payload.to_vec() }
}

/// A Close with this code.
pub fn close(code: u16) -> Frame {
    Frame { opcode: 8, rsv1: false, payload: code.to_be_bytes().to_vec() }
}

/// A ping.
pub fn ping(payload: &[u8]) -> Frame {
    Frame { opcode: 9, rsv1: false, payload: payload.to_vec() }
}

/// A pong.
pub fn pong(payload: &[u8]) -> Frame {
    Frame { opcode: 10, rsv1: false, payload: payload.to_vec() }
}

/// An upgraded WebSocket.
pub struct Session {
    socket: TcpStream,
    read: Vec<u8>,
    id: String,
    positions: Positions,
    /// The reply to the upgrade.
    pub upgrade: Reply,
}

impl Session {
    /// Upgrades `path`. `buffer` is the size of the socket's receive buffer, in bytes.
    pub fn dial(address: SocketAddr, path: &str, headers: &[(&str, &str)], buffer: Option<usize>) -> Result<Self, Reply> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).expect("a socket takes a buffer size");
        }
        socket.connect(&address.into()).expect("the gateway accepts a connection");
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true).expect("a socket can go without delay");
        Self::over(socket, &address.to_string(), path, headers)
    }

    /// Upgrades `path` on a socket that is connected to `host`.
    pub fn over(mut socket: TcpStream, host: &str, path: &str, headers: &[(&str, &str)]) -> Result<Self, Reply> {
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket takes a time-out");
        socket.set_write_timeout(Some(DEADLINE)).expect("a socket takes a time-out");
        let has = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut head =
            format!("GET {path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
        if !has("Host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        if !has("Sec-WebSocket-Version") {
            head.push_str("Sec-WebSocket-Version: 13\r\n");
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        let sent = socket.write_all((head + "\r\n").as_bytes());
        let upgrade = read_reply(&mut socket).unwrap_or_else(|error| panic!("no reply to the upgrade of {path} ({sent:?}): {error}"));
        if upgrade.status != 101 {
            return Err(upgrade);
        }
        assert_eq!(upgrade.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455 §1.3");
        Ok(Self { socket, read: Vec::new(), id: String::new(), positions: Positions::default(), upgrade })
    }

    /// The session with the positions of its text messages translated by `positions`.
    pub fn with_positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Reads the welcome, and keeps the session's id.
    pub fn read_welcome(&mut self) -> Value {
        let welcome = self.receive();
        assert_eq!(welcome["op"], "welcome", "the first event is the welcome: {welcome}");
        self.id = welcome["session"].as_str().expect("a welcome names the session").to_owned();
        welcome
    }

    /// The session's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The session as a member in presence.
    pub fn member(&self, user: impl Into<Value>) -> Value {
        json!({"session": self.id, "user": user.into()})
    }

    /// Sends a command, given as JSON.
    pub fn send(&mut self, command: Value) {
        self.send_text(&command.to_string());
    }

    /// Sends a text message, with its positions translated.
    pub fn send_text(&mut self, payload: &str) {
        let translated = self.positions.with_sequences(payload, None);
        self.send_frame(text(&translated));
    }

    /// Sends a whole frame, masked.
    pub fn send_frame(&mut self, frame: Frame) {
        let first = 0x80 | u8::from(frame.rsv1) << 6 | frame.opcode;
        self.send_raw_frame(first, &frame.payload);
    }

    /// Sends a masked frame with this first byte: FIN, the reserved bits, the opcode.
    pub fn send_raw_frame(&mut self, first: u8, payload: &[u8]) {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ 0..=125), _) => frame.push(0x80 | length),
            (_, Ok(length)) => frame.extend([&[0x80 | 126][..], &length.to_be_bytes()].concat()),
            _ => frame.extend([&[0x80 | 127][..], &(payload.len() as u64).to_be_bytes()].concat()),
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.send_bytes(&frame);
    }

    /// Sends bytes without a frame around them. A connection that the gateway has closed shows that when it is read.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Whether the gateway has dropped the TCP connection. It then answers a byte with a reset, which fails the next write.
    pub fn is_dropped(&mut self) -> bool {
        self.socket.write_all(&[0]).is_err()
    }

    /// Ends the TCP connection in both directions.
    pub fn cut(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The next frame that is neither ping nor pong; `None` where the connection ended. Answers pings.
    #[track_caller]
    pub fn next_message(&mut self) -> Option<Frame> {
        loop {
            match self.next_frame()? {
                Frame { opcode: 9, payload, .. } => self.send_frame(pong(&payload)),
                Frame { opcode: 10, .. } => {}
                frame => return Some(frame),
            }
        }
    }

    /// Reads at most `bytes` bytes. The frames in them are returned later.
    pub fn read_some(&mut self, bytes: usize) {
        let mut buffer = vec![0; bytes];
        let read = self.socket.read(&mut buffer).expect("the gateway sends within the deadline");
        self.read.extend_from_slice(&buffer[..read]);
    }

    /// The next frame of any kind; `None` where the connection ended. Answers nothing.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<Frame> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(self.with_ordinals(frame));
            }
            let left = deadline.checked_duration_since(Instant::now()).unwrap_or_default();
            assert!(!left.is_zero(), "waited {DEADLINE:?} for a frame");
            self.socket.set_read_timeout(Some(left)).expect("a socket takes a time-out");
            let mut bytes = [0; 16 << 10];
            match self.socket.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.read.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }

    fn with_ordinals(&self, frame: Frame) -> Frame {
        match std::str::from_utf8(&frame.payload) {
            Ok(payload) if frame.opcode == 1 && !frame.rsv1 => text(&self.positions.with_ordinals(payload, None)),
            _ => frame,
        }
    }

    /// Removes one whole frame from the bytes that were read.
    fn take_frame(&mut self) -> Option<Frame> {
        let [first, second] = *self.read.first_chunk()?;
        assert_eq!(first & 0x80, 0x80, "the gateway's frames are whole messages");
        assert_eq!(second & 0x80, 0, "the gateway's frames are not masked (RFC 6455 §5.1)");
        let (head, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(*self.read.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*self.read.get(2..)?.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let end = head + usize::try_from(length).expect("a frame fits into memory");
        let payload = self.read.get(head..end)?.to_vec();
        self.read.drain(..end);
        Some(Frame { opcode: first & 0x0f, rsv1: first & 0x40 != 0, payload })
    }

    /// The text of the next event.
    #[track_caller]
    pub fn receive_text(&mut self) -> String {
        let frame = self.next_message().expect("the session is open");
        assert_eq!(frame.opcode, 1, "an event is text: {frame:?} {:?}", String::from_utf8_lossy(&frame.payload));
        frame.text()
    }

    /// The next event.
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        let text = self.receive_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("an event is JSON ({error}): {text}"))
    }

    /// The next `count` events.
    #[track_caller]
    pub fn receive_all(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.receive()).collect()
    }

    /// Sends a command and gives the next event.
    #[track_caller]
    pub fn ask(&mut self, command: Value) -> Value {
        self.send(command);
        self.receive()
    }

    /// Asserts that the next event is `event`.
    #[track_caller]
    pub fn expect(&mut self, event: Value) {
        assert_eq!(self.receive(), event);
    }

    /// Asserts that a publish of this session is answered with `answer`; gives the event of the message, which the
    /// session has subscribed to ([`Positions::event_beside`]).
    #[track_caller]
    pub fn expect_published(&mut self, answer: Value) -> Value {
        let events = [self.receive(), self.receive()];
        self.positions.event_beside(&answer, events)
    }

    /// Asserts that the next events are `events`, in this order.
    #[track_caller]
    pub fn expect_all<const N: usize>(&mut self, events: [Value; N]) {
        events.into_iter().for_each(|event| self.expect(event));
    }

    /// Asserts that the next event is an error with this code for the command `id`; gives the error's message.
    #[track_caller]
    pub fn expect_error(&mut self, id: impl Into<Value>, code: &str) -> String {
        let event = self.receive();
        let message = event["message"].as_str().unwrap_or_else(|| panic!("an error has a message: {event}")).to_owned();
        let mut expected = json!({"op": "error", "code": code, "message": message});
        match id.into() {
            Value::Null => {}
            id => expected["id"] = id,
        }
        assert_eq!(event, expected);
        message
    }

    /// Asserts that no event is queued for the session: the next two events are the answers to two pings. The second
    /// ping is there for an event that is queued behind the first answer.
    #[track_caller]
    pub fn expect_quiet(&mut self) {
        for fence in ["fence 1", "fence 2"] {
            self.send(json!({"op": "ping", "id": fence}));
            self.expect(json!({"op": "pong", "id": fence}));
        }
    }

    /// Asserts that the next frame is `frame`, pings and pongs not counted.
    #[track_caller]
    pub fn expect_message(&mut self, frame: Frame) {
        let received = self.next_message().expect("the session is open");
        assert_eq!(received, frame, "{:?}", String::from_utf8_lossy(&received.payload));
    }

    /// Asserts that the next frame is a Close with this code; gives its reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.next_message().unwrap_or_else(|| panic!("the connection ended without the Close {code}"));
        assert_eq!(frame.close_code(), Some(code), "{:?}", String::from_utf8_lossy(&frame.payload));
        String::from_utf8(frame.payload.get(2..).unwrap_or_default().to_vec()).expect("a reason is UTF-8")
    }

    /// Reads events until the Close or the end of the connection; gives them and the code. 1006 is an end without a
    /// Close.
    #[track_caller]
    pub fn read_to_close(&mut self) -> (Vec<Value>, u16) {
        let mut events = Vec::new();
        loop {
            match self.next_message() {
                None => return (events, 1006),
                Some(frame) => match frame.close_code() {
                    Some(code) => return (events, code),
                    None => events.push(serde_json::from_slice(&frame.payload).expect("an event is JSON")),
                },
            }
        }
    }

    /// Subscribes to `topics` with these options; gives the entries of the reply.
    #[track_caller]
    pub fn subscribe_with(&mut self, topics: &[&str], options: Value) -> Value {
        let mut command = json!({"op": "subscribe", "id": "subscribe", "topics": topics});
        for (name, value) in options.as_object().into_iter().flatten() {
            command[name] = value.clone();
        }
        let mut reply = self.ask(command);
        assert_eq!(reply["op"], "subscribed", "{reply}");
        assert_eq!(reply["id"], "subscribe", "{reply}");
        reply["topics"].take()
    }

    /// Subscribes to `topics`; gives the entries of the reply.
    #[track_caller]
    pub fn subscribe(&mut self, topics: &[&str]) -> Value {
        self.subscribe_with(topics, json!({}))
    }
}
