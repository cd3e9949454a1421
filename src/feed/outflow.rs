//! Where feeds publish: the hub, or what stands in for it in a test.

use std::future::Future;
use std::sync::Arc;

use crate::hub::{Hub, PayloadKind, Publication, PublishError};
use crate::metrics::PublishSource;
use crate::topic_name::TopicName;

/// Takes JSON payloads; waits while a shard has no room, so that a feed is paused and never drops.
pub(super) trait Outflow: Send + Sync + 'static {
    /// Publishes `payload`, which is JSON text, on `topic`.
    fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> impl Future<Output = Result<(), PublishError>> + Send;
}

impl Outflow for Arc<Hub> {
    async fn publish(&self, topic: &TopicName, payload: &[u8], source: PublishSource) -> Result<(), PublishError> {
        let publication = Publication { payload, kind: PayloadKind::Json, except: None, source };
        Hub::publish(self, topic, publication).await.map(|_| ())
    }
}
