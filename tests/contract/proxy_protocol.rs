//! The PROXY protocol of trusted proxies (`server.proxy_protocol`).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::gateway::{ADMIN, Gateway, Reply, Session, Setup, eventually, read_reply, request_over};

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
/// From 192.0.2.2:56324, with a value of a type that the gateway does not know.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x02\xc6\x33\x64\x07\xdc\x04\x01\xbb\xee\0\x01!";
/// A connection of the proxy itself, as in a health check.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind_proxies() -> Setup {
    Setup::new().server("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"198.51.100.0/24\"]")
}

fn session(gateway: &Gateway, header: &[u8], headers: &[(&str, &str)]) -> Result<Session, Reply> {
    Session::over(gateway.socket_with(header), "localhost", "/ws", headers)
}

/// The address of the only session, as `/v1/sessions` has it.
fn address_of_only_session(gateway: &Gateway) -> String {
    let reply = request_over(gateway.socket_with(LOCAL), "localhost", "GET", "/v1/sessions", &[ADMIN], b"");
    let sessions = reply.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions[0]["address"].as_str().unwrap().to_owned()
}

/// Waits for the end of the connection; whether the gateway closed it without an answer.
fn ends_unanswered(mut socket: TcpStream) -> bool {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset && rest.is_empty(),
    }
}

/// Whether the gateway has closed the connection by now.
fn has_ended(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Waits until `count` connections have been rejected for `reason`.
fn expect_rejected(gateway: &Gateway, reason: &str, count: usize) {
    let wanted = format!("belfry_handshakes_rejected_total{{reason=\"{reason}\"}} {count}\n");
    let scraped = || request_over(gateway.socket_with(LOCAL), "localhost", "GET", "/metrics", &[], b"").text();
    eventually(&wanted, || scraped().contains(&wanted).then_some(()));
}

/// Both versions of the header name the client. The bytes behind the header are the client's, in the same segment or
/// later.
#[test]
fn the_header_names_the_client() {
    for (header, address) in [(VERSION_1, "192.0.2.1:56324"), (VERSION_2, "192.0.2.2:56324")] {
        let gateway = behind_proxies().start();
        // The client is no trusted proxy, so its X-Forwarded-For is ignored.
        let mut client = session(&gateway, header, &[("X-Forwarded-For", "203.0.113.1")]).unwrap();
        client.read_welcome();
        assert_eq!(address_of_only_session(&gateway), address);
        let whole = [header, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        assert_eq!(read_reply(&mut gateway.socket_with(&whole)).unwrap().status, 200);
    }
}

/// Where the header names another trusted proxy, that proxy's `X-Forwarded-For` names the client.
#[test]
fn a_proxy_behind_a_proxy_names_its_client() {
    let gateway = behind_proxies().start();
    let header = b"PROXY TCP4 198.51.100.9 198.51.100.7 1 443\r\n";
    let _session = session(&gateway, header, &[("X-Forwarded-For", "203.0.113.1")]).unwrap();
    assert_eq!(address_of_only_session(&gateway), "203.0.113.1");
}

/// Limits per address count by the client's address: sessions, and unfinished handshakes.
#[test]
fn limits_per_address_count_by_the_clients_address() {
    let gateway = behind_proxies().limits("sessions_per_address = 1\npending_per_address = 1\nhandshake_timeout = \"1m\"").start();
    let _first = session(&gateway, VERSION_1, &[]).unwrap();
    let _second = session(&gateway, VERSION_2, &[]).unwrap();
    assert_eq!(session(&gateway, VERSION_1, &[]).err().unwrap().status, 429);
    let mut silent = [gateway.socket_with(VERSION_1), gateway.socket_with(VERSION_1)];
    eventually("one of the silent connections to be closed", || silent.iter_mut().any(has_ended).then_some(()));
    assert_eq!(request_over(gateway.socket_with(LOCAL), "localhost", "GET", "/healthz", &[], b"").status, 200);
}

/// A connection from a trusted proxy without a header, or with one that is malformed or too long, is closed and
/// counted.
#[test]
fn a_missing_or_malformed_header_closes_the_connection() {
    let gateway = behind_proxies().start();
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    let long = [&VERSION_2[..14], b"\x20\0"].concat();
    let headers: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PROXY TCP4 192.0.2.1\r\n", &endless, &long, b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n"];
    for header in headers {
        assert!(ends_unanswered(gateway.socket_with(header)), "{:?}", String::from_utf8_lossy(header));
    }
    expect_rejected(&gateway, "bad_upgrade", 5);
}

/// `handshake_timeout` holds for the header too.
#[test]
fn a_header_that_is_not_whole_in_time_closes_the_connection() {
    let gateway = behind_proxies().limits("handshake_timeout = \"200ms\"").start();
    let slow = gateway.socket_with(&VERSION_2[..20]);
    assert!(ends_unanswered(gateway.socket_with(b"")) && ends_unanswered(slow));
    expect_rejected(&gateway, "timeout", 2);
}

/// A header may come in several segments.
#[test]
fn a_header_in_pieces_is_read() {
    let gateway = behind_proxies().start();
    for header in [VERSION_1, VERSION_2] {
        let mut socket = gateway.socket();
        socket.set_nodelay(true).unwrap();
        header.iter().for_each(|byte| socket.write_all(&[*byte]).unwrap());
        assert_eq!(request_over(socket, "localhost", "GET", "/healthz", &[], b"").status, 200);
    }
}

/// A header from an address that is no trusted proxy is refused, because it is not HTTP. So is any header where
/// `server.proxy_protocol` is not set.
#[test]
fn a_header_from_elsewhere_is_refused() {
    let others = Setup::new().server("proxy_protocol = true\ntrusted_proxies = [\"198.51.100.7\"]").start();
    let without_key = Setup::new().server("trusted_proxies = [\"127.0.0.1\"]").start();
    for gateway in [others, without_key] {
        for header in [VERSION_1, VERSION_2] {
            assert_eq!(read_reply(&mut gateway.socket_with(header)).unwrap().status, 400);
        }
        assert_eq!(gateway.get("/healthz").status, 200, "a connection without a header is served");
    }
}
