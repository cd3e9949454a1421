//! PROTOCOL 6: the end of a session.

use crate::gateway::{Gateway, Session, binary, close, eventually, ping, pong, text};

/// PROTOCOL 6: a Close is answered with its own code, and the connection ends.
#[test]
fn a_close_is_answered_with_its_code() {
    let gateway = Gateway::start();
    for code in [1000, 1001, 3000, 4999] {
        let mut session = gateway.session();
        session.send_frame(close(code));
        session.expect_close(code);
        assert_eq!(session.next_message(), None, "the connection ends");
    }
    gateway.expect_metric("sessions", 0.0);
}

/// PROTOCOL 6: a Close without a code is answered.
#[test]
fn a_close_without_code_is_answered() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send_raw_frame(0x88, b"");
    let frame = session.next_message().expect("a Close is answered");
    assert!(frame.opcode == 8 && [Some(1000), Some(1005)].contains(&frame.close_code()), "{frame:?}");
    gateway.expect_metric("sessions_closed_total{reason=\"normal\"}", 1.0);
}

/// PROTOCOL 9: a connection that ends without a Close counts as `gone`.
#[test]
fn an_end_without_a_close_counts_as_gone() {
    let gateway = Gateway::start();
    gateway.session().cut();
    gateway.expect_metric("sessions_closed_total{reason=\"gone\"}", 1.0);
    gateway.expect_metric("sessions", 0.0);
}

/// RFC 6455 §5.5.3: a pong has the payload of its ping.
#[test]
fn pings_are_answered() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    for payload in [&b""[..], b"one", &[0xff; 125]] {
        session.send_frame(ping(payload));
        assert_eq!(session.next_frame(), Some(pong(payload)));
    }
    session.send_frame(pong(b"without a ping"));
    session.expect_quiet();
}

/// Asserts that `violate` closes a session of the native dialect and one of `/echo` with `code`.
fn expect_closed(gateway: &Gateway, code: u16, violate: impl Fn(&mut Session)) {
    for path in ["/ws", "/echo"] {
        let mut session = gateway.dial(path);
        if path == "/ws" {
            session.read_welcome();
        }
        violate(&mut session);
        session.expect_close(code);
    }
}

/// PROTOCOL 6: reserved bits, reserved opcodes, unmasked frames: 1002.
#[test]
fn reserved_or_unmasked_frames_close_with_1002() {
    let gateway = Gateway::start();
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0x83, 0x87, 0x8b, 0x8f, 0x80, 0xc9] {
        expect_closed(&gateway, 1002, |session| session.send_raw_frame(first, b"hello"));
    }
    expect_closed(&gateway, 1002, |session| session.send_bytes(&[0x81, 5, b'h', b'e', b'l', b'l', b'o']));
    gateway.expect_metric("sessions_closed_total{reason=\"protocol\"}", 22.0);
}

/// PROTOCOL 6: control frames that are fragmented or too long, and fragments out of order: 1002.
#[test]
fn control_frames_and_fragments_out_of_order_close_with_1002() {
    let gateway = Gateway::start();
    expect_closed(&gateway, 1002, |session| session.send_raw_frame(0x09, b"ping"));
    expect_closed(&gateway, 1002, |session| session.send_raw_frame(0x89, &[0; 126]));
    expect_closed(&gateway, 1002, |session| session.send_raw_frame(0x88, &[0x03, 0xe8].repeat(63)));
    expect_closed(&gateway, 1002, |session| {
        session.send_raw_frame(0x01, b"a");
        session.send_raw_frame(0x81, b"b");
    });
}

/// PROTOCOL 6: lengths that are not minimal, or with the top bit set: 1002.
#[test]
fn bad_lengths_close_with_1002() {
    let gateway = Gateway::start();
    expect_closed(&gateway, 1002, |session| session.send_bytes(&[0x81, 0x80 | 126, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5]));
    expect_closed(&gateway, 1002, |session| session.send_bytes(&[&[0x81, 0x80 | 127][..], &200_u64.to_be_bytes(), &[0; 204]].concat()));
    expect_closed(&gateway, 1002, |session| session.send_bytes(&[&[0x82, 0x80 | 127][..], &(1_u64 << 63).to_be_bytes(), &[0; 4]].concat()));
}

/// PROTOCOL 6: a code that may not be on the wire, and a Close with one byte: 1002.
#[test]
fn bad_close_codes_close_with_1002() {
    let gateway = Gateway::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        expect_closed(&gateway, 1002, |session| session.send_frame(close(code)));
    }
    expect_closed(&gateway, 1002, |session| session.send_raw_frame(0x88, &[3]));
}

/// PROTOCOL 6: text that is not UTF-8, in a message or in a Close: 1007. A fragment closes before the message is whole.
#[test]
fn text_that_is_not_utf8_closes_with_1007() {
    let gateway = Gateway::start();
    for bad in [&b"\xff"[..], b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe5\xa4"] {
        expect_closed(&gateway, 1007, |session| session.send_raw_frame(0x81, bad));
    }
    expect_closed(&gateway, 1007, |session| session.send_raw_frame(0x01, b"never ends \xff"));
    expect_closed(&gateway, 1007, |session| session.send_raw_frame(0x88, b"\x03\xe8\xff"));
    gateway.expect_metric("sessions_closed_total{reason=\"not_utf8\"}", 14.0);
}

/// RFC 6455 §5.6: a fragment may end within a character.
#[test]
fn a_character_may_be_split_between_fragments() {
    let gateway = Gateway::start();
    let mut echo = gateway.dial("/echo");
    echo.send_raw_frame(0x01, b"\xe5");
    echo.send_raw_frame(0x00, b"\xa4");
    echo.send_raw_frame(0x80, b"\xa7");
    echo.expect_message(text("大"));
}

/// PROTOCOL 7: a message of `message_bytes` passes. A larger one, in one frame or in fragments, closes with 1009.
#[test]
fn a_message_too_big_closes_with_1009() {
    let gateway = Gateway::with_limits("message_bytes = 1000");
    let mut echo = gateway.dial("/echo");
    echo.send_frame(binary(&[7; 1000]));
    echo.expect_message(binary(&[7; 1000]));
    expect_closed(&gateway, 1009, |session| session.send_raw_frame(0x81, &[b'x'; 1001]));
    expect_closed(&gateway, 1009, |session| {
        session.send_raw_frame(0x01, &[b'x'; 600]);
        session.send_raw_frame(0x80, &[b'x'; 600]);
    });
    gateway.expect_metric("limit_hits_total{limit=\"message_bytes\"}", 4.0);
    gateway.expect_metric("sessions_closed_total{reason=\"message_too_big\"}", 4.0);
}

/// PROTOCOL 7: a declared length past `message_bytes` closes with 1009 before the payload has come.
#[test]
fn a_declared_length_too_big_closes_with_1009() {
    let gateway = Gateway::start();
    for length in [65_537_u64, 1 << 40, (1 << 63) - 1] {
        expect_closed(&gateway, 1009, |session| session.send_bytes(&[&[0x81, 0x80 | 127][..], &length.to_be_bytes(), &[0; 4]].concat()));
    }
}

/// A message before a violation is answered before the Close.
#[test]
fn messages_before_a_violation_are_answered() {
    let gateway = Gateway::start();
    let mut echo = gateway.dial("/echo");
    echo.send_text("hello");
    echo.send_raw_frame(0x83, b"");
    echo.expect_message(text("hello"));
    echo.expect_close(1002);
}

/// PROTOCOL 6: after its Close the gateway discards what it reads, and drops the connection after 2 s.
#[test]
fn after_its_close_the_gateway_drops_the_connection() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send_raw_frame(0x83, b"");
    session.expect_close(1002);
    session.send_text("more");
    session.send_frame(ping(b"still there?"));
    assert_eq!(session.next_frame(), None, "nothing is answered after the Close");
    eventually("the connection to be dropped", || session.is_dropped().then_some(()));
}

/// PROTOCOL 6: nothing comes behind the gateway's Close, also where the client answers it.
#[test]
fn an_answered_close_ends_the_connection() {
    let gateway = Gateway::start();
    let mut session = gateway.session();
    session.send_raw_frame(0x82, b"binary");
    session.expect_close(1003);
    session.send_frame(close(1003));
    assert_eq!(session.next_frame(), None);
    eventually("the connection to be dropped", || session.is_dropped().then_some(()));
}

/// PROTOCOL 6: frames behind a client's Close are ignored.
#[test]
fn frames_behind_a_close_are_ignored() {
    let gateway = Gateway::start();
    let (mut session, mut other) = (gateway.session(), gateway.session());
    other.subscribe(&["test.a"]);
    session.send_frame(close(1000));
    session.send_text(r#"{"op":"publish","topic":"test.a","data":1}"#);
    session.expect_close(1000);
    eventually("the session to end", || (gateway.metrics().value("sessions") == 1.0).then_some(()));
    other.expect_quiet();
}

/// PROTOCOL 9: `sessions` counts the open sessions, `sessions_opened_total` all.
#[test]
fn sessions_are_counted() {
    let gateway = Gateway::start();
    let first = gateway.session();
    let _second = gateway.dial("/raw/test.a");
    gateway.expect_metric("sessions", 2.0);
    drop(first);
    gateway.expect_metric("sessions", 1.0);
    gateway.expect_metric("sessions_opened_total", 2.0);
}
