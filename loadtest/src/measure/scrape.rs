//! The gateway's `/metrics` before and after a run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::wire::Tls;

/// From the first packet to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(5);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The value of each family, summed over its series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Requests the metrics of the gateway at `address`, which `Host` calls `host`; `None` if there are none for these
    /// credentials.
    pub fn fetch(address: SocketAddr, host: &str, token: Option<&str>, tls: Option<&Tls>) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { tokio::time::timeout(DEADLINE, Self::fetch_in_time(address, host, token, tls)).await.ok()? })
    }

    async fn fetch_in_time(address: SocketAddr, host: &str, token: Option<&str>, tls: Option<&Tls>) -> Option<Self> {
        let tcp = TcpStream::connect(address).await.ok()?;
        let stream: Box<dyn Stream> = match tls {
            Some(tls) => Box::new(TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), tcp).await.ok()?),
            None => Box::new(tcp),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // The task ends with the runtime, and its errors are those of the request.
        tokio::spawn(connection);
        let mut request = Request::get("/metrics").header("Host", host);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(Self::parse(std::str::from_utf8(&body).ok()?))
    }

    fn parse(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("belfry_")) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or(series);
            if name.ends_with("_bucket") {
                continue;
            }
            if let Ok(value) = value.parse::<f64>() {
                *sums.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Self(sums)
    }

    /// Adds the values of both.
    pub fn plus(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|(name, value)| *self.0.entry(name).or_insert(0.0) += value);
        self
    }

    /// The sum of a family's series; 0 without any.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// The growth of each counter since `before`, and the value of each gauge; without zeros.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let moved = self.0.iter().filter_map(|(name, value)| {
            let counts = ["_total", "_sum", "_count"].iter().any(|end| name.ends_with(end));
            let value = if counts { value - before.value(name) } else { *value };
            (value != 0.0 && !name.contains("build_info")).then(|| (name.clone(), value))
        });
        moved.collect()
    }

    /// Routed − delivered − conflated − dropped − queued, which is 0 at rest.
    pub fn unaccounted(&self) -> f64 {
        self.value("belfry_messages_routed_total")
            - self.value("belfry_deliveries_total")
            - self.value("belfry_messages_conflated_total")
            - self.value("belfry_messages_dropped_total")
            - self.value("belfry_outbox_messages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 9: at rest the accounts close to the last message.
    #[test]
    fn accounts_close_over_all_series() {
        let text = "# HELP x\nbelfry_messages_routed_total{rule=\"a\"} 10\nbelfry_messages_routed_total{rule=\"b\"} 5\n\
                    belfry_deliveries_total{rule=\"a\"} 9\nbelfry_messages_dropped_total{rule=\"a\",reason=\"slow\"} 1\n\
                    belfry_deliveries_total{rule=\"b\"} 3\nbelfry_outbox_messages{rule=\"b\"} 2\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.unaccounted(), 0.0);
        assert_eq!(scrape.since(&Scrape::default())["belfry_messages_routed_total"], 15.0);
    }
}
