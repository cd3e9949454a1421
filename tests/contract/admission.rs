//! PROTOCOL 7: who may come in: origins, upgrades, totals, and the deadline of the first request.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::gateway::{ADMIN, Gateway, Setup, eventually, read_reply};

/// PROTOCOL 7: 403 for an `Origin` of another host, of another port, of none; the same host passes, and who sends none.
#[test]
fn origins_must_be_of_the_same_host() {
    let gateway = Gateway::start();
    let port = gateway.address().port();
    for origin in [
        "https://example.com",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "null",
        &format!("http://127.0.0.1:{port}.evil"),
        &format!("http://127.0.0.1.evil:{port}"),
    ] {
        for path in ["/ws", "/raw/chat.a", "/echo"] {
            assert_eq!(gateway.refusal(path, &[("Origin", origin)]).status, 403, "{origin} on {path}");
        }
    }
    let same = format!("http://127.0.0.1:{port}");
    gateway.dial_with("/ws", &[("Origin", &same)]).expect("the same host passes");
    gateway.expect_metric("handshakes_rejected_total{reason=\"origin\"}", 18.0);
}

/// PROTOCOL 7: the same-host rule compares host and port with `Host`, the port defaulting by the Origin's scheme.
#[test]
fn the_port_defaults_by_the_origins_scheme() {
    let gateway = Setup::new().server("hosts = [\"example.com\"]").start();
    let passes = |host: &str, origin: &str| gateway.dial_with("/ws", &[("Host", host), ("Origin", origin)]).is_ok();
    assert!(passes("example.com", "http://example.com"));
    assert!(passes("example.com", "https://example.com"));
    assert!(passes("example.com:443", "https://example.com"));
    assert!(passes("example.com", "https://example.com:443"));
    assert!(passes("EXAMPLE.com", "http://example.com"));
    assert!(!passes("example.com:80", "https://example.com"));
    assert!(!passes("example.com:8080", "http://example.com"));
    assert!(!passes("example.com", "http://www.example.com"));
}

/// PROTOCOL 7: listed origins replace the same-host rule and compare scheme, host and port; `null` never passes.
#[test]
fn listed_origins_replace_the_same_host_rule() {
    let gateway = Setup::new().server("origins = [\"https://example.com\", \"http://localhost:3000\"]").start();
    let passes = |origin: &str| gateway.dial_with("/ws", &[("Origin", origin)]).is_ok();
    assert!(passes("https://example.com") && passes("https://example.com:443") && passes("http://localhost:3000"));
    let same = format!("http://{}", gateway.address());
    for origin in ["http://example.com", "https://example.com:8443", "https://example.com.evil", "http://localhost", "null", &same] {
        assert!(!passes(origin), "{origin}");
    }
    gateway.session().expect_quiet();
}

/// PROTOCOL 7: what developers, apps and extensions send can be listed, `null` by its name.
#[test]
fn origins_may_leave_a_port_or_subdomain_open() {
    let origins = "origins = [\"http://localhost:*\", \"https://*.example.com\", \"null\", \"capacitor://localhost\"]";
    let gateway = Setup::new().server(origins).start();
    let passes = |origin: &str| gateway.dial_with("/ws", &[("Origin", origin)]).is_ok();
    for origin in ["http://localhost:5173", "http://localhost", "https://app.example.com", "null", "capacitor://localhost"] {
        assert!(passes(origin), "{origin}");
    }
    for origin in ["https://localhost:5173", "https://example.com", "https://app.example.com.evil", "ionic://localhost"] {
        assert!(!passes(origin), "{origin}");
    }
}

/// The log names a refused origin once, with what would let it in. (It said nothing, and neither does a browser.)
#[test]
fn a_refused_origin_is_logged_once() {
    let gateway = Gateway::start();
    for origin in ["http://localhost:3000", "http://localhost:3000", "https://a.example"] {
        assert_eq!(gateway.refusal("/ws", &[("Origin", origin)]).status, 403);
    }
    let told = || gateway.log().lines().filter(|line| line.contains("INFO") && line.contains("server.origins")).count();
    eventually("both origins to be named", || (told() == 2).then_some(()));
    assert_eq!(gateway.log().matches("http://localhost:3000").count(), 1, "{}", gateway.log());
}

/// PROTOCOL 7: 403 comes before whatever else is wrong: another version, another method, no such path.
#[test]
fn an_origin_is_looked_at_first() {
    let gateway = Gateway::start();
    let evil = ("Origin", "https://evil.example");
    for (method, path) in [("POST", "/nowhere"), ("POST", "/metrics"), ("DELETE", "/v1/topics"), ("POST", "/ws")] {
        assert_eq!(gateway.request(method, path, &[evil], b"").problem(403), "not_allowed", "{method} {path}");
    }
    assert_eq!(gateway.refusal("/nowhere", &[evil]).status, 403);
    gateway.expect_metric("handshakes_rejected_total{reason=\"origin\"}", 5.0);
    assert_eq!(gateway.request("GET", "/nowhere", &[evil], b"").status, 404);
}

/// Threats 19: a request of HTTP/1.1 names one host (RFC 9112 §3.2); where there are two, a proxy may have gone by the
/// other.
#[test]
fn a_request_has_one_host() {
    let gateway = Gateway::start();
    for (hosts, status) in [
        ("", 400),
        ("Host: local host\r\n", 400),
        ("Host: localhost/x\r\n", 400),
        ("Host: localhost:1x\r\n", 400),
        ("Host: localhost\r\nHost: localhost:1\r\n", 400),
        ("Host: localhost\r\n", 200),
    ] {
        let mut socket = gateway.socket();
        write!(socket, "GET /healthz HTTP/1.1\r\n{hosts}\r\n").unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().status, status, "{hosts:?}");
        if status == 400 {
            expect_end(&mut socket);
        }
    }
    let mut socket = gateway.socket();
    write!(socket, "GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 200, "HTTP/1.0 had none");
}

/// Threats 25: with no file descriptor left, who comes gets 503 and when to come again; the limit is counted, and once
/// some are free everybody is served as before.
#[test]
fn without_descriptors_503_is_told() {
    let gateway = Setup::new().limits("handshake_timeout = \"1m\"").start();
    let held: Vec<_> = (0..8).map(|_| gateway.session()).collect();
    gateway.forbid_new_descriptors();
    let mut waiting = gateway.socket();
    write!(waiting, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let reply = read_reply(&mut waiting).unwrap();
    assert_eq!(reply.problem(503), "too_many_connections");
    assert!(reply.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0)), "{reply:?}");
    expect_end(&mut waiting);
    drop(held);
    eventually("room for another connection", || (gateway.get("/healthz").status == 200).then_some(()));
    gateway.expect_limit_hit("fds");
}

/// Threats 19: whatever an upgrade is refused for, nothing that follows it on the connection is taken for a request.
#[test]
fn a_refused_upgrade_ends_the_connection() {
    let gateway = Setup::new().limits("sessions = 1").start();
    let _only = gateway.session();
    for (path, status) in [("/ws", 503), ("/raw/a..b", 400), ("/raw/private.a", 401), ("/nowhere", 404)] {
        let mut socket = gateway.socket();
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n").unwrap();
        write!(socket, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().status, status, "{path}");
        assert!(read_reply(&mut socket).is_err(), "{path}: what was hidden behind the handshake was answered");
    }
}

/// PROTOCOL 3 and 4: a handshake is answered alike whether it comes whole, with a frame behind it, in pieces, or on a
/// connection that has carried a request before. The answers differ in the date at most.
#[test]
fn a_handshake_may_come_in_any_way() {
    const FRAME: &[u8] = b"\x81\x8d\0\0\0\0{\"op\":\"ping\"}";
    let gateway = Gateway::start();
    let head = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: belfry.json.v1\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
    };
    for (path, answer) in [("/ws", &b"pong"[..]), ("/echo", b"\xc1")] {
        let whole = [head(path).as_bytes(), FRAME].concat();
        let mut heads = Vec::new();
        for way in ["whole", "in pieces", "kept alive"] {
            let mut socket = gateway.socket();
            socket.set_nodelay(true).unwrap();
            match way {
                "in pieces" => whole.chunks(50).for_each(|piece| {
                    socket.write_all(piece).unwrap();
                    gateway.get("/healthz"); // so that the gateway has seen it before the next
                }),
                "kept alive" => {
                    write!(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
                    socket.write_all(&whole).unwrap();
                }
                _ => socket.write_all(&whole).unwrap(),
            }
            let (mut heard, mut piece) = (Vec::new(), [0; 1024]);
            while !heard.windows(answer.len()).any(|part| part == answer) {
                let read =
                    socket.read(&mut piece).unwrap_or_else(|error| panic!("{path}, {way}: {error}: {}", String::from_utf8_lossy(&heard)));
                assert!(read > 0, "{path}, {way}: {}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&piece[..read]);
            }
            let text = String::from_utf8_lossy(&heard).into_owned();
            let lines = text.split("\r\n\r\n").next().unwrap().lines();
            let mut lines: Vec<String> = lines.filter(|line| !line.starts_with("date:")).map(str::to_owned).collect();
            lines.sort_unstable();
            assert!(lines.iter().any(|line| line == "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{path}, {way}: {text}");
            heads.push(lines);
        }
        assert!(heads.windows(2).all(|two| two[0] == two[1]), "{path}: {heads:#?}");
    }
}

/// What comes with a handshake is read, however much it is, and also where the handshake's target names a host.
#[test]
fn nothing_behind_a_handshake_is_lost() {
    const FRAMES: usize = 5;
    let gateway = Gateway::start();
    let frame = [&b"\x81\xfe\x0f\xa0\0\0\0\0"[..], &[b'x'; 4_000]].concat();
    for target in ["/echo", "http://localhost/echo"] {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut socket = gateway.socket();
        socket.write_all(&[head.as_bytes(), &frame.repeat(FRAMES)].concat()).unwrap();
        let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
        while heard.iter().filter(|&&byte| byte == b'x').count() < FRAMES * 4_000 {
            let read = socket.read(&mut piece).unwrap();
            assert!(read > 0, "{target}: {} bytes came", heard.len());
            heard.extend_from_slice(&piece[..read]);
        }
    }
}

/// PROTOCOL 7: the same holds for every POST and DELETE, and not for a GET.
#[test]
fn origins_hold_for_posts_and_deletes() {
    let gateway = Gateway::start();
    let foreign = ("Origin", "https://example.com");
    for (method, path) in [("POST", "/v1/topics/chat.a"), ("POST", "/v1/publish"), ("DELETE", "/v1/sessions/nobody")] {
        gateway.request(method, path, &[ADMIN, foreign], b"").problem(403);
    }
    assert_eq!(gateway.request("GET", "/healthz", &[foreign], b"").status, 200);
}

/// PROTOCOL 7: 426 for `/ws` without an upgrade, or with a version other than 13; the answer says 13.
#[test]
fn an_upgrade_is_required_in_version_13() {
    let gateway = Gateway::start();
    for reply in [gateway.get("/ws"), gateway.refusal("/ws", &[("Sec-WebSocket-Version", "8")])] {
        assert_eq!((reply.status, reply.header("Sec-WebSocket-Version")), (426, Some("13")), "{reply:?}");
        assert_eq!((reply.header("Upgrade"), reply.header("Connection")), (Some("websocket"), Some("upgrade, close")), "RFC 9110 §7.8");
    }
    gateway.expect_metric("handshakes_rejected_total{reason=\"bad_upgrade\"}", 2.0);
}

/// PROTOCOL 7: 404 for an upgrade elsewhere.
#[test]
fn an_upgrade_elsewhere_is_not_found() {
    let gateway = Gateway::start();
    assert_eq!(gateway.refusal("/nothing", &[]).status, 404);
    gateway.expect_metric("handshakes_rejected_total{reason=\"not_found\"}", 1.0);
}

/// An upgrade that lacks its key, or has a bad one, is a bad request.
#[test]
fn an_upgrade_needs_its_key() {
    let gateway = Gateway::start();
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let mut socket = gateway.socket();
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{key}\r\n",
            gateway.address()
        );
        socket.write_all(head.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().status, 400);
    }
}

/// Frames that come with the head of the upgrade are read after it.
#[test]
fn frames_may_come_with_the_head() {
    let gateway = Gateway::start();
    let mut socket = gateway.socket();
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.address()
    );
    socket.write_all(&[head.as_bytes(), &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat()).unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 101);
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(echo, [0x81, 2, b'h', b'i']);
}

/// RFC 9112 §9.3: the upgrade may be a connection's second request; its 101 comes after the first one's answer.
#[test]
fn an_upgrade_may_follow_another_request() {
    let gateway = Gateway::start();
    let mut socket = gateway.socket();
    let address = gateway.address();
    let plain = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let upgrade = format!(
        "GET /raw/chat.a HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all([&plain[..], &upgrade[..]].concat().as_bytes()).unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
    assert_eq!(read_reply(&mut socket).unwrap().status, 101);
    socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut pong = [0; 2];
    socket.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0x8a, 0]);
}

/// PROTOCOL 7: past `sessions`: 503 before the upgrade, with `Retry-After`; a session that ends makes room.
#[test]
fn sessions_are_bounded() {
    let gateway = Gateway::with_limits("sessions = 2");
    let (first, _second) = (gateway.session(), gateway.session());
    let reply = gateway.refusal("/ws", &[]);
    assert_eq!((reply.status, reply.header("Retry-After").is_some()), (503, true), "{reply:?}");
    gateway.expect_limit_hit("sessions");
    gateway.expect_metric("handshakes_rejected_total{reason=\"sessions\"}", 1.0);
    drop(first);
    eventually("room for another session", || gateway.dial_with("/ws", &[]).ok());
}

/// PROTOCOL 7: past `sessions_per_address`: 429 before the upgrade.
#[test]
fn sessions_of_an_address_are_bounded() {
    let gateway = Gateway::with_limits("sessions_per_address = 1");
    let first = gateway.session();
    assert_eq!(gateway.refusal("/ws", &[]).status, 429);
    gateway.expect_limit_hit("sessions_per_address");
    gateway.expect_metric("handshakes_rejected_total{reason=\"sessions_per_address\"}", 1.0);
    drop(first);
    eventually("room for another session", || gateway.dial_with("/ws", &[]).ok());
}

/// PROTOCOL 8: `trusted_proxies`: only theirs is the forwarded address that counts.
#[test]
fn a_trusted_proxy_tells_the_address() {
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let trusting = Setup::new().server("trusted_proxies = [\"127.0.0.0/8\"]").limits("sessions_per_address = 1").start();
    let _one = trusting.dial_with("/ws", &from("192.0.2.1")).expect("the first of its address");
    let _two = trusting.dial_with("/ws", &from("192.0.2.2")).expect("the first of its address");
    assert_eq!(trusting.refusal("/ws", &from("192.0.2.1")).status, 429);
    let wary = Gateway::with_limits("sessions_per_address = 1");
    let _one = wary.dial_with("/ws", &from("192.0.2.1")).expect("the first of its address");
    assert_eq!(wary.refusal("/ws", &from("192.0.2.2")).status, 429);
}

fn expect_end(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = socket.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(!matches!(end, Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)), "the connection should have ended");
}

/// PROTOCOL 7: who does not finish the first request's head in time gets 408 or is just closed.
#[test]
fn the_handshake_has_a_deadline() {
    let gateway = Gateway::with_limits("handshake_timeout = \"200ms\"");
    for begun in ["", "GET /ws HTTP/1.1\r\nHost: localhost"] {
        let mut socket = gateway.socket();
        socket.write_all(begun.as_bytes()).unwrap();
        if let Ok(reply) = read_reply(&mut socket) {
            assert_eq!(reply.status, 408);
        }
        expect_end(&mut socket);
    }
    gateway.expect_limit_hit("handshake_timeout");
    eventually("both to be counted", || (gateway.metrics().value("handshakes_rejected_total{reason=\"timeout\"}") >= 2.0).then_some(()));
}

/// PROTOCOL 7: a head past `header_bytes`, or of more than 64 fields: 431.
#[test]
fn the_head_is_bounded() {
    let gateway = Gateway::with_limits("header_bytes = 1000");
    let long = "x".repeat(1000);
    let many: Vec<_> = (0..65).map(|n| (format!("X-{n}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    for headers in [&[("X-Long", long.as_str())][..], &many] {
        assert_eq!(gateway.refusal("/ws", headers).status, 431);
    }
    gateway.expect_metric("limit_hits_total{limit=\"header_bytes\"}", 2.0);
    gateway.expect_metric("handshakes_rejected_total{reason=\"header_bytes\"}", 2.0);
}

/// PROTOCOL 7: a body that does not come whole in time: 408.
#[test]
fn a_body_has_a_deadline() {
    let gateway = Gateway::with_limits("body_timeout = \"200ms\"");
    let mut socket = gateway.socket();
    write!(socket, "POST /v1/topics/chat.a HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\nhalf", gateway.address()).unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 408);
    gateway.expect_limit_hit("body_timeout");
}

/// PROTOCOL 7: an idle kept-alive connection is closed after `keep_alive`.
#[test]
fn an_idle_connection_is_closed() {
    let gateway = Gateway::with_limits("keep_alive = \"200ms\"");
    let mut socket = gateway.socket();
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address()).unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
    expect_end(&mut socket);
    gateway.expect_limit_hit("keep_alive");
}

/// PROTOCOL 7: past `pending` a connection is closed at accept; those that wait are served all the same.
#[test]
fn pending_connections_are_bounded() {
    let gateway = Gateway::with_limits("pending = 2\nhandshake_timeout = \"30s\"");
    let mut waiting: Vec<_> = (0..2).map(|_| gateway.socket()).collect();
    eventually("a connection to be closed at accept", || {
        let mut socket = gateway.socket();
        let asked = write!(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        (asked.is_err() || read_reply(&mut socket).is_err()).then_some(())
    });
    write!(waiting[0], "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let metrics = read_reply(&mut waiting[0]).expect("who waited is served").text();
    assert!(metrics.contains("belfry_limit_hits_total{limit=\"pending\"}"), "the limit is counted");
    assert!(metrics.contains("belfry_handshakes_rejected_total{reason=\"pending\"}"), "the rejection is counted");
}

/// PROTOCOL 5: a head that can't be read is a 400.
#[test]
fn a_head_that_can_not_be_read_is_a_400() {
    let gateway = Gateway::start();
    let mut socket = gateway.socket();
    socket.write_all(b"nonsense\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 400);
}

/// A request with both a length and chunks, or an upgrade with a body, is not served (request smuggling).
#[test]
fn ambiguous_bodies_are_refused() {
    let gateway = Gateway::start();
    let both =
        "POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
    let body = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 1\r\n\r\n1";
    for request in [both, body] {
        let mut socket = gateway.socket();
        socket.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().status, 400, "{request}");
        expect_end(&mut socket);
    }
}

/// PROTOCOL 7: a listener on a loopback address takes loopback names in `Host`: a page whose name was made to point
/// here (DNS rebinding) has an Origin that agrees with it. `server.hosts` names others.
#[test]
fn a_loopback_listener_takes_loopback_names() {
    let gateway = Setup::new().server("hosts = [\"gateway.example\"]").start();
    let evil = [("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(gateway.refusal("/ws", &evil).problem(421), "misdirected");
    for (method, path) in [("POST", "/v1/topics/chat.a"), ("GET", "/v1/topics/chat.a/history"), ("GET", "/")] {
        assert_eq!(gateway.request(method, path, &evil, b"1").problem(421), "misdirected", "{method} {path}");
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:8765", "Gateway.Example"] {
        assert_eq!(gateway.request("GET", "/healthz", &[("Host", host)], b"").status, 200, "{host}");
    }
    gateway.dial_with("/ws", &[("Host", "gateway.example"), ("Origin", "http://gateway.example")]).expect("a host of server.hosts passes");
}

/// PROTOCOL 7: one address has `pending_per_address` unfinished handshakes; the next is closed at accept, and counted.
#[test]
fn pending_handshakes_per_address_are_bounded() {
    let gateway = Setup::new().limits("pending_per_address = 2\nhandshake_timeout = \"1m\"").start();
    let silent: Vec<_> = (0..2).map(|_| gateway.socket()).collect();
    expect_end(&mut gateway.socket());
    drop(silent);
    eventually("a place to be free again", || {
        let mut socket = gateway.socket();
        let asked = write!(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        asked.and_then(|()| read_reply(&mut socket)).ok()
    });
    gateway.expect_limit_hit("pending_per_address");
}

fn kept_alive(gateway: &Gateway) -> TcpStream {
    let mut socket = gateway.socket();
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
    socket
}

/// Whether the gateway has ended a connection on which nothing waits to be read.
fn has_ended(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = socket.peek(&mut [0]).map_err(|error| error.kind());
    socket.set_nonblocking(false).unwrap();
    read != Err(std::io::ErrorKind::WouldBlock)
}

/// A connection whose request is being answered: its body doesn't come.
fn busy(gateway: &Gateway) -> TcpStream {
    let mut socket = gateway.socket();
    write!(socket, "POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut socket).unwrap().status, 100, "the body is waited for");
    socket
}

/// PROTOCOL 7: past `http_connections_per_address` an idle connection is closed; where all are busy, 429.
#[test]
fn idle_connections_give_way() {
    let gateway = Setup::new().limits("http_connections_per_address = 2").start();
    let mut two = [kept_alive(&gateway), kept_alive(&gateway)];
    let _third = kept_alive(&gateway);
    // Which of them has been idle longer is known to the gateway alone: each is, once its reply was written.
    let closed = eventually("one of the two to be closed", || two.iter().position(has_ended));
    let other = &mut two[1 - closed];
    write!(other, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_reply(other).unwrap().status, 200, "the other lives on");
    gateway.session().expect_quiet();
    let gateway = Setup::new().limits("http_connections_per_address = 2").start();
    let _busy = (busy(&gateway), busy(&gateway));
    let reply = gateway.get("/healthz");
    assert_eq!(reply.problem(429), "rate_limited");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    gateway.session().expect_quiet();
}

/// PROTOCOL 7: past `http_connections` with none idle: 503 with `Retry-After`; sessions come in all the same.
#[test]
fn connections_in_all_are_bounded() {
    let gateway = Setup::new().limits("http_connections = 2").start();
    let held = (busy(&gateway), busy(&gateway));
    let reply = gateway.get("/healthz");
    assert_eq!(reply.problem(503), "too_many_connections");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    gateway.session().expect_quiet();
    drop(held);
    eventually("room again", || (gateway.get("/healthz").status == 200).then_some(()));
    gateway.expect_limit_hit("http_connections");
}

/// Threats 19: a coding beside `chunked` is not understood: 501, and nothing that follows is taken for a request.
#[test]
fn other_codings_are_refused() {
    let gateway = Gateway::start();
    for coding in ["gzip, chunked", "identity, chunked"] {
        let mut socket = gateway.socket();
        write!(socket, "POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\n1\r\n0\r\n\r\n")
            .unwrap();
        assert_eq!(read_reply(&mut socket).unwrap().problem(501), "not_implemented", "{coding}");
        expect_end(&mut socket);
    }
}

/// PROTOCOL 8: only the header that the proxies set names the client; its own other one is ignored.
#[test]
fn only_the_proxies_header_names_the_client() {
    let headers = [("Forwarded", "for=192.0.2.6"), ("X-Forwarded-For", "192.0.2.1")];
    for (named, address) in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "192.0.2.6")] {
        let server = format!("trusted_proxies = [\"::ffff:127.0.0.0/104\"]\nclient_address_header = \"{named}\"");
        let gateway = Setup::new().server(&server).start();
        let _session = gateway.dial_with("/ws", &headers).expect("a session");
        let seen = gateway.admin("/v1/sessions").json();
        assert_eq!(seen["sessions"][0]["address"], address, "{seen}");
    }
}
