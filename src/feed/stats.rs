//! The gateway's own figures, once a second on `$belfry.stats` (PROTOCOL section 2).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{MissedTickBehavior, interval};

use super::sink::FeedSink;
use crate::clock::Clock;
use crate::metrics::{Metrics, PublishSource, Totals};
use crate::topic_name::TopicName;

const TOPIC: &str = "$belfry.stats";
const INTERVAL: Duration = Duration::from_secs(1);

/// Publishes until its task is aborted.
pub(super) async fn run(sink: impl FeedSink, metrics: Arc<Metrics>, clock: Clock) {
    let topic = TopicName::parse(TOPIC).expect("the topic's name is a constant");
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let figures = figures(&metrics.totals(), clock.moment().elapsed_at_start());
        if let Err(error) = sink.publish(&topic, &figures, PublishSource::Gateway).await {
            tracing::debug!(topic = TOPIC, %error, "the figures were not published");
        }
    }
}

fn figures(totals: &Totals, uptime: Duration) -> Bytes {
    let Totals { sessions, topics, subscriptions, published, delivered, outbox_bytes, saved_bytes, deflated_bytes } = totals;
    let version = env!("CARGO_PKG_VERSION");
    let uptime_s = uptime.as_secs();
    Bytes::from(format!(
        r#"{{"sessions":{sessions},"topics":{topics},"subscriptions":{subscriptions},"published":{published},"delivered":{delivered},"outbox_bytes":{outbox_bytes},"saved_bytes":{saved_bytes},"deflated_bytes":{deflated_bytes},"uptime_s":{uptime_s},"version":"{version}"}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 2: the payload has at least these fields, as totals.
    #[test]
    fn the_figures_have_the_fields_of_the_contract() {
        let totals = Totals {
            sessions: 1,
            topics: 2,
            subscriptions: 3,
            published: 4,
            delivered: u64::MAX,
            outbox_bytes: 6,
            saved_bytes: 7,
            deflated_bytes: 8,
        };
        let expected = format!(
            r#"{{"sessions":1,"topics":2,"subscriptions":3,"published":4,"delivered":18446744073709551615,"outbox_bytes":6,"saved_bytes":7,"deflated_bytes":8,"uptime_s":61,"version":"{}"}}"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(figures(&totals, Duration::from_millis(61_900)), expected);
    }
}
