//! PROTOCOL 7: the admission of connections: origins, upgrades, totals, and the deadline of the first request.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::gateway::{ADMIN, Gateway, Setup, eventually, read_reply};

/// A request that needs no credentials.
const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The head of an upgrade with further header fields.
fn upgrade(target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// PROTOCOL 7: 403 for an `Origin` with another host, another port or no host; an `Origin` of the same host passes.
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

/// PROTOCOL 7: a listed origin may leave its port or its subdomain open. Other schemes can be listed.
#[test]
fn listed_origins_may_leave_a_port_or_subdomain_open() {
    let origins = "origins = [\"http://localhost:*\", \"https://*.example.com\", \"capacitor://localhost\"]";
    let gateway = Setup::new().server(origins).start();
    let passes = |origin: &str| gateway.dial_with("/ws", &[("Origin", origin)]).is_ok();
    for origin in ["http://localhost:5173", "http://localhost", "https://app.example.com", "capacitor://localhost"] {
        assert!(passes(origin), "{origin}");
    }
    for origin in ["https://localhost:5173", "https://example.com", "https://app.example.com.evil", "ionic://localhost"] {
        assert!(!passes(origin), "{origin}");
    }
}

/// PROTOCOL 7: `null` never passes, and it can't be listed: a reload that lists it changes nothing. The bug: it passed
/// where it was listed.
#[test]
fn the_origin_null_never_passes() {
    let gateway = Setup::new().server("origins = [\"http://localhost:*\"]").start();
    gateway.reload(&Setup::new().server("origins = [\"http://localhost:*\", \"null\"]"));
    let refused = "server.origins[1] = \"null\" is the origin of every sandboxed page";
    eventually("the entry to be refused", || gateway.log().contains(refused).then_some(()));
    let null = ("Origin", "null");
    assert_eq!(gateway.refusal("/ws", &[null]).status, 403);
    for (method, path) in
        [("GET", "/sse?topics=chat.a"), ("GET", "/stream?topics=chat.a"), ("POST", "/v1/topics/chat.a"), ("DELETE", "/v1/sessions/a")]
    {
        assert_eq!(gateway.request(method, path, &[ADMIN, null], b"1").problem(403), "not_allowed", "{method} {path}");
    }
}

/// The log names a refused origin once, with the key that would allow it. The bug: the log said nothing, and a browser
/// does not show the reason either.
#[test]
fn a_refused_origin_is_logged_once() {
    let gateway = Gateway::start();
    for origin in ["http://localhost:3000", "http://localhost:3000", "https://a.example"] {
        assert_eq!(gateway.refusal("/ws", &[("Origin", origin)]).status, 403);
    }
    let logged = || gateway.log().lines().filter(|line| line.contains("INFO") && line.contains("server.origins")).count();
    eventually("both origins to be named", || (logged() == 2).then_some(()));
    assert_eq!(gateway.log().matches("http://localhost:3000").count(), 1, "{}", gateway.log());
}

/// PROTOCOL 7: the origin is checked before the method and the path.
#[test]
fn the_origin_is_checked_first() {
    let gateway = Gateway::start();
    let evil = ("Origin", "https://evil.example");
    for (method, path) in [("POST", "/nowhere"), ("POST", "/metrics"), ("DELETE", "/v1/topics"), ("POST", "/ws")] {
        assert_eq!(gateway.request(method, path, &[evil], b"").problem(403), "not_allowed", "{method} {path}");
    }
    assert_eq!(gateway.refusal("/nowhere", &[evil]).status, 403);
    gateway.expect_metric("handshakes_rejected_total{reason=\"origin\"}", 5.0);
    assert_eq!(gateway.request("GET", "/nowhere", &[evil], b"").status, 404);
}

/// A request of HTTP/1.1 must have one valid `Host` (RFC 9112 §3.2). With two, a proxy may have used the other one.
#[test]
fn a_request_must_have_one_host() {
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
    assert_eq!(read_reply(&mut socket).unwrap().status, 200, "HTTP/1.0 needs no Host");
}

/// Without a free file descriptor, a request is answered with 503 and `Retry-After`, and the limit is counted. Once
/// descriptors are free, requests are served again.
#[test]
fn without_descriptors_a_request_gets_503() {
    let gateway = Setup::new().limits("handshake_timeout = \"1m\"").start();
    let held: Vec<_> = (0..8).map(|_| gateway.session()).collect();
    gateway.forbid_new_descriptors();
    let mut waiting = gateway.socket_with(HEALTHZ);
    let reply = read_reply(&mut waiting).unwrap();
    assert_eq!(reply.problem(503), "too_many_connections");
    assert!(reply.header("Retry-After").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0)), "{reply:?}");
    expect_end(&mut waiting);
    drop(held);
    eventually("a descriptor to be free", || (gateway.get("/healthz").status == 200).then_some(()));
    gateway.expect_limit_hit("fds");
}

/// A refused upgrade ends its connection, so bytes behind it are not read as a request (request smuggling).
#[test]
fn a_refused_upgrade_ends_the_connection() {
    let gateway = Setup::new().limits("sessions = 1").start();
    let _only = gateway.session();
    for (path, status) in [("/ws", 503), ("/raw/a..b", 400), ("/raw/private.a", 401), ("/nowhere", 404)] {
        let mut socket = gateway.socket_with(upgrade(path, "") + HEALTHZ);
        assert_eq!(read_reply(&mut socket).unwrap().status, status, "{path}");
        assert!(read_reply(&mut socket).is_err(), "{path}: the request behind the handshake was answered");
    }
}

/// PROTOCOL 3 and 4: a handshake with a frame behind it has the same answer, apart from the date, in one segment, in
/// several segments, and on a connection that has carried another request.
#[test]
fn a_handshake_has_the_same_answer_however_it_is_sent() {
    const FRAME: &[u8] = b"\x81\x8d\0\0\0\0{\"op\":\"ping\"}";
    let gateway = Gateway::start();
    let offers = "Sec-WebSocket-Protocol: belfry.json.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    for (path, answer) in [("/ws", &b"pong"[..]), ("/echo", b"\xc1")] {
        let whole = [upgrade(path, offers).as_bytes(), FRAME].concat();
        let mut heads = Vec::new();
        for way in ["one segment", "several segments", "second request"] {
            let mut socket = gateway.socket();
            socket.set_nodelay(true).unwrap();
            match way {
                "several segments" => whole.chunks(50).for_each(|segment| {
                    socket.write_all(segment).unwrap();
                    gateway.get("/healthz"); // so that the gateway has read this segment before the next is sent
                }),
                "second request" => {
                    socket.write_all(HEALTHZ.as_bytes()).unwrap();
                    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
                    socket.write_all(&whole).unwrap();
                }
                _ => socket.write_all(&whole).unwrap(),
            }
            let (mut received, mut buffer) = (Vec::new(), [0; 1024]);
            while !received.windows(answer.len()).any(|part| part == answer) {
                let read = socket.read(&mut buffer);
                let bytes = read.unwrap_or_else(|error| panic!("{path}, {way}: {error}: {}", String::from_utf8_lossy(&received)));
                assert!(bytes > 0, "{path}, {way}: {}", String::from_utf8_lossy(&received));
                received.extend_from_slice(&buffer[..bytes]);
            }
            let text = String::from_utf8_lossy(&received).into_owned();
            let lines = text.split("\r\n\r\n").next().unwrap().lines();
            let mut lines: Vec<String> = lines.filter(|line| !line.starts_with("date:")).map(str::to_owned).collect();
            lines.sort_unstable();
            assert!(lines.iter().any(|line| line == "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{path}, {way}: {text}");
            heads.push(lines);
        }
        assert!(heads.windows(2).all(|two| two[0] == two[1]), "{path}: {heads:#?}");
    }
}

/// All frames behind a handshake in the same segment are read, also where the handshake's target is a whole URL.
#[test]
fn all_frames_behind_a_handshake_are_read() {
    const FRAMES: usize = 5;
    let gateway = Gateway::start();
    let frame = [&b"\x81\xfe\x0f\xa0\0\0\0\0"[..], &[b'x'; 4_000]].concat();
    for target in ["/echo", "http://localhost/echo"] {
        let mut socket = gateway.socket_with([upgrade(target, "").as_bytes(), &frame.repeat(FRAMES)].concat());
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        while received.iter().filter(|&&byte| byte == b'x').count() < FRAMES * 4_000 {
            let bytes = socket.read(&mut buffer).unwrap();
            assert!(bytes > 0, "{target}: the connection ended after {} bytes", received.len());
            received.extend_from_slice(&buffer[..bytes]);
        }
    }
}

/// PROTOCOL 7: the origin of every POST and DELETE is checked, and that of a GET is not.
#[test]
fn origins_of_posts_and_deletes_are_checked() {
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

/// PROTOCOL 7: 404 for an upgrade on an unknown path.
#[test]
fn an_upgrade_on_an_unknown_path_is_not_found() {
    let gateway = Gateway::start();
    assert_eq!(gateway.refusal("/nothing", &[]).status, 404);
    gateway.expect_metric("handshakes_rejected_total{reason=\"not_found\"}", 1.0);
}

/// RFC 6455 §4.2.1: an upgrade without a valid `Sec-WebSocket-Key` is a bad request.
#[test]
fn an_upgrade_needs_a_valid_key() {
    let gateway = Gateway::start();
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        let mut socket = gateway.socket_with(format!("{head}Sec-WebSocket-Version: 13\r\n{key}\r\n"));
        assert_eq!(read_reply(&mut socket).unwrap().status, 400);
    }
}

/// RFC 6455 §4.2.1: `Connection` may have other tokens, and `Upgrade` is compared without case.
#[test]
fn the_fields_of_an_upgrade_may_be_spelt_otherwise() {
    let gateway = Gateway::start();
    let head = upgrade("/echo", "").replace("Connection: ", "Connection: keep-alive, ").replace("websocket", "WebSocket");
    let mut socket = gateway.socket_with([head.as_bytes(), &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat());
    assert_eq!(read_reply(&mut socket).unwrap().status, 101);
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).unwrap();
    assert_eq!(echo, [0x81, 2, b'h', b'i']);
}

/// RFC 9112 §9.3: an upgrade may be pipelined behind another request. Its 101 follows the other request's answer.
#[test]
fn an_upgrade_may_follow_another_request() {
    let gateway = Gateway::start();
    let mut socket = gateway.socket_with(HEALTHZ.to_owned() + &upgrade("/raw/chat.a", ""));
    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
    assert_eq!(read_reply(&mut socket).unwrap().status, 101);
    socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut pong = [0; 2];
    socket.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0x8a, 0]);
}

/// PROTOCOL 7: past `sessions`: 503 before the upgrade, with `Retry-After`. A session that ends no longer counts.
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

/// PROTOCOL 8: limits count by the forwarded address for the addresses in `trusted_proxies`, and for no other.
#[test]
fn only_a_trusted_proxy_may_forward_an_address() {
    let from = |address: &'static str| [("X-Forwarded-For", address)];
    let trusting = Setup::new().server("trusted_proxies = [\"127.0.0.0/8\"]").limits("sessions_per_address = 1").start();
    let _one = trusting.dial_with("/ws", &from("192.0.2.1")).expect("the first of its address");
    let _two = trusting.dial_with("/ws", &from("192.0.2.2")).expect("the first of its address");
    assert_eq!(trusting.refusal("/ws", &from("192.0.2.1")).status, 429);
    let untrusting = Gateway::with_limits("sessions_per_address = 1");
    let _one = untrusting.dial_with("/ws", &from("192.0.2.1")).expect("the first of its address");
    assert_eq!(untrusting.refusal("/ws", &from("192.0.2.2")).status, 429);
}

/// Waits until the gateway has ended the connection.
fn expect_end(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = socket.read_to_end(&mut rest).map_err(|error| error.kind());
    assert!(!matches!(end, Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)), "the connection should have ended");
}

/// PROTOCOL 7: a connection without the whole head of its first request in time is answered with 408 or just closed.
#[test]
fn the_handshake_has_a_deadline() {
    let gateway = Gateway::with_limits("handshake_timeout = \"200ms\"");
    for incomplete in ["", "GET /ws HTTP/1.1\r\nHost: localhost"] {
        let mut socket = gateway.socket_with(incomplete);
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

/// PROTOCOL 7: 408 for a body of which no byte comes in `body_timeout`.
#[test]
fn a_body_has_a_deadline() {
    let gateway = Gateway::with_limits("body_timeout = \"200ms\"");
    let mut socket = gateway.socket_with("POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(read_reply(&mut socket).unwrap().status, 408);
    gateway.expect_limit_hit("body_timeout");
}

/// PROTOCOL 7: an idle kept-alive connection is closed after `keep_alive`.
#[test]
fn an_idle_connection_is_closed() {
    let gateway = Gateway::with_limits("keep_alive = \"200ms\"");
    expect_end(&mut kept_alive(&gateway));
    gateway.expect_limit_hit("keep_alive");
}

/// PROTOCOL 7: past `pending` a connection is closed at accept. The pending connections are served.
#[test]
fn pending_connections_are_bounded() {
    let gateway = Gateway::with_limits("pending = 2\nhandshake_timeout = \"30s\"");
    let mut waiting: Vec<_> = (0..2).map(|_| gateway.socket()).collect();
    eventually("a connection to be closed at accept", || {
        let mut socket = gateway.socket();
        let sent = socket.write_all(HEALTHZ.as_bytes());
        (sent.is_err() || read_reply(&mut socket).is_err()).then_some(())
    });
    write!(waiting[0], "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let metrics = read_reply(&mut waiting[0]).expect("a pending connection is served").text();
    assert!(metrics.contains("belfry_limit_hits_total{limit=\"pending\"}"), "the limit is counted");
    assert!(metrics.contains("belfry_handshakes_rejected_total{reason=\"pending\"}"), "the rejection is counted");
}

/// PROTOCOL 5: 400 for a malformed head.
#[test]
fn a_malformed_head_is_a_400() {
    let gateway = Gateway::start();
    assert_eq!(read_reply(&mut gateway.socket_with("nonsense\r\n\r\n")).unwrap().status, 400);
}

/// A request with both a length and chunks is refused, and so is an upgrade with a body (request smuggling).
#[test]
fn ambiguous_bodies_are_refused() {
    let gateway = Gateway::start();
    let both =
        "POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
    let body = upgrade("/ws", "Content-Length: 1\r\n") + "1";
    for request in [both, &body] {
        let mut socket = gateway.socket_with(request);
        assert_eq!(read_reply(&mut socket).unwrap().status, 400, "{request}");
        expect_end(&mut socket);
    }
}

/// PROTOCOL 7: a listener on a loopback address accepts a loopback name in `Host`, or a name in `server.hosts`. A page
/// whose name resolves to the loopback address (DNS rebinding) has an `Origin` of the same host, so the origin alone
/// does not refuse the page.
#[test]
fn a_loopback_listener_accepts_loopback_names() {
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

/// PROTOCOL 7: past `pending_per_address` unfinished handshakes a connection of the address is closed at accept, and
/// counted.
#[test]
fn pending_handshakes_per_address_are_bounded() {
    let gateway = Setup::new().limits("pending_per_address = 2\nhandshake_timeout = \"1m\"").start();
    let silent: Vec<_> = (0..2).map(|_| gateway.socket()).collect();
    expect_end(&mut gateway.socket());
    drop(silent);
    eventually("another connection to be accepted", || {
        let mut socket = gateway.socket();
        socket.write_all(HEALTHZ.as_bytes()).and_then(|()| read_reply(&mut socket)).ok()
    });
    gateway.expect_limit_hit("pending_per_address");
}

/// A connection that has carried a request and is idle.
fn kept_alive(gateway: &Gateway) -> TcpStream {
    let mut socket = gateway.socket_with(HEALTHZ);
    assert_eq!(read_reply(&mut socket).unwrap().status, 200);
    socket
}

/// Whether the gateway has ended a connection whose replies have all been read.
fn has_ended(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let read = socket.peek(&mut [0]).map_err(|error| error.kind());
    socket.set_nonblocking(false).unwrap();
    read != Err(std::io::ErrorKind::WouldBlock)
}

/// A connection with a request whose body the gateway waits for.
fn busy(gateway: &Gateway) -> TcpStream {
    let head = "POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    let mut socket = gateway.socket_with(head);
    assert_eq!(read_reply(&mut socket).unwrap().status, 100, "the gateway waits for the body");
    socket
}

/// PROTOCOL 7: past `http_connections_per_address` an idle connection is closed; where none is idle, 429.
#[test]
fn idle_connections_are_closed_for_new_ones() {
    let gateway = Setup::new().limits("http_connections_per_address = 2").start();
    let mut two = [kept_alive(&gateway), kept_alive(&gateway)];
    let _third = kept_alive(&gateway);
    // A connection is idle once its reply is written, so only the gateway knows which of the two has been idle longer.
    let closed = eventually("one of the two to be closed", || two.iter().position(has_ended));
    let other = &mut two[1 - closed];
    other.write_all(HEALTHZ.as_bytes()).unwrap();
    assert_eq!(read_reply(other).unwrap().status, 200, "the other connection stays open");
    gateway.session().expect_quiet();
    let gateway = Setup::new().limits("http_connections_per_address = 2").start();
    let _busy = (busy(&gateway), busy(&gateway));
    let reply = gateway.get("/healthz");
    assert_eq!(reply.problem(429), "rate_limited");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    gateway.session().expect_quiet();
}

/// PROTOCOL 7: past `http_connections`, where none is idle: 503 with `Retry-After`. Sessions are accepted.
#[test]
fn http_connections_are_bounded() {
    let gateway = Setup::new().limits("http_connections = 2").start();
    let held = (busy(&gateway), busy(&gateway));
    let reply = gateway.get("/healthz");
    assert_eq!(reply.problem(503), "too_many_connections");
    assert!(reply.header("Retry-After").is_some(), "{reply:?}");
    gateway.session().expect_quiet();
    drop(held);
    eventually("a connection to be accepted", || (gateway.get("/healthz").status == 200).then_some(()));
    gateway.expect_limit_hit("http_connections");
}

/// RFC 9112 §6.1: 501 for a transfer coding beside `chunked`. Bytes behind the request are not read (request
/// smuggling).
#[test]
fn other_transfer_codings_are_refused() {
    let gateway = Gateway::start();
    for coding in ["gzip, chunked", "identity, chunked"] {
        let head = format!("POST /v1/topics/chat.a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let mut socket = gateway.socket_with(head + "1\r\n1\r\n0\r\n\r\n");
        assert_eq!(read_reply(&mut socket).unwrap().problem(501), "not_implemented", "{coding}");
        expect_end(&mut socket);
    }
}

/// PROTOCOL 8: the header that the proxies set names the client. The client may have sent the other header itself.
#[test]
fn only_the_proxies_header_names_the_client() {
    let headers = [("Forwarded", "for=192.0.2.6"), ("X-Forwarded-For", "192.0.2.1")];
    for (named, address) in [("x-forwarded-for", "192.0.2.1"), ("forwarded", "192.0.2.6")] {
        let server = format!("trusted_proxies = [\"::ffff:127.0.0.0/104\"]\nclient_address_header = \"{named}\"");
        let gateway = Setup::new().server(&server).start();
        let _session = gateway.dial_with("/ws", &headers).expect("a session");
        let listed = gateway.admin("/v1/sessions").json();
        assert_eq!(listed["sessions"][0]["address"], address, "{listed}");
    }
}
