//! Malformed frames, commands, handshakes and bodies over 200 connections at once. Each has the right close code or
//! status, and another session misses no message.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

#[path = "contract/gateway/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness of the contract's tests has more than this one needs")]
mod gateway;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway::{Gateway, Session, Setup, eventually, read_reply, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const SEED: u64 = 6455;
const AT_ONCE: usize = 200;
const FRAMES: usize = 10_000;
const HANDSHAKES: usize = 2_000;
const BODIES: usize = 2_000;

/// The default of `limits.message_bytes`.
const MESSAGE_BYTES: u64 = 64 << 10;

/// The time for one answer. One in twenty may take longer on a busy machine, up to the harness's deadline.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// One frame, and the close codes that may follow it.
struct Frame {
    bytes: Vec<u8>,
    /// Close codes that may follow. Empty for a valid frame, behind which a Close 1000 is answered.
    codes: Vec<u16>,
}

/// A frame with a random first byte, mask, form of its length and payload, and the close codes of RFC 6455 for it.
fn frame(rng: &mut StdRng) -> Frame {
    let opcode = if rng.random_bool(0.8) { [0, 1, 2, 8, 9, 10][rng.random_range(0..6)] } else { rng.random_range(0..16) };
    let reserved = if rng.random_bool(0.2) { rng.random_range(0..8) } else { 0 };
    let (fin, masked) = (rng.random_bool(0.8), rng.random_bool(0.85));
    let payload: Vec<u8> = payload(rng, opcode);
    let length_bytes = match payload.len() {
        0..=125 if rng.random_bool(0.9) => 0,
        0..=65_535 if rng.random_bool(0.9) => 2,
        _ => 8,
    };
    let false_length = if length_bytes == 8 && rng.random_bool(0.7) { Some(rng.random::<u64>() >> rng.random_range(0..40)) } else { None };
    let declared = false_length.map_or(payload.len() as u64, |false_length| false_length.max(MESSAGE_BYTES + 1));
    let mut bytes = vec![u8::from(fin) << 7 | reserved << 4 | opcode];
    let mask_bit = u8::from(masked) << 7;
    match length_bytes {
        0 => bytes.push(mask_bit | payload.len() as u8),
        2 => bytes.extend([&[mask_bit | 126][..], &(payload.len() as u16).to_be_bytes()].concat()),
        _ => bytes.extend([&[mask_bit | 127][..], &declared.to_be_bytes()].concat()),
    }
    let mask = rng.random::<[u8; 4]>();
    if masked {
        bytes.extend(mask);
    }
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| if masked { byte ^ mask } else { *byte }));
    let minimal = match length_bytes {
        2 => declared > 125,
        8 => declared > 65_535,
        _ => true,
    };
    let control = opcode >= 8;
    let broken = reserved != 0
        || !masked
        || !minimal
        || matches!(opcode, 0 | 3..=7 | 11..)
        || control && (!fin || declared > 125)
        || declared >> 63 == 1;
    let mut codes = Vec::new();
    if broken {
        codes.push(1002);
    }
    if !control && declared > MESSAGE_BYTES {
        codes.push(1009);
    }
    if codes.is_empty() {
        codes = code_of_payload(opcode, fin, &payload);
        if !fin {
            // Another message begins before this one has ended.
            bytes.extend([0x82, 0x80, 0, 0, 0, 0]);
        }
    }
    Frame { bytes, codes }
}

fn payload(rng: &mut StdRng, opcode: u8) -> Vec<u8> {
    let length = match rng.random_range(0..10) {
        0 => 0,
        1..=6 => rng.random_range(1..126),
        7 | 8 => rng.random_range(126..2_000),
        _ => rng.random_range(1..9),
    };
    if opcode == 8 {
        let code = [0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1015, 2999, 3000, 4999, 5000, 65_535][rng.random_range(0..15)];
        let mut payload = u16::to_be_bytes(code).to_vec();
        payload.extend((0..rng.random_range(0..3)).map(|_| rng.random_range(b'a'..=0xff)));
        payload.truncate(rng.random_range(0..6));
        return payload;
    }
    match rng.random_bool(0.5) {
        true => (0..length).map(|_| rng.random_range(b' '..b'~')).collect(),
        false => (0..length).map(|_| rng.random()).collect(),
    }
}

/// The close codes for a whole and well-formed frame, by its payload.
fn code_of_payload(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u16> {
    let not_utf8 = std::str::from_utf8(payload).is_err_and(|error| fin || error.error_len().is_some());
    match (opcode, payload) {
        (1, _) if not_utf8 => vec![1007],
        (1 | 2, _) if !fin => vec![1002],
        (8, []) => vec![1005],
        (8, [_]) => vec![1002],
        (8, [first, second, reason @ ..]) => {
            let code = u16::from_be_bytes([*first, *second]);
            let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            match (valid, std::str::from_utf8(reason).is_ok()) {
                (true, true) => vec![code],
                (true, false) => vec![1007],
                (false, true) => vec![1002],
                (false, false) => vec![1002, 1007],
            }
        }
        _ => Vec::new(),
    }
}

/// Sends one frame, and asserts the close code of its session.
fn send_frame(gateway: &Gateway, rng: &mut StdRng) {
    let Frame { bytes, codes } = frame(rng);
    let mut session = gateway.dial("/echo");
    session.send_bytes(&bytes);
    if codes.is_empty() {
        session.send_frame(gateway::close(1000));
    }
    let expected = if codes.is_empty() { vec![1000] } else { codes };
    let head = &bytes[..bytes.len().min(40)];
    let code = loop {
        match session.next_frame() {
            None => panic!("{head:02x?} ended without a Close, expected {expected:?}"),
            Some(frame) if frame.opcode == 8 => break frame.close_code().unwrap(),
            Some(_) => {}
        }
    };
    assert!(expected.contains(&code), "{head:02x?} was closed with {code}, expected {expected:?}");
}

/// Sends one malformed or invalid command, and asserts that the answer is an error.
fn send_command(session: &mut Session, rng: &mut StdRng) {
    let commands = [
        "",
        "{",
        "[]",
        "null",
        "{\"op\":1}",
        "{\"op\":\"fly\"}",
        "{\"op\":\"subscribe\"}",
        "{\"op\":\"subscribe\",\"topics\":\"a\"}",
        "{\"op\":\"ping\",\"op\":\"ping\"}",
        "{\"op\":\"publish\",\"topic\":\"a..b\",\"data\":1}",
        "{\"op\":\"publish\",\"topic\":\"chat.a\"}",
        "{\"op\":\"publish\",\"topic\":\"chat.a\",\"data\":01}",
        "{\"op\":\"history\",\"topic\":\"chat.a\",\"limit\":1e999}",
        "{\"op\":\"ping\"} x",
    ];
    let deep = "[".repeat(rng.random_range(65..5_000));
    let command = if rng.random_bool(0.2) { deep.as_str() } else { commands[rng.random_range(0..commands.len())] };
    session.send_text(command);
    let event = session.receive();
    let code = event["code"].as_str().unwrap_or_default();
    assert!(event["op"] == "error" && ["bad_request", "unknown_op", "bad_topic"].contains(&code), "{command:.60} was answered {event}");
}

/// Sends one invalid handshake, and asserts its status.
fn send_handshake(gateway: &Gateway, rng: &mut StdRng) {
    let address = gateway.address();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let long = "x".repeat(20 << 10);
    let many: String = (0..70).map(|n| format!("X-{n}: 1\r\n")).collect();
    let host = format!("Host: {address}\r\n");
    let cases: [(String, &[u16]); 12] = [
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}{version}"), &[400]),
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}Sec-WebSocket-Key: short\r\n{version}"), &[400]),
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}{key}Sec-WebSocket-Version: 12\r\n"), &[426]),
        (format!("GET /ws HTTP/1.1\r\n{host}{key}{version}"), &[426]),
        (format!("GET /nothing HTTP/1.1\r\n{host}{upgrade}{key}{version}"), &[404]),
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}{key}{version}Origin: http://evil.example\r\n"), &[403]),
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}{key}{version}X-Long: {long}\r\n"), &[431]),
        (format!("GET /ws HTTP/1.1\r\n{host}{upgrade}{key}{version}{many}"), &[431]),
        (format!("GET /raw/a%20b HTTP/1.1\r\n{host}{upgrade}{key}{version}"), &[400]),
        (format!("GET /raw/a%ff HTTP/1.1\r\n{host}{upgrade}{key}{version}"), &[400]),
        (format!("G\x01T /ws HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /ws HTTP/9.9\r\n{host}"), &[400, 505]),
    ];
    let (head, expected) = &cases[rng.random_range(0..cases.len())];
    let status = reply_to(gateway, format!("{head}\r\n").as_bytes());
    assert!(expected.contains(&status), "{head:.300?} was answered with {status}, expected {expected:?}");
}

/// Sends one invalid request with a body, and asserts its status.
fn send_body(gateway: &Gateway, rng: &mut StdRng) {
    let head = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", gateway.address());
    let whole = |path: &str, body: &str| head(path, &format!("Content-Length: {}\r\n", body.len())) + body;
    let long = "x".repeat(MESSAGE_BYTES as usize + 1);
    let garbage: String = (0..rng.random_range(1..200)).map(|_| char::from(rng.random_range(b'!'..b'~'))).collect();
    let (request, expected): (String, &[u16]) = match rng.random_range(0..8) {
        0 => (whole("/v1/publish", &garbage), &[200]),
        1 => (whole("/v1/publish", &"{".repeat(1_000)), &[200]),
        2 => (whole("/v1/topics/a..b", &garbage), &[400]),
        3 => (whole("/v1/topics/chat.%ff", &garbage), &[400]),
        4 => (whole("/v1/topics/chat.a", &long), &[413]),
        5 => (head("/v1/topics/chat.a", "Content-Length: many\r\n"), &[400]),
        6 => (head("/v1/topics/chat.a", "Transfer-Encoding: chunked\r\n") + "zz\r\nnothing\r\n", &[400]),
        _ => (whole("/v1/topics/private.a", &garbage), &[401]),
    };
    let status = reply_to(gateway, request.as_bytes());
    assert!(expected.contains(&status), "{request:.200?} was answered with {status}, expected {expected:?}");
}

fn reply_to(gateway: &Gateway, request: &[u8]) -> u16 {
    let mut socket = gateway.socket();
    // The write may fail: a gateway that has refused the request stops reading it.
    let _ = socket.write_all(request);
    let reply = read_reply(&mut socket).unwrap_or_else(|error| panic!("no reply to {:.200?}: {error}", String::from_utf8_lossy(request)));
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read(&mut [0; 1]);
    reply.status
}

/// Sends the share of one connection, one input after the other; gives the number of late answers.
fn send_share(gateway: &Gateway, seed: u64, share: usize) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut late = 0;
    let mut timed = |send: &mut dyn FnMut(&mut StdRng)| {
        let start = Instant::now();
        send(&mut rng);
        late += usize::from(start.elapsed() > ANSWER_TIME);
    };
    let mut session = gateway.session();
    for _ in 0..FRAMES / share / 10 {
        (0..8).for_each(|_| timed(&mut |rng| send_frame(gateway, rng)));
        (0..2).for_each(|_| timed(&mut |rng| send_command(&mut session, rng)));
    }
    (0..HANDSHAKES / share).for_each(|_| timed(&mut |rng| send_handshake(gateway, rng)));
    (0..BODIES / share).for_each(|_| timed(&mut |rng| send_body(gateway, rng)));
    late
}

/// Publishes and receives messages on one session until `stop`; gives their number.
fn count_messages(gateway: &Gateway, stop: &AtomicBool) -> u64 {
    let mut session = gateway.session();
    session.subscribe(&["chat.valid"]);
    for n in 1.. {
        session.send(json!({"op": "publish", "topic": "chat.valid", "data": n}));
        let event = session.receive();
        assert_eq!((&event["offset"], &event["data"]), (&json!(n), &json!(n)), "a message is missing: {event}");
        if stop.load(Ordering::Relaxed) {
            return n;
        }
    }
    0
}

/// A metric of the `process_*` family.
fn process_metric(gateway: &Gateway, name: &str) -> f64 {
    let text = gateway.get("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))?.parse().ok()).unwrap()
}

/// Sends all inputs over `AT_ONCE` connections at once; gives the number of late answers.
fn send_all(gateway: &Gateway, seed: u64, share: usize) -> usize {
    let late = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..AT_ONCE {
            let late = &late;
            scope.spawn(move || late.fetch_add(send_share(gateway, seed + number as u64, share), Ordering::Relaxed));
        }
    });
    gateway.expect_metric("sessions", 1.0);
    late.into_inner()
}

/// PROTOCOL 6 and 7: each malformed input has the right code or status, in time. Another session misses no message, and
/// memory and descriptors are as before.
#[test]
fn malformed_input_has_the_right_code() {
    println!("seed {SEED}");
    let gateway = Setup::new().without_rates().start();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| count_messages(&gateway, &stop));
        let outcome = std::panic::catch_unwind(|| {
            send_all(&gateway, SEED, AT_ONCE * 5);
            let descriptors = process_metric(&gateway, "process_open_fds");
            let memory = process_metric(&gateway, "process_resident_memory_bytes");
            let late = send_all(&gateway, SEED + AT_ONCE as u64, AT_ONCE);
            println!("{late} answers took more than {ANSWER_TIME:?}");
            assert!(late <= (FRAMES + HANDSHAKES + BODIES) / 20, "{late} answers took more than {ANSWER_TIME:?}");
            eventually("the descriptors to be closed", || (process_metric(&gateway, "process_open_fds") <= descriptors).then_some(()));
            let most = memory * 1.05 + f64::from(4 << 20);
            within(Duration::from_secs(10), "the memory to be released", || {
                (process_metric(&gateway, "process_resident_memory_bytes") <= most).then_some(())
            });
        });
        stop.store(true, Ordering::Relaxed);
        let messages = counter.join().unwrap();
        println!("the other session got {messages} messages");
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(messages > 100, "the other session got only {messages} messages");
    });
}
