//! Passes the topics from one run of the gateway to the next, in `store.dir`.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::Clock;
use crate::config;
use crate::hub::Hub;
use crate::metrics::{Metrics, RecoveredEpoch};
use crate::store::{Folder, FolderError};

/// The folder of the store, locked by this run.
pub struct Handover {
    folder: Folder,
    hub: Arc<Hub>,
    clock: Clock,
}

impl Handover {
    /// Locks the folder, if the configuration has one, and restores the topics of the last clean stop. If they can't be
    /// used, the log has the reason, and all topics begin new epochs.
    pub fn restore(store: &config::Store, hub: &Arc<Hub>, metrics: &Metrics, clock: &Clock) -> Result<Option<Self>, FolderError> {
        let Some(dir) = &store.dir else { return Ok(None) };
        let folder = Folder::open(dir)?;
        let began = Instant::now();
        let (mut kept, mut dropped) = (0, 0);
        let taken = folder.take(|topic| match hub.restore(topic, store.grace) {
            true => kept += 1,
            false => dropped += 1,
        });
        metrics.set_store_recovered_topics(RecoveredEpoch::Kept, kept);
        metrics.set_store_recovered_topics(RecoveredEpoch::New, dropped);
        let dir = dir.display();
        match taken {
            Ok(Some(totals)) => {
                let (messages, bytes, seconds) = (totals.messages, totals.bytes, began.elapsed().as_secs_f64());
                tracing::info!(topics = kept, messages, bytes, seconds, %dir, "the topics of the last clean stop are restored");
            }
            Ok(None) => tracing::info!(%dir, "no topics of a clean stop were found, so all topics begin new epochs"),
            Err(damage) => {
                tracing::warn!(%dir, reason = %damage, "the topics of the last stop can't be used, so all topics begin new epochs");
            }
        }
        if dropped > 0 {
            tracing::warn!(topics = dropped, "limits.topics has no room for all topics of the last clean stop; these begin new epochs");
        }
        Ok(Some(Self { folder, hub: Arc::clone(hub), clock: clock.clone() }))
    }

    /// Writes every topic for the next start. Messages that are published after that get a new epoch, which ends with
    /// this process.
    pub fn save(&self) {
        let began = Instant::now();
        match self.folder.write(self.hub.export(), self.clock.now()) {
            Ok(totals) => {
                let (topics, messages, bytes, seconds) = (totals.topics, totals.messages, totals.bytes, began.elapsed().as_secs_f64());
                tracing::info!(topics, messages, bytes, seconds, "the topics are kept for the next start");
            }
            Err(error) => tracing::error!(%error, "the topics can't be kept, so the next start begins new epochs"),
        }
    }
}
