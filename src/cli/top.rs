//! `belfry top`: a gateway's rates, as a terminal shows them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use serde::Deserialize;

use super::client::{ConnectError, Endpoint, GatewayArguments, Incoming, Message, Wire, fetch, upgrade};

const SUBSCRIBE: &str = r#"{"op":"subscribe","id":1,"topics":["$belfry.stats"],"last":1}"#;
/// The stats come once a second; without them for so long the gateway is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ROWS: usize = 10;
/// So many topics are looked at for the busiest, in pages of [`TOPICS_PAGE`].
const TOPICS_MAX: usize = 5_000;
const TOPICS_PAGE: usize = 1_000;

/// `belfry top`.
#[derive(Debug, Args)]
pub(super) struct TopArguments {
    #[command(flatten)]
    gateway: GatewayArguments,
}

/// The payload of `$belfry.stats`: totals, not rates (PROTOCOL section 2).
#[derive(Debug, Clone, Copy, Deserialize)]
struct Stats {
    sessions: u64,
    topics: u64,
    subscriptions: u64,
    published: u64,
    delivered: u64,
    outbox_bytes: u64,
    uptime_s: f64,
}

/// What happened per second between two stats.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    published: f64,
    delivered: f64,
}

impl Stats {
    /// Nothing where no time lies between the two, or the gateway has restarted.
    fn rates_since(&self, earlier: &Stats) -> Option<Rates> {
        let seconds = self.uptime_s - earlier.uptime_s;
        let published = self.published.checked_sub(earlier.published)?;
        let delivered = self.delivered.checked_sub(earlier.delivered)?;
        (seconds > 0.0).then(|| Rates { published: published as f64 / seconds, delivered: delivered as f64 / seconds })
    }
}

#[derive(Debug, Deserialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct Session {
    session: String,
    user: Option<String>,
    address: String,
    dialect: String,
    outbox_bytes: u64,
    oldest: Option<Oldest>,
}

#[derive(Debug, Deserialize)]
struct Oldest {
    topic: String,
    age_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Topics {
    topics: Vec<Topic>,
}

#[derive(Debug, Clone, Deserialize)]
struct Topic {
    topic: String,
    subscribers: u64,
    offset: u64,
    epoch: String,
}

/// Shows the rates until the gateway or the reader is gone.
pub(super) async fn watch(arguments: TopArguments) -> anyhow::Result<()> {
    let GatewayArguments { url, token } = arguments.gateway;
    let mut wire = upgrade(&url, token.as_deref()).await.map_err(ConnectError::into_error)?;
    wire.queue_text(SUBSCRIBE);
    let in_place = std::io::stdout().is_terminal();
    let mut earlier: Option<Stats> = None;
    let mut busiest = Busiest::default();
    loop {
        let stats = next_stats(&mut wire).await?;
        let rates = earlier.and_then(|earlier| stats.rates_since(&earlier));
        earlier = Some(stats);
        let mut text = if in_place { screen(&url, &stats, rates) } else { line(&stats, rates) };
        if token.is_some() {
            text.push_str(&admin_tables(&url, token.as_deref(), &mut busiest, stats.uptime_s).await?);
        }
        // Home, then each line over the older one, its rest cleared: nothing flickers.
        let shown = if in_place { format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")) } else { text };
        let mut output = std::io::stdout().lock();
        match output.write_all(shown.as_bytes()).and_then(|()| output.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}

async fn next_stats(wire: &mut Wire) -> anyhow::Result<Stats> {
    #[derive(Deserialize)]
    struct Refused {
        op: String,
        code: String,
        message: String,
    }
    loop {
        let heard = tokio::time::timeout(SILENCE_MAX, wire.next()).await;
        match heard.map_err(|_| anyhow!("no stats for {} s; the gateway is gone or stuck", SILENCE_MAX.as_secs()))?? {
            Incoming::Alive => {}
            Incoming::Close(4001 | 4002, _) => bail!("the gateway does not take this token; give another --token"),
            Incoming::Close(code, reason) => bail!("the gateway closed with {code} {reason}"),
            Incoming::Text(text) => {
                if let Some(data) = Message::read(&text).and_then(|message| message.data) {
                    return serde_json::from_str(data.get()).map_err(|error| anyhow!("the stats can't be read: {error}"));
                }
                if let Ok(refused) = serde_json::from_str::<Refused>(&text)
                    && refused.op == "error"
                {
                    bail!("{}: {}; a --token with a grant for $belfry.> is needed", refused.code, refused.message);
                }
            }
        }
    }
}

fn line(stats: &Stats, rates: Option<Rates>) -> String {
    let (published, delivered) = shown(rates);
    format!(
        "up {:.0} s  sessions {}  topics {}  subscriptions {}  published {published}/s  delivered {delivered}/s  outboxes {}\n",
        stats.uptime_s,
        stats.sessions,
        stats.topics,
        stats.subscriptions,
        bytes(stats.outbox_bytes),
    )
}

fn screen(url: &Endpoint, stats: &Stats, rates: Option<Rates>) -> String {
    let (published, delivered) = shown(rates);
    format!(
        "belfry at {url}, up {:.0} s\n\n  published {published:>12}/s     sessions      {:>12}\n  delivered {delivered:>12}/s     subscriptions {:>12}\n  outboxes  {:>12}       topics        {:>12}\n",
        stats.uptime_s,
        stats.sessions,
        stats.subscriptions,
        bytes(stats.outbox_bytes),
        stats.topics,
    )
}

fn shown(rates: Option<Rates>) -> (String, String) {
    rates.map_or_else(|| ("-".into(), "-".into()), |rates| (format!("{:.0}", rates.published), format!("{:.0}", rates.delivered)))
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1_024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// What `/v1` tells an administrator; nothing for anybody else.
async fn admin_tables(url: &Endpoint, token: Option<&str>, busiest: &mut Busiest, now_s: f64) -> anyhow::Result<String> {
    let mut text = String::new();
    let Some(sessions) = fetch(url, &format!("/v1/sessions?order=outbox&limit={ROWS}"), token).await? else { return Ok(text) };
    let sessions: Sessions = serde_json::from_slice(&sessions)?;
    text.push_str("\nslowest sessions      outbox  user              dialect  address                oldest\n");
    for session in sessions.sessions {
        let oldest = session.oldest.map_or_else(|| "-".into(), |oldest| format!("{} ms, {}", oldest.age_ms, printable(&oldest.topic)));
        let user = printable(session.user.as_deref().unwrap_or("-"));
        let (name, dialect, address) = (printable(&session.session), printable(&session.dialect), printable(&session.address));
        let _ = writeln!(text, "{name:<16} {:>11}  {user:<16.16}  {dialect:<7}  {address:<21}  {oldest}", bytes(session.outbox_bytes));
    }
    let topics = all_topics(url, token).await?;
    let cut = topics.len() >= TOPICS_MAX;
    let _ =
        writeln!(text, "\nbusiest topics{}   messages/s  subscribers", if cut { " (of the first 5000)" } else { "                    " });
    for (topic, rate) in busiest.take(topics, now_s) {
        let _ = writeln!(text, "{:<34.34} {rate:>12.1}  {:>11}", printable(&topic.topic), topic.subscribers);
    }
    Ok(text)
}

async fn all_topics(url: &Endpoint, token: Option<&str>) -> anyhow::Result<Vec<Topic>> {
    let mut topics: Vec<Topic> = Vec::new();
    while topics.len() < TOPICS_MAX {
        let after = topics.last().map(|topic| topic.topic.clone()).unwrap_or_default();
        let after = percent_encoding::utf8_percent_encode(&after, percent_encoding::NON_ALPHANUMERIC);
        let Some(page) = fetch(url, &format!("/v1/topics?limit={TOPICS_PAGE}&after={after}"), token).await? else { break };
        let page: Topics = serde_json::from_slice(&page)?;
        let full = page.topics.len() == TOPICS_PAGE;
        topics.extend(page.topics);
        if !full {
            break;
        }
    }
    Ok(topics)
}

/// Topics by how much was published on them since the look before.
#[derive(Debug, Default)]
struct Busiest {
    earlier: HashMap<String, Topic>,
    earlier_s: f64,
}

impl Busiest {
    fn take(&mut self, topics: Vec<Topic>, now_s: f64) -> Vec<(Topic, f64)> {
        let seconds = now_s - self.earlier_s;
        let mut rated: Vec<(Topic, f64)> = topics
            .iter()
            .filter_map(|topic| {
                let earlier = self.earlier.get(&topic.topic).filter(|earlier| earlier.epoch == topic.epoch)?;
                let published = topic.offset.checked_sub(earlier.offset).filter(|&published| published > 0)?;
                (seconds > 0.0).then(|| (topic.clone(), published as f64 / seconds))
            })
            .collect();
        rated.sort_by(|a, b| b.1.total_cmp(&a.1));
        rated.truncate(ROWS);
        self.earlier = topics.into_iter().map(|topic| (topic.topic.clone(), topic)).collect();
        self.earlier_s = now_s;
        rated
    }
}

/// Without what a terminal would obey: a user's name may hold anything.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(published: u64, uptime_s: f64) -> Stats {
        Stats { sessions: 1, topics: 2, subscriptions: 3, published, delivered: published * 10, outbox_bytes: 0, uptime_s }
    }

    #[test]
    fn rates_are_differences_of_totals() {
        let rates = stats(150, 12.0).rates_since(&stats(100, 10.0));
        assert_eq!(rates, Some(Rates { published: 25.0, delivered: 250.0 }));
        assert_eq!(stats(150, 10.0).rates_since(&stats(100, 10.0)), None);
        assert_eq!(stats(5, 1.0).rates_since(&stats(100, 10.0)), None);
    }

    #[test]
    fn the_busiest_come_first_and_a_new_epoch_counts_from_its_second_look() {
        let topic = |name: &str, epoch: &str, offset| Topic { topic: name.into(), subscribers: 1, offset, epoch: epoch.into() };
        let mut busiest = Busiest::default();
        assert!(busiest.take(vec![topic("a", "e", 10), topic("b", "e", 10), topic("c", "e", 10)], 1.0).is_empty());
        let rated = busiest.take(vec![topic("a", "e", 12), topic("b", "e", 30), topic("c", "f", 90)], 3.0);
        let named: Vec<_> = rated.iter().map(|(topic, rate)| (topic.topic.as_str(), *rate)).collect();
        assert_eq!(named, [("b", 10.0), ("a", 1.0)]);
    }

    #[test]
    fn a_terminal_is_not_given_orders() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }

    #[test]
    fn a_line_tells_all_totals() {
        let text = line(&stats(1, 61.4), None);
        assert!(text.starts_with("up 61 s") && text.ends_with("outboxes 0 B\n"), "{text}");
    }
}
