//! The sink of feeds: the hub, or a stand-in of tests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::{Hub, PayloadKind, Publication, PublishError};
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// Accepts JSON payloads. If it has no room, the feed waits. A feed never drops a message.
pub(super) trait FeedSink: Send + Sync + 'static {
    /// Waits until messages are taken on every topic. A recording begins no earlier, so that its first messages are not refused.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
    /// Publishes `payload`, which is JSON text, to `topic`.
    fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// Between two looks whether the engine has read its topics.
const LOOK: Duration = Duration::from_millis(100);

impl FeedSink for Arc<Hub> {
    async fn ready(&self) {
        while self.engine().is_some_and(|engine| engine.is_loading()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> Result<(), PublishError> {
        let publication = Publication::new(payload, PayloadKind::Json, source);
        Hub::publish(self, topic, publication).await.map(|_| ())
    }
}
