//! PROTOCOL 12 and RFC 7692: permessage-deflate: its negotiation, and compressed messages in both directions.

use std::io::{Read, Write};

use serde_json::json;

use crate::gateway::{Gateway, Session, Setup};

fn dial(gateway: &Gateway, path: &str, offer: &str) -> Session {
    gateway.dial_with(path, &[("Sec-WebSocket-Extensions", offer)]).expect("the upgrade is accepted with any offer")
}

/// The gateway's answer to an offer.
fn answer(gateway: &Gateway, offer: &str) -> Option<String> {
    dial(gateway, "/echo", offer).upgrade.header("Sec-WebSocket-Extensions").map(str::to_owned)
}

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.flush().unwrap();
    let mut compressed = encoder.get_ref().clone();
    assert!(compressed.ends_with(&[0, 0, 0xff, 0xff]), "RFC 7692 §7.2.1");
    compressed.truncate(compressed.len() - 4);
    compressed
}

fn inflated(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::DeflateDecoder::new(&[compressed, &[0, 0, 0xff, 0xff, 3, 0]].concat()[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// PROTOCOL 12: the server keeps its window unless the offer forbids it. `server_max_window_bits` is answered only
/// where it was offered, because some clients fail the handshake otherwise.
#[test]
fn an_answer_has_the_parameters_of_its_offer() {
    let gateway = Gateway::start();
    for (offer, expected) in [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        ("x-other, permessage-deflate; server_max_window_bits=12", "; server_max_window_bits=12"),
    ] {
        let answer = answer(&gateway, offer).unwrap_or_else(|| panic!("{offer} was declined"));
        assert_eq!(answer, format!("permessage-deflate; client_no_context_takeover{expected}"), "{offer}");
    }
    let without_takeover = answer(&gateway, "permessage-deflate; server_no_context_takeover").unwrap();
    assert_eq!(without_takeover, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    assert_eq!(gateway.dial("/echo").upgrade.header("Sec-WebSocket-Extensions"), None);
}

/// PROTOCOL 12: without `deflate.history` the server keeps no window, whatever the offer.
#[test]
fn without_history_no_window_is_kept() {
    let gateway = Setup::new().more("[deflate]\nhistory = false").start();
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer(&gateway, "permessage-deflate; client_max_window_bits").as_deref(), Some(expected));
}

/// RFC 7692 §7.1: an offer with an unknown, invalid or repeated parameter is declined: 101 without the extension.
#[test]
fn a_bad_offer_is_declined() {
    let gateway = Gateway::start();
    let parameters = [
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits",
        "client_max_window_bits=99",
        "nonsense",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
    ];
    for parameter in parameters {
        assert_eq!(answer(&gateway, &format!("permessage-deflate; {parameter}")), None, "{parameter}");
    }
    assert!(answer(&gateway, "permessage-deflate; nonsense, permessage-deflate").is_some(), "the next offer is accepted");
}

/// PROTOCOL 8: messages of at least `deflate.threshold` bytes are compressed, each alone. Shorter ones are not.
#[test]
fn large_messages_are_compressed() {
    let gateway = Gateway::start();
    let mut session = dial(&gateway, "/ws", "permessage-deflate");
    session.read_welcome();
    session.subscribe(&["test.a"]);
    let large = json!("large ".repeat(500)).to_string();
    for _ in 0..2 {
        gateway.publish("test.a", &large);
        let frame = session.next_message().unwrap();
        let text = String::from_utf8(inflated(&frame.payload)).unwrap();
        assert!(frame.rsv1 && frame.payload.len() < 1000 && text.contains(&large), "{frame:?}");
    }
    gateway.publish("test.a", "1");
    assert!(!session.next_message().unwrap().rsv1, "below the threshold");
    let samples = gateway.metrics();
    assert!(samples.value("deflate_in_bytes_total") > samples.value("deflate_out_bytes_total"));
    assert!(samples.value("deflate_out_bytes_total") > 0.0);
}

/// RFC 7692 §6: a client may send compressed messages, whole or in fragments, and uncompressed ones between them.
#[test]
fn compressed_messages_are_read() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    let compressed = deflated("hello hello hello".as_bytes());
    echo.send_raw_frame(0xc1, &compressed);
    echo.send_raw_frame(0x41, &compressed[..3]);
    echo.send_raw_frame(0x80, &compressed[3..]);
    echo.send_raw_frame(0x81, b"hello hello hello");
    for _ in 0..3 {
        assert_eq!(inflated(&echo.next_message().unwrap().payload), b"hello hello hello", "an echo is compressed at any length");
    }
}

/// RFC 7692 §7.2.3: a message may have blocks of every type, a last block (BFINAL) within it or at its end, and each
/// form of an empty payload.
#[test]
fn every_form_of_a_compressed_message_is_read() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    let forms: [(&[u8], &[u8]); 8] = [
        (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"), // a stored block
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),                   // a last block, then the empty one
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),                         // a last block alone
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"HelloHello"), // more behind it
        (&[0x00], b""),
        (&[], b""),
        (&[0x03, 0x00], b""),
    ];
    for (compressed, plain) in forms {
        for cut in 0..=compressed.len() {
            echo.send_raw_frame(0x42, &compressed[..cut]);
            echo.send_raw_frame(0x80, &compressed[cut..]);
            let frame = echo.next_message().unwrap();
            assert!(frame.rsv1 && inflated(&frame.payload) == plain, "{compressed:02x?} cut at {cut} came back as {frame:?}");
        }
    }
}

/// PROTOCOL 6: a message that ends within a block, or has bytes that are no block behind its last block: 1007.
#[test]
fn a_message_that_is_no_whole_stream_closes_with_1007() {
    let gateway = Gateway::start();
    let whole = deflated("a text that repeats, and that repeats again".repeat(4).as_bytes());
    let damaged = [&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0x06]].concat();
    for compressed in [&whole[..whole.len() / 2], &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48], &damaged] {
        let mut session = dial(&gateway, "/echo", "permessage-deflate");
        session.send_raw_frame(0xc2, compressed);
        session.expect_close(1007);
    }
}

/// PROTOCOL 7: `message_bytes` holds for the inflated message. A bomb closes with 1009; a message of `message_bytes`
/// passes.
#[test]
fn a_bomb_closes_with_1009() {
    let gateway = Setup::new().limits("message_bytes = 10000").more("[deflate]\nthreshold = 1000000").start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    echo.send_raw_frame(0xc2, &deflated(&[7; 10_000]));
    assert_eq!(inflated(&echo.next_message().unwrap().payload), [7; 10_000]);
    for size in [10_001, 5 << 20] {
        let mut session = dial(&gateway, "/echo", "permessage-deflate");
        session.send_raw_frame(0xc2, &deflated(&vec![7; size]));
        session.expect_close(1009);
    }
    gateway.expect_metric("limit_hits_total{limit=\"message_bytes\"}", 2.0);
}

/// PROTOCOL 7: inflation stops at `message_bytes`, so 10 MB of zeros cost no more memory than a message of
/// `message_bytes`.
#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let gateway = Gateway::start();
    let bomb = deflated(&vec![0; 10_000_000]);
    assert!(bomb.len() < 64 << 10, "the bomb itself is within the limit");
    // The memory that sessions and shards need anyhow is allocated before the measurement.
    for _ in 0..20 {
        let mut session = dial(&gateway, "/echo", "permessage-deflate");
        session.send_raw_frame(0xc2, &deflated(&[7; 60_000]));
        session.next_message();
    }
    gateway.expect_metric("sessions", 0.0);
    let before = gateway.peak_memory_bytes();
    for _ in 0..20 {
        let mut session = dial(&gateway, "/echo", "permessage-deflate");
        session.send_raw_frame(0xc2, &bomb);
        session.expect_close(1009);
    }
    let grown = gateway.peak_memory_bytes().saturating_sub(before); // the kernel may report less at first
    assert!(grown < 5 << 20, "the peak grew by {grown} bytes; one bomb takes 10 MB if it is inflated whole");
}

/// PROTOCOL 6: RSV1 on a continuation, on a control frame, or without the extension: 1002. Data that does not inflate:
/// 1007.
#[test]
fn damaged_compression_closes() {
    let gateway = Gateway::start();
    for first in [0xc8, 0xc9, 0xca] {
        let mut control = dial(&gateway, "/echo", "permessage-deflate");
        control.send_raw_frame(first, b"");
        control.expect_close(1002);
    }
    let mut continuation = dial(&gateway, "/echo", "permessage-deflate");
    continuation.send_raw_frame(0x01, b"a");
    continuation.send_raw_frame(0xc0, b"b");
    continuation.expect_close(1002);
    let mut without_extension = gateway.dial("/echo");
    without_extension.send_raw_frame(0xc1, &deflated(b"hello"));
    without_extension.expect_close(1002);
    let mut garbage = dial(&gateway, "/echo", "permessage-deflate");
    garbage.send_raw_frame(0xc1, &[0xff; 20]);
    garbage.expect_close(1007);
}

/// PROTOCOL 6: compressed text that inflates to bytes that are not UTF-8: 1007.
#[test]
fn compressed_text_is_checked_for_utf8() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    echo.send_raw_frame(0xc1, &deflated(b"hello \xff"));
    echo.expect_close(1007);
}

/// PROTOCOL 8: with `deflate.enabled = false` every offer is declined.
#[test]
fn with_deflate_disabled_every_offer_is_declined() {
    let gateway = Setup::new().more("[deflate]\nenabled = false").start();
    assert_eq!(answer(&gateway, "permessage-deflate"), None);
}

/// A client of the native dialect that keeps the server's window.
struct Reader {
    session: Session,
    inflater: flate2::Decompress,
}

impl Reader {
    fn dial(gateway: &Gateway, offer: &str) -> Self {
        let mut reader = Self { session: dial(gateway, "/ws", offer), inflater: flate2::Decompress::new(false) };
        assert!(reader.next().0.contains("welcome"));
        reader
    }

    /// The next message, and the length of its payload on the wire.
    fn next(&mut self) -> (String, usize) {
        let frame = self.session.next_message().unwrap();
        if !frame.rsv1 {
            return (frame.text(), frame.payload.len());
        }
        let mut plain = Vec::with_capacity(1 << 20);
        let stream = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
        self.inflater.decompress_vec(&stream, &mut plain, flate2::FlushDecompress::Sync).unwrap();
        (String::from_utf8(plain).unwrap(), frame.payload.len())
    }

    fn subscribe(&mut self, topics: &[&str]) {
        self.session.send(json!({"op": "subscribe", "topics": topics}));
        self.session.send(json!({"op": "ping", "id": 1}));
        assert!(self.next().0.contains("pong"));
    }
}

fn quote(number: usize) -> String {
    json!({"stock_id": "AAPL", "price": 187.0 + number as f64 / 100.0, "bid": 187.3, "volume": 1200 + number, "ts": 1_732_233_600_123_usize + number}).to_string()
}

fn with_history() -> Setup {
    Setup::new().rule("test.h.>", "deflate = \"history\"\nhistory = 10").rule("test.o.>", "deflate = \"off\"")
}

/// PROTOCOL 12: with `deflate = "history"` a message refers to an earlier message of its topic, and a client inflates
/// it as RFC 7692 says. The earlier texts are kept while the topic has a subscriber that can use them.
#[test]
fn a_message_refers_to_an_earlier_one() {
    let gateway = with_history().start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate; client_max_window_bits");
    reader.subscribe(&["test.h.a", "test.h.b"]);
    let mut bytes = 0;
    for number in 0..60 {
        let topic = ["test.h.a", "test.h.b"][number % 2];
        gateway.publish(topic, quote(number));
        let (text, taken) = reader.next();
        assert!(text.contains(&format!("\"topic\":\"{topic}\"")) && text.ends_with(&format!("\"data\":{}}}", quote(number))), "{text}");
        bytes += taken;
    }
    assert!(bytes < 60 * 45, "{bytes} bytes for 60 quotes of {}", quote(0).len());
    gateway.expect_metric("deflate_messages_total{how=\"history\"}", 58.0);
    gateway.expect_metric("deflate_no_reference_total{why=\"first\"}", 2.0);
    gateway.expect_metric("deflate_parses_total", 58.0);
    assert!(gateway.metrics().value("deflate_reference_bytes") > 16.0 * 150.0);
    drop(reader);
    gateway.expect_metric("deflate_reference_bytes", 0.0);
}

/// PROTOCOL 12: a client that forbids the server a window gets each message compressed alone, from `deflate.threshold`
/// on. With `deflate = "off"` nothing is compressed.
#[test]
fn without_a_window_each_message_is_compressed_alone() {
    let gateway = with_history().start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate; server_no_context_takeover");
    reader.subscribe(&["test.h.a", "test.o.a"]);
    let long = json!(quote(1).repeat(5)).to_string();
    for _ in 0..2 {
        for (topic, body, is_compressed) in [("test.h.a", &quote(1), false), ("test.h.a", &long, true), ("test.o.a", &long, false)] {
            gateway.publish(topic, body);
            let frame = reader.session.next_message().unwrap();
            assert_eq!(frame.rsv1, is_compressed, "{topic}");
            let text = if is_compressed { String::from_utf8(inflated(&frame.payload)).unwrap() } else { frame.text() };
            assert!(text.contains(body.as_str()));
        }
    }
    gateway.expect_metric("deflate_messages_total{how=\"alone\"}", 2.0);
    assert_eq!(gateway.metrics().value("deflate_messages_total{how=\"history\"}"), 0.0);
    assert_eq!(gateway.metrics().value("deflate_reference_bytes"), 0.0);
}

/// PROTOCOL 7: past `reference_bytes` messages are compressed without history.
#[test]
fn past_reference_bytes_no_message_refers_to_another() {
    let gateway = with_history().limits("reference_bytes = 0").start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate");
    reader.subscribe(&["test.h.a"]);
    for number in 0..3 {
        gateway.publish("test.h.a", quote(number));
        assert!(reader.next().0.contains(&quote(number)));
    }
    gateway.expect_limit_hit("reference_bytes");
    assert_eq!(gateway.metrics().value("deflate_messages_total{how=\"history\"}"), 0.0);
}
