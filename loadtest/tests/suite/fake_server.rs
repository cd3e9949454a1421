//! Small servers with topics in the protocols of peers. They are correct, or lose one message.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use belfry_loadtest::{ACCEPT, Opcode, push_unmasked};
use serde_json::{Value, json};

/// The protocol of a fake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Topics without envelopes.
    Bare,
    /// Centrifugo's JSON protocol.
    Centrifugo,
    /// nchan's paths, and POST.
    Nchan,
}

/// A fake that runs as long as the test's process.
pub struct FakeServer {
    pub address: SocketAddr,
    hub: Arc<Hub>,
}

struct Hub {
    protocol: Protocol,
    /// The number of the delivery that is left out; 0 for none.
    loses: usize,
    deliveries: AtomicUsize,
    pongs: AtomicUsize,
    topics: Mutex<HashMap<String, Vec<TcpStream>>>,
}

impl FakeServer {
    /// Starts a fake that leaves out the delivery number `loses`; 0 for none.
    pub fn start(protocol: Protocol, loses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (deliveries, pongs) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let hub = Arc::new(Hub { protocol, loses, deliveries, pongs, topics: Mutex::default() });
        let serving = Arc::clone(&hub);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let hub = Arc::clone(&serving);
                thread::spawn(move || hub.serve(socket));
            }
        });
        Self { address, hub }
    }

    /// The number of answered pings.
    pub fn pongs(&self) -> usize {
        self.hub.pongs.load(Ordering::SeqCst)
    }
}

impl Hub {
    fn serve(&self, mut socket: TcpStream) -> Option<()> {
        let head = read_head(&mut socket)?;
        if head.starts_with("POST ") {
            return self.serve_posts(socket, head);
        }
        if let (Protocol::Nchan, Some(topics)) = (self.protocol, path(&head).strip_prefix("/sub/")) {
            topics.split(',').for_each(|topic| self.subscribe(topic, &socket));
        }
        let accept = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n\r\n", ACCEPT);
        socket.write_all(accept.as_bytes()).ok()?;
        loop {
            let text = read_text(&mut socket)?;
            match self.protocol {
                Protocol::Bare => self.handle_bare(&text, &mut socket),
                Protocol::Centrifugo => self.handle_centrifugo(&text, &mut socket),
                Protocol::Nchan => return None,
            }
        }
    }

    fn serve_posts(&self, mut socket: TcpStream, mut head: String) -> Option<()> {
        loop {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?.trim().parse().ok()?;
            let mut body = vec![0; length];
            socket.read_exact(&mut body).ok()?;
            self.publish(path(&head).strip_prefix("/pub/")?, &String::from_utf8(body).ok()?);
            socket.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").ok()?;
            head = read_head(&mut socket)?;
        }
    }

    fn handle_bare(&self, text: &str, socket: &mut TcpStream) {
        if let Some((topic, payload)) = text.strip_prefix("PUB ").and_then(|rest| rest.split_once('\n')) {
            self.publish(topic, payload);
        } else if let Some(topics) = text.strip_prefix("SUB ") {
            topics.split(' ').for_each(|topic| self.subscribe(topic, socket));
            send(socket, "SUB");
        }
    }

    fn handle_centrifugo(&self, text: &str, socket: &mut TcpStream) {
        let mut replies = Vec::new();
        for line in text.lines() {
            let command: Value = serde_json::from_str(line).expect("each line is a command");
            let topic = |command: &str, value: &Value| value[command]["channel"].as_str().expect("a channel is named").to_owned();
            if command == json!({}) {
                self.pongs.fetch_add(1, Ordering::SeqCst);
            } else if command.get("connect").is_some() {
                replies.push(json!({"id": command["id"], "connect": {"client": "x", "ping": 25, "pong": true}}).to_string());
                replies.push("{}".to_owned());
            } else if command.get("subscribe").is_some() {
                self.subscribe(&topic("subscribe", &command), socket);
                replies.push(json!({"id": command["id"], "subscribe": {}}).to_string());
            } else {
                // The data is published as written.
                let data = line.split_once("\"data\":").expect("there is data").1;
                self.publish(&topic("publish", &command), &data[..data.len() - 2]);
                replies.push(json!({"id": command["id"], "publish": {}}).to_string());
            }
        }
        if !replies.is_empty() {
            send(socket, &replies.join("\n"));
        }
    }

    fn subscribe(&self, topic: &str, socket: &TcpStream) {
        let copy = socket.try_clone().expect("a descriptor is free");
        self.topics.lock().expect("no one panics with it").entry(topic.to_owned()).or_default().push(copy);
    }

    fn publish(&self, topic: &str, payload: &str) {
        let mut topics = self.topics.lock().expect("no one panics with it");
        for subscriber in topics.get_mut(topic).into_iter().flatten() {
            if self.deliveries.fetch_add(1, Ordering::SeqCst) + 1 == self.loses {
                continue;
            }
            match self.protocol {
                Protocol::Centrifugo => {
                    send(subscriber, &format!("{{\"push\":{{\"channel\":\"{topic}\",\"pub\":{{\"data\":{payload}}}}}}}"))
                }
                Protocol::Bare | Protocol::Nchan => send(subscriber, payload),
            }
        }
    }
}

fn send(socket: &mut TcpStream, text: &str) {
    let mut frame = Vec::new();
    push_unmasked(&mut frame, Opcode::Text, text.as_bytes());
    let _ = socket.write_all(&frame);
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or("")
}

fn read_head(socket: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// The next frame's text; the program masks with zeros.
fn read_text(socket: &mut TcpStream) -> Option<String> {
    let mut head = [0; 2];
    socket.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1] & 0x7f);
    if length == 126 {
        socket.read_exact(&mut head).ok()?;
        length = usize::from(u16::from_be_bytes(head));
    }
    let mut rest = vec![0; 4 + length];
    socket.read_exact(&mut rest).ok()?;
    String::from_utf8(rest.split_off(4)).ok()
}
