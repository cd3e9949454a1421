//! A server that sends each text to everybody, but with a fault for one subscriber.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use belfry_loadtest::{ACCEPT, Opcode, push_unmasked};
use flate2::{Compress, Compression, FlushCompress};

/// The number of the faulty message; early enough for the shortest run.
pub const FAULTY_MESSAGE: usize = 10;

/// The fault for the subscriber that connected first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// One message is left out.
    Loss,
    /// One message is sent twice.
    Duplicate,
    /// One message is sent after the next one.
    Reordering,
    /// One byte of one message is changed.
    Alteration,
    /// From one message on, nothing is sent.
    Stall,
    /// A masked frame follows the answer to the upgrade at once.
    MaskedFrame,
    /// The connection ends without a Close.
    Cut,
    /// No fault, with each message compressed against the one before.
    History,
    /// The same, but the references of one message go one byte too far back.
    WrongDistance,
}

/// Starts a server with this fault, which lives as long as the test's process.
pub fn start(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        let subscribers = Arc::new(Mutex::new(Vec::new()));
        // The publisher connects first.
        let publisher = accept(&listener, fault, |socket| socket);
        let audience = Arc::clone(&subscribers);
        thread::spawn(move || broadcast(publisher, &audience, fault));
        loop {
            // The subscriber is added before it receives the answer to its upgrade.
            accept(&listener, fault, |socket| {
                let copy = socket.try_clone().expect("a descriptor is free");
                subscribers.lock().expect("no one panics with it").push(copy);
                socket
            });
        }
    });
    address
}

fn accept(listener: &TcpListener, fault: Fault, store: impl FnOnce(TcpStream) -> TcpStream) -> TcpStream {
    let (mut socket, _) = listener.accept().expect("a session connects");
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && socket.read_exact(&mut byte).is_ok() {
        request.push(byte[0]);
    }
    let mut socket = store(socket);
    let deflate = if fault.compresses() { "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n" } else { "" };
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {}\r\n{deflate}\r\n", ACCEPT);
    let masked: &[u8] = if fault == Fault::MaskedFrame { &[0x81, 0x80, 0, 0, 0, 0] } else { &[] };
    let _ = socket.write_all(&[answer.as_bytes(), masked].concat());
    socket
}

impl Fault {
    fn compresses(self) -> bool {
        matches!(self, Self::History | Self::WrongDistance)
    }
}

fn broadcast(mut publisher: TcpStream, subscribers: &Mutex<Vec<TcpStream>>, fault: Fault) {
    let (mut held, mut last) = (None, Vec::new());
    for number in 1.. {
        let Some(payload) = read_payload(&mut publisher) else { return };
        let frame = if fault.compresses() { compressed(&last, &payload) } else { frame(&payload) };
        let mut subscribers = subscribers.lock().expect("no one panics with it");
        for (at, subscriber) in subscribers.iter_mut().enumerate() {
            let frames = match (at, fault) {
                (0, Fault::WrongDistance) if number == FAULTY_MESSAGE => vec![compressed(&[&last[..], b"x"].concat(), &payload)],
                (0, _) => faulty_frames(fault, number, &payload, &frame, &mut held),
                _ => vec![frame.clone()],
            };
            for frame in frames {
                let _ = subscriber.write_all(&frame);
            }
            if at == 0 && fault == Fault::Cut && number == FAULTY_MESSAGE {
                let _ = subscriber.shutdown(std::net::Shutdown::Both);
            }
        }
        last = payload;
    }
}

/// The frames for the first subscriber in place of `frame`, the message `number`.
fn faulty_frames(fault: Fault, number: usize, payload: &[u8], frame: &[u8], held: &mut Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let intact = vec![frame.to_vec()];
    match (fault, number) {
        (Fault::Loss, FAULTY_MESSAGE) => Vec::new(),
        (Fault::Duplicate, FAULTY_MESSAGE) => vec![frame.to_vec(); 2],
        (Fault::Reordering, FAULTY_MESSAGE) => {
            *held = Some(frame.to_vec());
            Vec::new()
        }
        (Fault::Reordering, _) => intact.into_iter().chain(held.take()).collect(),
        (Fault::Alteration, FAULTY_MESSAGE) => {
            let mut altered = payload.to_vec();
            altered[100] ^= 1;
            vec![self::frame(&altered)]
        }
        (Fault::Stall, number) if number >= FAULTY_MESSAGE => Vec::new(),
        _ => intact,
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_unmasked(&mut frame, Opcode::Text, payload);
    frame
}

/// A compressed frame with references to `last`, the end of the client's window.
fn compressed(last: &[u8], payload: &[u8]) -> Vec<u8> {
    let (mut compress, mut packed) = (Compress::new(Compression::best(), false), Vec::with_capacity(payload.len() + 64));
    if !last.is_empty() {
        compress.set_dictionary(last).expect("a raw stream takes a dictionary");
    }
    compress.compress_vec(payload, &mut packed, FlushCompress::Sync).expect("there is room");
    packed.truncate(packed.len() - 4);
    let mut frame = frame(&packed);
    frame[0] |= 0x40;
    frame
}

/// The payload of the next frame. Frames of the load test have at least 126 bytes here, and are masked with zeros.
fn read_payload(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 8];
    socket.read_exact(&mut head).ok()?;
    assert_eq!(head[1], 0x80 | 126, "a payload of 128 bytes has a length of two bytes");
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    socket.read_exact(&mut payload).ok()?;
    Some(payload)
}
