//! A minimal HTTP/1.1 client. It can send malformed requests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::DEADLINE;

/// A reply with its whole body.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is not JSON ({error}): {self:?}"))
    }

    /// PROTOCOL 5: asserts that the body is an `application/problem+json` and the status is `status`; gives its code.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let kind = self.header("Content-Type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "the body of an error is a problem: {self:?}");
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.text().chars().take(400).collect();
        write!(f, "status {}, {:?}, body {body:?}", self.status, self.headers)
    }
}

/// A TCP connection to `address`. Its reads and writes fail after [`DEADLINE`].
pub fn socket(address: SocketAddr) -> TcpStream {
    with_time_outs(TcpStream::connect(address).expect("the gateway accepts a connection"))
}

/// A connection by the Unix socket at `path`. The calls that read, write and close it are those of TCP.
pub fn unix_socket(path: &Path) -> TcpStream {
    let socket = UnixStream::connect(path).expect("the gateway accepts a connection");
    with_time_outs(TcpStream::from(OwnedFd::from(socket)))
}

fn with_time_outs(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket takes a time-out");
    socket.set_write_timeout(Some(DEADLINE)).expect("a socket takes a time-out");
    socket
}

/// Sends one request on a connection of its own, and reads the reply.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    request_over(socket(address), &address.to_string(), method, path, headers, body)
}

/// Sends one request on a socket that is connected to `host`, and reads the reply.
pub fn request_over(mut socket: TcpStream, host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {host}\r\n"));
    }
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    // The write may fail: a gateway that has refused the request stops reading it.
    let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body));
    read_reply(&mut socket).unwrap_or_else(|error| panic!("no reply to {method} {path}: {error}"))
}

/// Reads one reply and no byte behind it.
pub fn read_reply(socket: &mut impl Read) -> io::Result<Reply> {
    let mut reply = read_reply_head(socket)?;
    if reply.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        reply.body = read_chunks(socket)?;
    } else if let Some(length) = reply.header("Content-Length") {
        reply.body = vec![0; length.parse().map_err(io::Error::other)?];
        socket.read_exact(&mut reply.body)?;
    }
    Ok(reply)
}

/// Reads the head of a reply and no byte behind it.
pub fn read_reply_head(socket: &mut impl Read) -> io::Result<Reply> {
    let head = read_until(socket, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {text:?}")))?;
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Ok(Reply { status, headers, body: Vec::new() })
}

fn read_chunks(socket: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let chunk = read_chunk(socket)?;
        if chunk.is_empty() {
            return Ok(body);
        }
        body.extend_from_slice(&chunk);
    }
}

/// Reads one chunk. The last chunk is empty.
pub fn read_chunk(socket: &mut impl Read) -> io::Result<Vec<u8>> {
    let line = read_until(socket, b"\r\n")?;
    let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; size + 2];
    socket.read_exact(&mut chunk)?;
    chunk.truncate(size);
    Ok(chunk)
}

fn read_until(socket: &mut impl Read, end: &[u8]) -> io::Result<Vec<u8>> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        socket.read_exact(&mut byte)?;
        read.push(byte[0]);
    }
    Ok(read)
}
