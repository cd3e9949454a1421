//! The sink of feeds: the hub, or a sink of tests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{Hub, PayloadKind, Publication, PublishError};
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// Accepts JSON payloads. If it has no room, the feed waits. A feed never drops a message.
pub(super) trait FeedSink: Send + Sync + 'static {
    /// If `topic` belongs to a stream, waits until every stream was read and messages on `topic` are accepted, and
    /// returns `true`. A recording waits so once, before its first message on such a topic, so that this message is not
    /// refused.
    fn ready(&self, _topic: &TopicName) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }
    /// Publishes `payload`, which is JSON text, to `topic`.
    fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// The time between two checks whether the engine accepts messages.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The number of checks after which the wait is logged: 5 s.
const CHECKS_BEFORE_WARNING: u32 = 50;

impl FeedSink for Arc<Hub> {
    async fn ready(&self, topic: &TopicName) -> bool {
        let Some(engine) = self.engine().filter(|engine| engine.accepts(topic).is_some()) else { return false };
        let mut checks = 0_u32;
        while engine.is_loading() || engine.accepts(topic) == Some(false) {
            if checks == CHECKS_BEFORE_WARNING {
                tracing::warn!(%topic, "a recording waits until the gateway has read every stream and can publish");
            }
            checks = checks.saturating_add(1);
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        true
    }

    async fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> Result<(), PublishError> {
        let publication = Publication::new(payload, PayloadKind::Json, source);
        Hub::publish(self, topic, publication).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Waker};

    use super::*;
    use crate::clock::{Clock, Timestamp};
    use crate::config::{Config, Live, Sources};
    use crate::hub::{Engine, EngineAttempt};
    use crate::metrics::Metrics;

    /// An engine with a stream for the topics `s.>`, which first reads its streams and then connects.
    #[derive(Default)]
    struct StartingEngine {
        is_read: AtomicBool,
        is_connected: AtomicBool,
    }

    impl Engine for StartingEngine {
        fn accepts(&self, topic: &TopicName) -> Option<bool> {
            topic.as_str().starts_with("s.").then(|| self.is_connected.load(Ordering::Relaxed))
        }
        fn publish(&self, _: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
            None
        }
        fn is_loading(&self) -> bool {
            !self.is_read.load(Ordering::Relaxed)
        }
        fn when_room(&self, _: &Waker) {}
        fn forget(&self, _: &Waker) {}
    }

    /// A recording on a stream's topic begins once the streams are read and the engine can publish; one on topics of
    /// this gateway begins at once. The bug: the first did not wait for the engine's connection, and the second waited
    /// for the streams.
    #[tokio::test]
    async fn a_recording_waits_for_the_engine_of_its_topics() {
        let (config, metrics) = (Config::load(&Sources::default()).unwrap(), Arc::new(Metrics::new()));
        let hub = Hub::new(Arc::new(Live::new(&config, &metrics)), metrics, Clock::by_hand(Timestamp(0)));
        let engine = Arc::<StartingEngine>::default();
        hub.set_engine(Arc::clone(&engine) as Arc<dyn Engine>);
        let [local, streamed] = ["plain.a", "s.a"].map(|name| TopicName::parse(name).unwrap());
        let is_pending = |topic| Box::pin(hub.ready(topic)).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(!hub.ready(&local).await);
        assert!(is_pending(&streamed));
        engine.is_read.store(true, Ordering::Relaxed);
        assert!(is_pending(&streamed), "the engine is not connected");
        engine.is_connected.store(true, Ordering::Relaxed);
        assert!(hub.ready(&streamed).await);
    }
}
