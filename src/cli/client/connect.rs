//! From an endpoint to a stream that speaks HTTP: TCP, TLS, the upgrade to WebSocket, a small GET.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::endpoint::Endpoint;
use super::wire::{Stream, Wire};
use crate::frame::accept_key;

/// From the first packet to the end of the answer's head.
const DEADLINE: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: u64 = 64 << 20;

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum ConnectError {
    /// Nobody answers, or breaks off; another attempt may help.
    Unreachable(anyhow::Error),
    /// The gateway is there and says to come back, after this time if it names one.
    Later(anyhow::Error, Option<Duration>),
    /// It would be refused again.
    Refused(anyhow::Error),
}

impl ConnectError {
    /// What is to be told.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Unreachable(error) | Self::Later(error, _) | Self::Refused(error) => error,
        }
    }
}

/// Upgrades to the native dialect at `endpoint`, as whoever `token` is.
pub async fn upgrade(endpoint: &Endpoint, token: Option<&str>) -> Result<Wire, ConnectError> {
    match tokio::time::timeout(DEADLINE, upgrade_in_time(endpoint, token)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Unreachable(anyhow!("{endpoint} did not answer within {} s", DEADLINE.as_secs()))),
    }
}

async fn upgrade_in_time(endpoint: &Endpoint, token: Option<&str>) -> Result<Wire, ConnectError> {
    let mut stream = connect(endpoint).await?;
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    let mut head = request_head("GET", &endpoint.path, endpoint, token).map_err(ConnectError::Refused)?;
    head.push_str("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: belfry.json.v1\r\n");
    head.push_str(&format!("Sec-WebSocket-Key: {key}\r\n\r\n"));
    let broken = |error: std::io::Error| ConnectError::Unreachable(anyhow!("{endpoint} broke off the upgrade: {error}"));
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let (answer, rest) = read_head(&mut stream).await.map_err(|error| ConnectError::Unreachable(error.context(endpoint.to_string())))?;
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(not_upgraded(endpoint, &answer));
    }
    if answer.header("sec-websocket-accept") != Some(accept_key(key.as_bytes()).as_str()) {
        return Err(ConnectError::Refused(anyhow!(
            "{endpoint} did not answer this upgrade (Sec-WebSocket-Accept is wrong); is a cache in between?"
        )));
    }
    Ok(Wire::new(stream, rest))
}

/// The body of `GET path` from the HTTP side of the same gateway; `None` where the credentials don't reach.
pub async fn fetch(endpoint: &Endpoint, path: &str, token: Option<&str>) -> anyhow::Result<Option<Bytes>> {
    let work = async {
        let mut stream = connect(endpoint).await.map_err(ConnectError::into_error)?;
        let head = request_head("GET", path, endpoint, token)? + "Accept: application/json\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let (answer, rest) = read_head(&mut stream).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => return Ok(None),
            status => bail!("GET {path} answered {status}"),
        }
        read_body(stream, &answer, rest).await.map(Some)
    };
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| anyhow!("GET {path} was not answered within {} s", DEADLINE.as_secs()))?
}

async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Stream>, ConnectError> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        ConnectError::Unreachable(anyhow!("can't connect to {endpoint}: {what}; is the gateway running? `belfry serve` starts one"))
    })?;
    // Without it a small command could wait for the acknowledgement of the one before; a socket that refuses is slower, no worse.
    let _ = tcp.set_nodelay(true);
    if !endpoint.tls {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| ConnectError::Refused(anyhow!("{:?} is no name that a certificate could bear", endpoint.host)))?;
    let connector = TlsConnector::from(tls_config().map_err(ConnectError::Refused)?);
    let stream = connector.connect(name, tcp).await.map_err(|error| {
        let told = anyhow!("no TLS with {endpoint}: {error}; does it speak TLS, with a certificate that this system trusts?");
        match error.kind() {
            // A certificate or a protocol that doesn't fit now won't fit later.
            std::io::ErrorKind::InvalidData => ConnectError::Refused(told),
            _ => ConnectError::Unreachable(told),
        }
    })?;
    Ok(Box::new(stream))
}

fn tls_config() -> anyhow::Result<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        bail!("this system has no root certificates (package ca-certificates), or SSL_CERT_FILE names none");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS can't be set up")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn request_head(method: &str, path: &str, endpoint: &Endpoint, token: Option<&str>) -> anyhow::Result<String> {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: belfry/{}\r\n", endpoint.authority(), env!("CARGO_PKG_VERSION"));
    if let Some(token) = token {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("the token is empty or holds white space or other characters that no token has");
        }
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    Ok(head)
}

/// The head of an answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The answer's head, and what came after it.
async fn read_head(stream: &mut Box<dyn Stream>) -> anyhow::Result<(Answer, BytesMut)> {
    let mut buffer = BytesMut::with_capacity(4 << 10);
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            bail!("the answer's head is longer than {HEAD_BYTES_MAX} bytes");
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("the gateway closed before it answered");
        }
    };
    let head = buffer.split_to(end);
    let answer = parse_head(&head).ok_or_else(|| anyhow!("what answers there is not HTTP/1.1"))?;
    Ok((answer, buffer))
}

fn parse_head(head: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Some(Answer { status, headers })
}

/// The rest of a `Connection: close` answer.
async fn read_body(mut stream: Box<dyn Stream>, answer: &Answer, mut body: BytesMut) -> anyhow::Result<Bytes> {
    let length: Option<usize> = answer.header("content-length").and_then(|length| length.parse().ok());
    if length.is_none_or(|length| body.len() < length) {
        let mut rest = Vec::new();
        let still = length.map_or(BODY_BYTES_MAX, |length| (length - body.len()) as u64).min(BODY_BYTES_MAX);
        (&mut stream).take(still).read_to_end(&mut rest).await?;
        body.extend_from_slice(&rest);
    }
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return unchunk(&body).map(Bytes::from).ok_or_else(|| anyhow!("the answer's body broke off"));
    }
    Ok(body.freeze())
}

/// The content of a chunked body (RFC 9112 §7.1).
fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line_end = body.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&body[..line_end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        body = &body[line_end + 2..];
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(body.get(..size)?);
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn not_upgraded(endpoint: &Endpoint, answer: &Answer) -> ConnectError {
    let status = answer.status;
    let retry_after = answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    match status.as_u16() {
        429 => ConnectError::Later(anyhow!("{endpoint} has too many sessions from this address (429)"), retry_after),
        502..=504 => ConnectError::Later(anyhow!("{endpoint} takes no sessions now ({status})"), retry_after),
        401 | 403 => ConnectError::Refused(anyhow!("{endpoint} does not let this session in ({status}); is the --token right?")),
        404 | 405 => ConnectError::Refused(anyhow!("{endpoint} is no WebSocket of the gateway ({status}); is the path /ws?")),
        301..=308 => {
            let target = answer.header("location").unwrap_or("another place");
            ConnectError::Refused(anyhow!("{endpoint} has moved to {target} ({status}); give that --url"))
        }
        _ => ConnectError::Refused(anyhow!("{endpoint} did not upgrade to a WebSocket ({status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let answer = parse_head(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n").unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert!(parse_head(b"SSH-2.0-OpenSSH\r\n\r\n").is_none());
    }

    #[test]
    fn busy_gateways_are_asked_again_and_others_not() {
        let endpoint = Endpoint::parse("ws://localhost").unwrap();
        let answer =
            |status: u16| Answer { status: StatusCode::from_u16(status).unwrap(), headers: vec![("Retry-After".into(), "7".into())] };
        let error = not_upgraded(&endpoint, &answer(503));
        assert!(matches!(error, ConnectError::Later(_, Some(wait)) if wait == Duration::from_secs(7)));
        assert!(matches!(not_upgraded(&endpoint, &answer(429)), ConnectError::Later(..)));
        for status in [200, 301, 401, 403, 404, 426] {
            assert!(matches!(not_upgraded(&endpoint, &answer(status)), ConnectError::Refused(_)), "{status}");
        }
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").unwrap(), b"abcde");
        assert!(unchunk(b"3\r\nab").is_none());
        assert!(unchunk(b"ffffffffffffffff\r\nab").is_none());
    }

    #[test]
    fn a_token_can_bring_no_header_of_its_own() {
        let endpoint = Endpoint::parse("ws://localhost").unwrap();
        assert!(request_head("GET", "/ws", &endpoint, Some("a\r\nX: y")).is_err());
        assert!(request_head("GET", "/ws", &endpoint, Some("a.b-c_d")).unwrap().contains("Authorization: Bearer a.b-c_d\r\n"));
    }
}
