//! permessage-deflate (RFC 7692): its negotiation and what it does to messages.

use std::io::{Read, Write};

use serde_json::json;

use crate::gateway::{Gateway, Session, Setup};

fn dial(gateway: &Gateway, path: &str, offer: &str) -> Session {
    gateway.dial_with(path, &[("Sec-WebSocket-Extensions", offer)]).expect("the upgrade is accepted, whatever is offered")
}

fn answer(gateway: &Gateway, offer: &str) -> Option<String> {
    dial(gateway, "/echo", offer).upgrade.header("Sec-WebSocket-Extensions").map(str::to_owned)
}

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.flush().unwrap();
    let mut packed = encoder.get_ref().clone();
    assert!(packed.ends_with(&[0, 0, 0xff, 0xff]), "RFC 7692 §7.2.1");
    packed.truncate(packed.len() - 4);
    packed
}

fn inflated(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::DeflateDecoder::new(&[packed, &[0, 0, 0xff, 0xff, 3, 0]].concat()[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// PROTOCOL 12: the client is left its window unless it asks not to be, and no window is named unasked (some clients fail the
/// handshake then); who offers nothing gets nothing.
#[test]
fn an_offer_is_answered_by_what_it_asks_for() {
    let gateway = Gateway::start();
    for (offer, expected) in [
        ("permessage-deflate", ""),
        ("permessage-deflate; client_max_window_bits", ""),
        ("x-other, permessage-deflate; server_max_window_bits=12", "; server_max_window_bits=12"),
    ] {
        let answer = answer(&gateway, offer).unwrap_or_else(|| panic!("{offer} was declined"));
        assert_eq!(answer, format!("permessage-deflate; client_no_context_takeover{expected}"), "{offer}");
    }
    let asked = answer(&gateway, "permessage-deflate; server_no_context_takeover").unwrap();
    assert_eq!(asked, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    assert_eq!(gateway.dial("/echo").upgrade.header("Sec-WebSocket-Extensions"), None);
}

/// PROTOCOL 12: without `deflate.history` each message stands alone, whoever asks.
#[test]
fn without_history_no_window_is_kept() {
    let gateway = Setup::new().more("[deflate]\nhistory = false").start();
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer(&gateway, "permessage-deflate; client_max_window_bits").as_deref(), Some(expected));
}

/// RFC 7692 §7.1: unknown parameters, bad values and repeated ones are declined: 101 without the extension.
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
    assert!(answer(&gateway, "permessage-deflate; nonsense, permessage-deflate").is_some(), "the next offer will do");
}

/// DESIGN: messages past `deflate.threshold` are compressed, each by itself; smaller ones are not.
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

/// A compressed message is read, fragmented too; one that is not compressed as well.
#[test]
fn compressed_messages_are_read() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    let packed = deflated("hello hello hello".as_bytes());
    echo.send_raw_frame(0xc1, &packed);
    echo.send_raw_frame(0x41, &packed[..3]);
    echo.send_raw_frame(0x80, &packed[3..]);
    echo.send_raw_frame(0x81, b"hello hello hello");
    for _ in 0..3 {
        assert_eq!(inflated(&echo.next_message().unwrap().payload), b"hello hello hello", "an echo is compressed, however short");
    }
}

/// RFC 7692 §7.2.3: blocks of every kind, a last block before the end and at it, and nothing at all in each of its spellings.
#[test]
fn every_form_of_a_compressed_message_is_read() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    let forms: [(&[u8], &[u8]); 8] = [
        (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"), // a stored block
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),                   // a last block, and the empty one owed
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),                         // a last block alone
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"HelloHello"), // and more
        (&[0x00], b""),
        (&[], b""),
        (&[0x03, 0x00], b""),
    ];
    for (packed, plain) in forms {
        for cut in 0..=packed.len() {
            echo.send_raw_frame(0x42, &packed[..cut]);
            echo.send_raw_frame(0x80, &packed[cut..]);
            let frame = echo.next_message().unwrap();
            assert!(frame.rsv1 && inflated(&frame.payload) == plain, "{packed:02x?} cut at {cut} came back as {frame:?}");
        }
    }
}

/// A stream that ends in the middle of a block, and one with damage behind its last block.
#[test]
fn a_message_that_is_no_whole_stream_closes_with_1007() {
    let gateway = Gateway::start();
    let whole = deflated("what goes on repeats, and what repeats goes on".repeat(4).as_bytes());
    let damaged = [&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0x06]].concat();
    for packed in [&whole[..whole.len() / 2], &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48], &damaged] {
        let mut session = dial(&gateway, "/echo", "permessage-deflate");
        session.send_raw_frame(0xc2, packed);
        session.expect_close(1007);
    }
}

/// PROTOCOL 7: `message_bytes` holds after inflation too: a bomb closes with 1009, one of just the limit passes.
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

/// PROTOCOL 7: inflation stops at the limit while it runs: 10 MB of zeros cost the gateway no more than a message may have.
#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let gateway = Gateway::start();
    let bomb = deflated(&vec![0; 10_000_000]);
    assert!(bomb.len() < 64 << 10, "the bomb itself is within the limit");
    // What a session and its shard need anyhow is there before.
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
    let grown = gateway.peak_memory_bytes().saturating_sub(before); // the kernel sums up its counts late
    println!("twenty bombs of 10 MB, one after the other, made the peak grow by {grown} bytes");
    assert!(grown < 5 << 20, "the peak grew by {grown} bytes: inflated whole, one bomb alone would take 10 MB");
}

/// RSV1 on a continuation, on a control frame, or without the extension: 1002; data that does not inflate: 1007.
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
    let mut unasked = gateway.dial("/echo");
    unasked.send_raw_frame(0xc1, &deflated(b"hello"));
    unasked.expect_close(1002);
    let mut garbage = dial(&gateway, "/echo", "permessage-deflate");
    garbage.send_raw_frame(0xc1, &[0xff; 20]);
    garbage.expect_close(1007);
}

/// PROTOCOL 6: compressed text that inflates to what is not UTF-8: 1007.
#[test]
fn compressed_text_is_checked_for_utf8() {
    let gateway = Gateway::start();
    let mut echo = dial(&gateway, "/echo", "permessage-deflate");
    echo.send_raw_frame(0xc1, &deflated(b"hello \xff"));
    echo.expect_close(1007);
}

/// PROTOCOL 8: `deflate.enabled = false` accepts no offer.
#[test]
fn compression_may_be_off() {
    let gateway = Setup::new().more("[deflate]\nenabled = false").start();
    assert_eq!(answer(&gateway, "permessage-deflate"), None);
}

/// A client that keeps its window.
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

    /// The next message, and how many bytes of payload it took.
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
}

fn quote(number: usize) -> String {
    json!({"stock_id": "AAPL", "price": 187.0 + number as f64 / 100.0, "bid": 187.3, "volume": 1200 + number, "ts": 1_732_233_600_123_usize + number}).to_string()
}

fn with_history() -> Setup {
    Setup::new().rule("test.h.>", "deflate = \"history\"\nhistory = 10").rule("test.o.>", "deflate = \"off\"")
}

/// PROTOCOL 12: with `deflate = "history"` a message refers to an earlier one of its topic; to a client it is permessage-deflate. The
/// texts are kept while a session takes the topic that can use them.
#[test]
fn a_message_refers_to_the_one_before() {
    let gateway = with_history().start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate; client_max_window_bits");
    reader.session.send(json!({"op": "subscribe", "topics": ["test.h.a", "test.h.b"]}));
    reader.session.send(json!({"op": "ping", "id": 1}));
    assert!(reader.next().0.contains("pong"));
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

/// PROTOCOL 12: a client that does not leave the server its window gets each message alone, and the threshold holds; `off` compresses
/// nothing, whoever asks.
#[test]
fn whoever_keeps_no_window_gets_each_message_alone() {
    let gateway = with_history().start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate; server_no_context_takeover");
    reader.session.send(json!({"op": "subscribe", "topics": ["test.h.a", "test.o.a"]}));
    reader.session.send(json!({"op": "ping", "id": 1}));
    assert!(reader.next().0.contains("pong"));
    let long = json!(quote(1).repeat(5)).to_string();
    for _ in 0..2 {
        for (topic, body, is_packed) in [("test.h.a", &quote(1), false), ("test.h.a", &long, true), ("test.o.a", &long, false)] {
            gateway.publish(topic, body);
            let frame = reader.session.next_message().unwrap();
            assert_eq!(frame.rsv1, is_packed, "{topic}");
            let text = if is_packed { String::from_utf8(inflated(&frame.payload)).unwrap() } else { frame.text() };
            assert!(text.contains(body.as_str()));
        }
    }
    gateway.expect_metric("deflate_messages_total{how=\"alone\"}", 2.0);
    assert_eq!(gateway.metrics().value("deflate_messages_total{how=\"history\"}"), 0.0);
    assert_eq!(gateway.metrics().value("deflate_reference_bytes"), 0.0);
}

/// PROTOCOL 7: past `reference_bytes` messages are compressed alone.
#[test]
fn texts_past_their_bound_are_not_referred_to() {
    let gateway = with_history().limits("reference_bytes = 0").start();
    let mut reader = Reader::dial(&gateway, "permessage-deflate");
    reader.session.send(json!({"op": "subscribe", "topics": ["test.h.a"]}));
    reader.session.send(json!({"op": "ping", "id": 1}));
    assert!(reader.next().0.contains("pong"));
    for number in 0..3 {
        gateway.publish("test.h.a", quote(number));
        assert!(reader.next().0.contains(&quote(number)));
    }
    gateway.expect_limit_hit("reference_bytes");
    assert_eq!(gateway.metrics().value("deflate_messages_total{how=\"history\"}"), 0.0);
}
