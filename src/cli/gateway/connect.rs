//! Connects to a gateway by TCP or a Unix socket, with or without TLS, and opens a WebSocket or sends an HTTP request.

use std::time::Duration;

use anyhow::{anyhow, bail};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, HOST, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::arguments::Gateway;
use super::endpoint::Endpoint;
use super::websocket::{Stream, WebSocket};
use crate::frame::accept_key;

/// The subprotocol of the native dialect.
const NATIVE: &str = "belfry.json.v1";
/// From the first packet to the end of the answer's head.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer over HTTP, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Why there is no WebSocket.
#[derive(Debug)]
pub enum ConnectError {
    /// There is no answer, or the connection broke. Another attempt may help.
    Unreachable(anyhow::Error),
    /// The gateway accepts no sessions now. `Retry-After` may have the time until it does.
    Later(anyhow::Error, Option<Duration>),
    /// The gateway would refuse another attempt too.
    Refused(anyhow::Error),
}

impl ConnectError {
    /// The error to report.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Unreachable(error) | Self::Later(error, _) | Self::Refused(error) => error,
        }
    }
}

impl Gateway {
    /// Opens a WebSocket of the native dialect.
    pub async fn upgrade(&self) -> Result<WebSocket, ConnectError> {
        match tokio::time::timeout(DEADLINE, self.upgrade_in_time()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Unreachable(anyhow!("{} did not answer within {} s", self.endpoint, DEADLINE.as_secs()))),
        }
    }

    async fn upgrade_in_time(&self) -> Result<WebSocket, ConnectError> {
        let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
        let request = self
            .request(&self.endpoint.path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_PROTOCOL, NATIVE)
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = self.send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.not_upgraded(&response));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|value| value.to_str().ok());
        if accept != Some(accept_key(key.as_bytes()).as_str()) {
            return Err(ConnectError::Refused(anyhow!(
                "{} did not answer this upgrade (Sec-WebSocket-Accept is wrong); is a cache in between?",
                self.endpoint
            )));
        }
        // Other paths are WebSockets too, which would never send a `welcome`.
        if response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_none_or(|spoken| spoken != NATIVE) {
            return Err(ConnectError::Refused(anyhow!("{} did not answer with the subprotocol {NATIVE}; is the path /ws?", self.endpoint)));
        }
        let broken = |error: &dyn std::fmt::Display| ConnectError::Unreachable(anyhow!("{} broke off the upgrade: {error}", self.endpoint));
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| broken(&error))?;
        let parts = upgraded.downcast::<TokioIo<Box<dyn Stream>>>().map_err(|_| broken(&"its stream is another"))?;
        Ok(WebSocket::new(parts.io.into_inner(), BytesMut::from(parts.read_buf)))
    }

    /// The body of `GET path`; `None` if the credentials do not suffice.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        let work = async {
            let request = self.request(path).header(ACCEPT, "application/json").header(CONNECTION, "close");
            let response = self.send(request).await.map_err(ConnectError::into_error)?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => return Ok(None),
                status => bail!("GET {path} answered {status}"),
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok(Some(body.map_err(|error| anyhow!("the answer to GET {path} broke off: {error}"))?.to_bytes()))
        };
        tokio::time::timeout(DEADLINE, work).await.map_err(|_| anyhow!("GET {path} was not answered within {} s", DEADLINE.as_secs()))?
    }

    fn request(&self, path: &str) -> hyper::http::request::Builder {
        let request =
            Request::get(path).header(HOST, self.endpoint.authority()).header(USER_AGENT, concat!("belfry/", env!("CARGO_PKG_VERSION")));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request on a new connection. Returns once the head of the answer was read.
    async fn send(&self, request: hyper::http::request::Builder) -> Result<Response<Incoming>, ConnectError> {
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| ConnectError::Refused(error.into()))?;
        let stream = self.connect().await?;
        let broken = |error: hyper::Error| {
            let what = match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            ConnectError::Unreachable(anyhow!("{} gave no answer over HTTP: {what}", self.endpoint))
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The errors of this task are also those of the request, or come after the upgrade has taken the stream.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(broken)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let endpoint = &self.endpoint;
        let unreachable = |error: std::io::Error| {
            let what = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => error.to_string(),
            };
            ConnectError::Unreachable(anyhow!("can't connect to {endpoint}: {what}; is the gateway running? `belfry serve` starts one"))
        };
        if let Some(file) = &endpoint.unix {
            return Ok(Box::new(UnixStream::connect(file).await.map_err(unreachable)?));
        }
        let unknown = |error| ConnectError::Unreachable(anyhow!("can't connect to {endpoint}: {error}; is the host's name right?"));
        let addresses: Vec<_> = lookup_host((endpoint.host.as_str(), endpoint.port)).await.map_err(unknown)?.collect();
        let tcp = TcpStream::connect(&addresses[..]).await.map_err(unreachable)?;
        // Without TCP_NODELAY a small command may wait for the acknowledgement of the one before. An error only makes
        // the socket slower.
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|_| ConnectError::Refused(anyhow!("{:?} is no name that a certificate could bear", endpoint.host)))?;
        let stream = TlsConnector::from(std::sync::Arc::clone(tls)).connect(name, tcp).await.map_err(|error| no_tls(endpoint, &error))?;
        Ok(Box::new(stream))
    }

    fn not_upgraded<B>(&self, answer: &Response<B>) -> ConnectError {
        let (endpoint, status) = (&self.endpoint, answer.status());
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        match status.as_u16() {
            429 => ConnectError::Later(anyhow!("{endpoint} has too many sessions from this address (429)"), retry_after),
            502..=504 => ConnectError::Later(anyhow!("{endpoint} takes no sessions now ({status})"), retry_after),
            401 | 403 => ConnectError::Refused(anyhow!("{endpoint} refuses this session ({status}); is the --token right?")),
            404 | 405 => ConnectError::Refused(anyhow!("{endpoint} is no WebSocket of the gateway ({status}); is the path /ws?")),
            301..=308 => {
                let target = header(LOCATION).unwrap_or("another place");
                ConnectError::Refused(anyhow!("{endpoint} has moved to {target} ({status}); give that --url"))
            }
            _ => ConnectError::Refused(anyhow!("{endpoint} did not upgrade to a WebSocket ({status})")),
        }
    }
}

fn no_tls(endpoint: &Endpoint, error: &std::io::Error) -> ConnectError {
    let remedy = "does it speak TLS, with a certificate that this system trusts? --cacert trusts another";
    let described = anyhow!("no TLS with {endpoint}: {error}; {remedy}");
    match error.kind() {
        // Another attempt would get the same certificate and protocol.
        std::io::ErrorKind::InvalidData => ConnectError::Refused(described),
        _ => ConnectError::Unreachable(described),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_of_busy_gateways_are_retried() {
        let gateway = Gateway { endpoint: Endpoint::parse("ws://localhost").unwrap(), token: None, tls: None };
        let answer = |status: u16| Response::builder().status(status).header(RETRY_AFTER, "7").body(()).unwrap();
        let error = gateway.not_upgraded(&answer(503));
        assert!(matches!(error, ConnectError::Later(_, Some(wait)) if wait == Duration::from_secs(7)));
        assert!(matches!(gateway.not_upgraded(&answer(429)), ConnectError::Later(..)));
        for status in [200, 301, 401, 403, 404, 426] {
            assert!(matches!(gateway.not_upgraded(&answer(status)), ConnectError::Refused(_)), "{status}");
        }
    }
}
