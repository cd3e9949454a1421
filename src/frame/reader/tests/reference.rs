//! Compares the reader with tungstenite: results, and the close codes of violations.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::client::{Outcome, frame, read_pieces};
use crate::frame::FrameReader;

const LIMIT: usize = 1000;

/// A peer that has sent all its bytes and discards the answers.
struct Peer(Cursor<Vec<u8>>);

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Peer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_by_reference(stream: Vec<u8>) -> Vec<Outcome> {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = WebSocket::from_raw_socket(Peer(Cursor::new(stream)), Role::Server, Some(config));
    let mut all = Vec::new();
    loop {
        all.push(match socket.read() {
            Ok(Message::Text(text)) => Outcome::Text(text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Outcome::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Outcome::Ping(bytes.to_vec()),
            Ok(Message::Pong(_)) => Outcome::Pong,
            // The reason that tungstenite reports for a code that may not be sent. No reason of this test has a space.
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => Outcome::Violation(1002),
            Ok(Message::Close(close)) => Outcome::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned()))),
            Ok(Message::Frame(_)) => unreachable!("a read returns no frame"),
            Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => return all,
            Err(Error::ConnectionClosed | Error::Io(_)) => return all,
            Err(Error::Protocol(_)) => Outcome::Violation(1002),
            Err(Error::Utf8(_)) => Outcome::Violation(1007),
            Err(Error::Capacity(_)) => Outcome::Violation(1009),
            Err(error) => unreachable!("{error}"),
        });
        if matches!(all.last(), Some(Outcome::Violation(_) | Outcome::Close(_))) {
            return all;
        }
    }
}

/// A frame that is allowed at its position in most cases.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (prop_oneof![9 => data_or_ping(), 1 => close()], prop::bool::weighted(0.02)).prop_map(|((first, payload), unmasked)| {
        let mut frame = frame(first, &payload);
        if unmasked {
            frame[1] &= 0x7f;
        }
        frame
    })
}

fn data_or_ping() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x01, 0x00, 0x80, 0x02, 0x82]),
        2 => prop::sample::select(vec![0x89, 0x8a]),
        1 => any::<u8>().prop_filter("a Close", |first| first & 0x0f != 0x08),
    ];
    let payload = prop_oneof![
        6 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..8),
        2 => prop::collection::vec(any::<u8>(), 100..500),
    ];
    (first, payload)
}

/// A Close with at most one fault, because the order of reports for two is not defined.
fn close() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let codes = vec![0u16, 999, 1000, 1003, 1004, 1005, 1006, 1007, 1011, 1013, 1015, 1016, 2999, 3000, 4999, 5000];
    let code_and_text =
        (prop::sample::select(codes), "[a-z€]{0,5}").prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat());
    let any_reason = prop::collection::vec(any::<u8>(), 0..5).prop_map(|reason| [b"\x03\xe8", &reason[..]].concat());
    let fragment = (Just(0x08), Just(Vec::new()));
    let payload = prop_oneof![4 => code_and_text, 2 => any_reason, 1 => prop::collection::vec(any::<u8>(), 0..2), 1 => Just(vec![3; 126])];
    prop_oneof![9 => (Just(0x88), payload), 1 => fragment]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_reader_agrees_with_tungstenite(frames in prop::collection::vec(any_frame(), 0..12)) {
        let stream = frames.concat();
        let ours = read_pieces(&mut FrameReader::new(LIMIT, None), &[&stream]);
        prop_assert_eq!(ours, read_by_reference(stream));
    }
}
