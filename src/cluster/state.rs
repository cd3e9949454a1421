//! The state of one stream, shared by the tasks of the gateway that read it, publish to it and report on it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::config::Stream;
use crate::metrics::ClusterState;
use crate::position::Epoch;

#[derive(Debug)]
pub struct StreamState {
    /// Its index among the streams that the gateway follows.
    pub index: usize,
    /// Its settings at the start of the gateway.
    pub settings: Stream,
    /// The lock is never held across another lock or an await.
    phase: RwLock<Phase>,
}

#[derive(Debug)]
struct Phase {
    state: ClusterState,
    since: Instant,
    /// The epoch of new publications. Only a live stream has one.
    epoch: Option<Epoch>,
    /// When the last message arrived that names the epoch.
    epoch_seen: Instant,
}

impl StreamState {
    /// A stream that was not read yet.
    pub fn new(index: usize, settings: Stream) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            index,
            settings,
            phase: RwLock::new(Phase { state: ClusterState::Cold, since: now, epoch: None, epoch_seen: now }),
        })
    }

    pub fn state(&self) -> ClusterState {
        self.phase.read().state
    }

    /// The current state, and when it began.
    pub fn state_and_start(&self) -> (ClusterState, Instant) {
        let phase = self.phase.read();
        (phase.state, phase.since)
    }

    /// When the last message arrived that names the stream's epoch.
    pub fn epoch_seen(&self) -> Instant {
        self.phase.read().epoch_seen
    }

    /// The epoch of a message that is published now. `None`: nothing can be published now.
    pub fn epoch(&self) -> Option<Epoch> {
        self.phase.read().epoch
    }

    /// The stream was read to its end, and the consumer delivers what is new.
    pub fn set_live(&self, epoch: Epoch) {
        self.enter(ClusterState::Live, Some(epoch));
    }

    /// The consumer is lost. A stream that was never live is cold again.
    pub fn lose_consumer(&self) {
        let ever_live = !matches!(self.state(), ClusterState::Cold | ClusterState::Loading);
        self.enter(if ever_live { ClusterState::Stalled } else { ClusterState::Cold }, None);
    }

    /// The stream is read from its beginning, for the first time.
    pub fn set_loading(&self) {
        self.enter(ClusterState::Loading, None);
    }

    /// A message has named the stream's epoch.
    pub fn note_epoch(&self) {
        self.phase.write().epoch_seen = Instant::now();
    }

    fn enter(&self, state: ClusterState, epoch: Option<Epoch>) {
        let mut phase = self.phase.write();
        if phase.state != state {
            phase.since = Instant::now();
        }
        phase.state = state;
        phase.epoch = epoch;
    }
}
