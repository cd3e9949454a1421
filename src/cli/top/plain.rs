//! `belfry top` without a terminal: a line each second, and the administrator's tables below.

use std::fmt::Write;

use super::admin::{TOPICS_MAX, Tables};
use super::cluster::Cluster;
use super::stats::{Rates, Stats};
use super::words::{bytes, printable, rate};

/// The largest number of rows of each table.
const ROWS: usize = 10;

/// The totals on one line.
pub(super) fn line(stats: &Stats, rates: Option<Rates>) -> String {
    let shown = |value: fn(Rates) -> f64| rates.map_or_else(|| "-".to_owned(), |rates| rate(value(rates)));
    format!(
        "up {:.0} s  sessions {}  topics {}  subscriptions {}  published {}/s  delivered {}/s  outboxes {}  deflate {}\n",
        stats.uptime_s,
        stats.sessions,
        stats.topics,
        stats.subscriptions,
        shown(|rates| rates.published),
        shown(|rates| rates.delivered),
        bytes(stats.outbox_bytes),
        stats.deflate_ratio(),
    )
}

/// The slowest sessions and the busiest topics, and the cluster.
pub(super) fn tables(tables: &Tables) -> String {
    let mut text = String::from("\nslowest sessions      outbox  user              dialect  address                oldest\n");
    for session in tables.sessions.iter().take(ROWS) {
        let oldest =
            session.oldest.as_ref().map_or_else(|| "-".into(), |oldest| format!("{} ms, {}", oldest.age_ms, printable(&oldest.topic)));
        let user = printable(session.user.as_deref().unwrap_or("-"));
        let (name, dialect, address) = (printable(&session.session), printable(&session.dialect), printable(&session.address));
        let _ = writeln!(text, "{name:<16} {:>11}  {user:<16.16}  {dialect:<7}  {address:<21}  {oldest}", bytes(session.outbox_bytes));
    }
    let cut = if tables.topics_cut { format!(" (of the first {TOPICS_MAX})") } else { String::new() };
    let _ = writeln!(text, "\n{:<34} messages/s  subscriptions", format!("busiest topics{cut}"));
    for topic in tables.topics.iter().take(ROWS) {
        let _ = writeln!(text, "{:<34.34} {:>10.1}  {:>13}", printable(&topic.topic), topic.rate, topic.subscribers);
    }
    tables.cluster.iter().for_each(|cluster| write_cluster(&mut text, cluster));
    text
}

fn write_cluster(text: &mut String, cluster: &Cluster) {
    let _ = writeln!(text, "\ncluster: {} other gateways, {} publishes on their way", cluster.peers, cluster.inflight);
    let _ = writeln!(text, "{:<34} {:<9} {:>10}  named", "streams", "state", "lag");
    for stream in &cluster.streams {
        let (name, state) = (printable(&stream.name), printable(&stream.state));
        let _ = writeln!(text, "{name:<34.34} {state:<9} {:>10}  {:.1} s ago", stream.lag, stream.tick_age_s);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Stream;
    use super::*;

    #[test]
    fn a_cluster_is_printed_below_the_tables() {
        let stream = Stream { name: "QUOTES".into(), state: "standing".into(), lag: 1_234, tick_age_s: 7.54 };
        let cluster = Cluster { peers: 2, inflight: 17, streams: vec![stream] };
        let text = tables(&Tables { cluster: Some(cluster), ..Tables::default() });
        for words in ["cluster: 2 other gateways, 17 publishes on their way", "QUOTES", "standing        1234  7.5 s ago"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        assert!(!tables(&Tables::default()).contains("cluster"));
    }

    #[test]
    fn a_line_has_all_totals() {
        let stats = Stats { saved_bytes: 82, deflated_bytes: 18, uptime_s: 61.4, ..Stats::default() };
        let text = line(&stats, None);
        assert!(text.starts_with("up 61 s") && text.ends_with("outboxes 0 B  deflate 18 %\n"), "{text}");
    }
}
