//! A GET that waits for its answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::StreamOwned;

use super::head::response;
use super::tls::Tls;
use super::upgrade::finish_head;

/// The longest wait for the connection, and for each part of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The body that the server at `address`, which `Host` calls `host`, has at `path`; `None` if the status is not 200.
pub fn get(address: SocketAddr, host: &str, path: &str, token: Option<&str>, tls: Option<&Tls>) -> Option<Vec<u8>> {
    let tcp = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    tcp.set_read_timeout(Some(TIMEOUT)).ok()?;
    let request = finish_head(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"), token);
    match tls {
        Some(tls) => exchange(StreamOwned::new(tls.connection().ok()?, tcp), &request),
        None => exchange(tcp, &request),
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(request).ok()?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
        if let Some((head, body)) = response(&bytes).ok()? {
            return (head.status == 200).then(|| body.to_vec());
        }
    }
}
