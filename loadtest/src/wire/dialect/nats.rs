//! The protocol of NATS over WebSocket.

use std::fmt::Write as _;

use super::reply::Reply;

/// The commands that open a session and subscribe it to `topics`. The server answers the ping at the end.
pub fn subscribe(topics: &[&str]) -> String {
    let mut text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_owned();
    for (id, topic) in (1..).zip(topics) {
        let _ = write!(text, "SUB {topic} {id}\r\n");
    }
    text + "PING\r\n"
}

pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("PUB {topic} {}\r\n", payload.len());
    [head.as_bytes(), payload, b"\r\n"].concat()
}

pub fn reply(frame: &[u8]) -> Reply {
    if frame.starts_with(b"PONG") {
        Reply::Subscribed(Vec::new())
    } else if frame.starts_with(b"PING") {
        Reply::Ping(b"PONG\r\n")
    } else if frame.starts_with(b"-ERR") {
        Reply::Error { id: None, code: "nats".to_owned(), message: String::from_utf8_lossy(frame).trim().to_owned() }
    } else {
        Reply::Other
    }
}
