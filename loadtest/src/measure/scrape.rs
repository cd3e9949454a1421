//! The gateway's own figures: `/metrics` before and after.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The value of each family, its series summed up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Asks `address` for its `/metrics`; `None` where it has none.
    pub fn fetch(address: SocketAddr) -> Option<Self> {
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| Self::parse(body))
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

    /// The sum of a family's series; 0 where there is none.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// What each counter that moved grew by since `before`; gauges as they stand.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let moved = self.0.iter().filter_map(|(name, value)| {
            let counts = ["_total", "_sum", "_count"].iter().any(|end| name.ends_with(end));
            let value = if counts { value - before.value(name) } else { *value };
            (value != 0.0 && !name.contains("build_info")).then(|| (name.clone(), value))
        });
        moved.collect()
    }

    /// What the accounts leave open: routed − delivered − conflated − dropped − still queued; 0 at rest.
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
    fn the_accounts_close_over_all_series() {
        let text = "# HELP x\nbelfry_messages_routed_total{rule=\"a\"} 10\nbelfry_messages_routed_total{rule=\"b\"} 5\n\
                    belfry_deliveries_total{rule=\"a\"} 9\nbelfry_messages_dropped_total{rule=\"a\",reason=\"slow\"} 1\n\
                    belfry_deliveries_total{rule=\"b\"} 3\nbelfry_outbox_messages{rule=\"b\"} 2\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.unaccounted(), 0.0);
        assert_eq!(scrape.since(&Scrape::default())["belfry_messages_routed_total"], 15.0);
    }
}
