//! The sink that feeds publish to: the hub, or a test's stand-in.

use std::future::Future;
use std::sync::Arc;

use crate::hub::{Hub, PayloadKind, Publication, PublishError};
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// Takes JSON payloads. A sink without room lets the feed wait; a feed never drops a message.
pub(super) trait FeedSink: Send + Sync + 'static {
    /// Publishes `payload`, which is JSON text, to `topic`.
    fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> impl Future<Output = Result<(), PublishError>> + Send;
}

impl FeedSink for Arc<Hub> {
    async fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> Result<(), PublishError> {
        let publication = Publication { payload, kind: PayloadKind::Json, except: None, source, payer: None, extra: None };
        Hub::publish(self, topic, publication).await.map(|_| ())
    }
}
