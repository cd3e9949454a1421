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

/// RFC 7692 §7.1: the offer is accepted without a window held between messages; who offers nothing gets nothing.
#[test]
fn an_offer_is_accepted_without_context_takeover() {
    let gateway = Gateway::start();
    for offer in
        ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-other, permessage-deflate; server_max_window_bits=15"]
    {
        let answer = answer(&gateway, offer).unwrap_or_else(|| panic!("{offer} was declined"));
        assert!(answer.starts_with("permessage-deflate"), "{answer}");
        assert!(answer.contains("server_no_context_takeover") && answer.contains("client_no_context_takeover"), "{answer}");
    }
    assert_eq!(gateway.dial("/echo").upgrade.header("Sec-WebSocket-Extensions"), None);
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
    let grown = gateway.peak_memory_bytes() - before;
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
