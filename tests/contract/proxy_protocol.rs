//! The PROXY protocol of trusted proxies (`server.proxy_protocol`).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::gateway::{ADMIN, Gateway, Reply, Session, Setup, eventually, read_reply, request_over};

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
/// From 192.0.2.2:56324, with a value of a type that is for nobody here.
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x02\xc6\x33\x64\x07\xdc\x04\x01\xbb\xee\0\x01!";
/// The proxy itself, as it asks whether the gateway is there.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind_proxies() -> Setup {
    Setup::new().server("proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"198.51.100.0/24\"]")
}

/// A connection that began with these bytes.
fn begun(gateway: &Gateway, header: &[u8]) -> TcpStream {
    let mut socket = gateway.socket();
    socket.write_all(header).unwrap();
    socket
}

fn session(gateway: &Gateway, header: &[u8], headers: &[(&str, &str)]) -> Result<Session, Reply> {
    Session::over(begun(gateway, header), "localhost", "/ws", headers)
}

/// Where the only session comes from, as an administrator sees it.
fn only_session(gateway: &Gateway) -> String {
    let reply = request_over(begun(gateway, LOCAL), "localhost", "GET", "/v1/sessions", &[ADMIN], b"");
    let sessions = reply.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions[0]["address"].as_str().unwrap().to_owned()
}

/// Whether the gateway closes the connection without a word.
fn is_closed(mut socket: TcpStream) -> bool {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == ErrorKind::ConnectionReset && rest.is_empty(),
    }
}

/// Whether the gateway has closed it by now.
fn has_ended(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.read(&mut [0]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Waits until so many connections were rejected for `reason`.
fn expect_rejected(gateway: &Gateway, reason: &str, count: usize) {
    let wanted = format!("belfry_handshakes_rejected_total{{reason=\"{reason}\"}} {count}\n");
    let scraped = || request_over(begun(gateway, LOCAL), "localhost", "GET", "/metrics", &[], b"").text();
    eventually(&wanted, || scraped().contains(&wanted).then_some(()));
}

/// Both versions name the client; what comes behind the header, in the same segment or later, is its own.
#[test]
fn the_header_names_the_client() {
    for (header, address) in [(VERSION_1, "192.0.2.1:56324"), (VERSION_2, "192.0.2.2:56324")] {
        let gateway = behind_proxies().start();
        // The client's own X-Forwarded-For is no trusted proxy's.
        let mut one = session(&gateway, header, &[("X-Forwarded-For", "203.0.113.1")]).unwrap();
        one.read_welcome();
        assert_eq!(only_session(&gateway), address);
        let whole = [header, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        assert_eq!(read_reply(&mut begun(&gateway, &whole)).unwrap().status, 200);
    }
}

/// A client that is a trusted proxy itself names its own in its header.
#[test]
fn a_proxy_behind_a_proxy_names_its_client() {
    let gateway = behind_proxies().start();
    let header = b"PROXY TCP4 198.51.100.9 198.51.100.7 1 443\r\n";
    let _session = session(&gateway, header, &[("X-Forwarded-For", "203.0.113.1")]).unwrap();
    assert_eq!(only_session(&gateway), "203.0.113.1");
}

/// Limits per address count the clients: sessions, and those that have not finished their first head.
#[test]
fn limits_count_the_clients() {
    let gateway = behind_proxies().limits("sessions_per_address = 1\npending_per_address = 1\nhandshake_timeout = \"1m\"").start();
    let _one = session(&gateway, VERSION_1, &[]).unwrap();
    let _two = session(&gateway, VERSION_2, &[]).unwrap();
    assert_eq!(session(&gateway, VERSION_1, &[]).err().unwrap().status, 429);
    let mut silent = [begun(&gateway, VERSION_1), begun(&gateway, VERSION_1)];
    eventually("one of two that are silent to be closed", || silent.iter_mut().any(has_ended).then_some(()));
    assert_eq!(request_over(begun(&gateway, LOCAL), "localhost", "GET", "/healthz", &[], b"").status, 200);
}

/// From a trusted proxy nothing passes without the header, malformed ones and endless ones neither; each is counted.
#[test]
fn what_is_no_header_is_closed() {
    let gateway = behind_proxies().start();
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    let long = [&VERSION_2[..14], b"\x20\0"].concat();
    let headers: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PROXY TCP4 192.0.2.1\r\n", &endless, &long, b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n"];
    for header in headers {
        assert!(is_closed(begun(&gateway, header)), "{:?}", String::from_utf8_lossy(header));
    }
    expect_rejected(&gateway, "bad_upgrade", 5);
}

/// The header has the time of a handshake, however slowly it comes.
#[test]
fn a_header_that_is_not_whole_in_time_is_closed() {
    let gateway = behind_proxies().limits("handshake_timeout = \"200ms\"").start();
    let slow = begun(&gateway, &VERSION_2[..20]);
    assert!(is_closed(begun(&gateway, b"")) && is_closed(slow));
    expect_rejected(&gateway, "timeout", 2);
}

/// A header in pieces is put together.
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

/// From anybody else the header is refused as what it is: no HTTP. Nor is it looked for unless the key says so.
#[test]
fn the_header_of_others_is_refused() {
    let others = Setup::new().server("proxy_protocol = true\ntrusted_proxies = [\"198.51.100.7\"]").start();
    let without_key = Setup::new().server("trusted_proxies = [\"127.0.0.1\"]").start();
    for gateway in [others, without_key] {
        for header in [VERSION_1, VERSION_2] {
            assert_eq!(read_reply(&mut begun(&gateway, header)).unwrap().status, 400);
        }
        assert_eq!(gateway.get("/healthz").status, 200, "who sends none is served");
    }
}
