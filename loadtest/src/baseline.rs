//! The baseline of a machine: a server that only sends, which is the least work of a gateway.
//!
//! The server has the part of WebSocket that the load test's sessions need: a fixed answer to the upgrade, and frames. It
//! sends each message of the publisher to all other sessions, with one write for each message and socket, or with
//! fewer.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use crate::plan::Sends;
use crate::wire::Opcode;
use crate::wire::frame::{lengths, push_unmasked};
use crate::wire::http::upgrade;

/// Serves on a free port, which it writes to `port_file`, until the publisher disconnects.
pub fn serve(sends: Sends, port_file: &Path) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    fs::write(port_file, listener.local_addr()?.to_string())?;
    // The first session is the publisher; the engine connects it before all others.
    let mut sockets: Vec<TcpStream> = vec![accept(&listener)?];
    listener.set_nonblocking(true)?;
    let mut incoming = Vec::new();
    loop {
        let ready = {
            let mut watched = [PollFd::new(&listener, PollFlags::IN), PollFd::new(&sockets[0], PollFlags::IN)];
            poll(&mut watched, None)?;
            watched.map(|watched| !watched.revents().is_empty())
        };
        if ready[0] {
            match accept(&listener) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if ready[1] {
            let Some(frames) = read_frames(&sockets[0], &mut incoming)? else { return Ok(()) };
            send(sends, &mut sockets, &frames);
        }
    }
}

/// Accepts one session and answers its upgrade.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let mut request = [0; 4096];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        match socket.read(&mut request[length..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        upgrade::ACCEPT
    )?;
    Ok(socket)
}

fn send(sends: Sends, sockets: &mut Vec<TcpStream>, frames: &[Vec<u8>]) {
    let joined = frames.concat();
    let mut is_publisher = true;
    sockets.retain(|socket| {
        // The first socket is the publisher's, which subscribes to nothing.
        if std::mem::take(&mut is_publisher) || frames.is_empty() {
            return true;
        }
        let mut socket: &TcpStream = socket;
        match sends {
            Sends::Single => frames.iter().all(|frame| socket.write_all(frame).is_ok()),
            Sends::Joined => socket.write_all(&joined).is_ok(),
            Sends::Vectored => {
                let slices: Vec<IoSlice> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
                let written = socket.write_vectored(&slices).unwrap_or(0);
                joined.get(written..).is_none_or(|rest| socket.write_all(rest).is_ok())
            }
        }
    });
}

/// Reads once from the publisher. Returns the complete frames for subscribers, and keeps the rest in `incoming`; `None`
/// once the publisher has disconnected.
fn read_frames(mut publisher: &TcpStream, incoming: &mut Vec<u8>) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut buffer = [0; 64 << 10];
    let length = publisher.read(&mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    incoming.extend_from_slice(&buffer[..length]);
    let (mut frames, mut taken) = (Vec::new(), 0);
    while let Some((payload, end)) = masked_payload(&incoming[taken..]) {
        let mut frame = Vec::with_capacity(payload.len() + 4);
        push_unmasked(&mut frame, Opcode::Text, &incoming[taken..][payload]);
        frames.push(frame);
        taken += end;
    }
    incoming.drain(..taken);
    Ok(Some(frames))
}

/// The range of the first frame's payload, and the end of the frame. The load test masks with zero, so nothing is
/// unmasked.
fn masked_payload(bytes: &[u8]) -> Option<(std::ops::Range<usize>, usize)> {
    let (head_bytes, payload_bytes) = lengths(bytes)?;
    let start = head_bytes + 4;
    let end = start.checked_add(usize::try_from(payload_bytes).ok()?)?;
    (bytes.len() >= end).then_some((start..end, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::push_masked;

    #[test]
    fn a_masked_frame_is_found_once_it_is_whole() {
        for length in [5, 126, 70_000] {
            let mut frame = Vec::new();
            push_masked(&mut frame, Opcode::Text, &vec![b'x'; length]);
            assert_eq!(masked_payload(&frame[..frame.len() - 1]), None);
            let (payload, end) = masked_payload(&frame).unwrap();
            assert_eq!((payload.len(), end), (length, frame.len()));
        }
    }
}
