//! The client's end of a stream: server-sent events or lines in the body of an answer, read only when the test asks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::Reply;
use super::http::{read_chunk, read_reply, read_reply_head};
use super::positions::{Positions, topics_in};

/// One block of server-sent events (the HTML standard, "Interpreting an event stream"). A block without `data`
/// dispatches no event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSent {
    pub name: String,
    pub data: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub comment: Option<String>,
}

impl ServerSent {
    fn of(block: &str) -> Self {
        let mut event = Self::default();
        for line in block.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" => event.comment = Some(value),
                "event" => event.name = value,
                "data" => event.data = Some(event.data.map_or(String::new(), |data| data + "\n") + &value),
                "id" => event.id = Some(value),
                "retry" => event.retry = Some(value.parse().expect("retry is a number")),
                _ => panic!("an unknown field: {block:?}"),
            }
        }
        event
    }

    /// The block's data as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let data = self.data.as_deref().unwrap_or_else(|| panic!("no data: {self:?}"));
        serde_json::from_str(data).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// A stream that was answered with 200.
pub struct Stream<S = TcpStream> {
    socket: S,
    /// The head of the answer.
    pub head: Reply,
    is_chunked: bool,
    text: Vec<u8>,
    positions: Positions,
    /// The topics of the stream's `id`, in order.
    topics: Vec<String>,
}

impl<S: Read + Write> Stream<S> {
    /// Requests a stream on `path` over `socket`; the reply, if its status is not 200.
    pub fn open(socket: S, path: &str, headers: &[(&str, &str)], version: &str) -> Result<Self, Reply> {
        Self::ask(socket, path, format!("GET {path} HTTP/{version}\r\n"), headers, b"")
    }

    /// Requests a stream by a POST with a body.
    pub fn open_by_post(socket: S, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Self, Reply> {
        Self::ask(socket, path, format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len()), headers, body)
    }

    fn ask(mut socket: S, path: &str, mut request: String, headers: &[(&str, &str)], body: &[u8]) -> Result<Self, Reply> {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str("Host: localhost\r\n");
        }
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        socket.write_all(&[request.as_bytes(), b"\r\n", body].concat()).expect("the gateway reads");
        let head = read_reply_head(&mut socket).expect("the gateway answers");
        if head.status != 200 {
            return Err(head);
        }
        let is_chunked = head.header("Transfer-Encoding") == Some("chunked");
        Ok(Self { socket, head, is_chunked, text: Vec::new(), positions: Positions::default(), topics: topics_in(path) })
    }

    /// The stream with the positions of its events translated by `positions`.
    pub fn with_positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Commands to the session of this stream with their positions translated. Such commands come in requests of their
    /// own.
    pub fn with_sequences(&mut self, commands: &str) -> String {
        self.positions.with_sequences(commands, None)
    }

    /// The text before the next `end`; `None` where the stream has ended.
    fn next(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.text.windows(end.len()).position(|window| window == end) {
                let text: Vec<u8> = self.text.drain(..at + end.len()).collect();
                return Some(String::from_utf8(text[..at].to_vec()).expect("a stream is UTF-8"));
            }
            let more = self.read_more();
            if more.is_empty() {
                assert!(self.text.is_empty(), "a stream ends within an event: {:?}", String::from_utf8_lossy(&self.text));
                return None;
            }
            self.text.extend(more);
        }
    }

    fn read_more(&mut self) -> Vec<u8> {
        if self.is_chunked {
            return read_chunk(&mut self.socket).expect("a chunk comes in time");
        }
        let mut buffer = vec![0; 4096];
        let read = self.socket.read(&mut buffer).expect("the stream continues in time");
        buffer.truncate(read);
        buffer
    }

    /// The next block; `None` where the stream has ended.
    pub fn block(&mut self) -> Option<ServerSent> {
        let mut event = ServerSent::of(&self.next(b"\n\n")?);
        event.data = event.data.map(|data| self.positions.with_ordinals(&data, None));
        event.id = event.id.map(|id| self.positions.id_with_ordinals(&self.topics, &id));
        Some(event)
    }

    /// The next block that dispatches an event.
    #[track_caller]
    pub fn event(&mut self) -> ServerSent {
        std::iter::from_fn(|| self.block()).find(|block| block.data.is_some()).expect("an event comes before the end")
    }

    /// Asserts that the next event is a message with this `id` and payload.
    #[track_caller]
    pub fn expect_message(&mut self, id: &str, data: impl Into<Value>) {
        let event = self.event();
        assert_eq!((&*event.name, event.id.as_deref(), &event.json()["data"]), ("", Some(id), &data.into()), "{event:?}");
    }

    /// The next line; `None` where the stream has ended.
    pub fn line(&mut self) -> Option<String> {
        self.next(b"\n").map(|line| self.positions.with_ordinals(&line, None))
    }

    /// The next line that is not empty, as JSON.
    #[track_caller]
    pub fn object(&mut self) -> Value {
        let line = std::iter::from_fn(|| self.line()).find(|line| !line.is_empty()).expect("a line comes before the end");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line:?}"))
    }

    /// The bytes of the next chunk.
    pub fn chunk(&mut self) -> Vec<u8> {
        self.read_more()
    }

    /// Asserts that the body and the connection have ended.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.block(), None);
        assert_eq!(self.socket.read(&mut [0]).expect("the connection ends in time"), 0);
    }
}

impl Stream {
    /// Requests a stream, and reads a whole reply in its place.
    pub fn refusal(mut socket: TcpStream, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        socket.write_all(format!("{request}\r\n").as_bytes()).expect("the gateway reads");
        let read = if method == "HEAD" { read_reply_head } else { read_reply };
        read(&mut socket).expect("the gateway answers")
    }

    /// Ends the client's side of the connection.
    pub fn end_writing(&self) {
        self.socket.shutdown(Shutdown::Write).expect("a socket can be shut down");
    }

    /// Sends bytes behind the request.
    pub fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("the gateway reads");
    }
}
