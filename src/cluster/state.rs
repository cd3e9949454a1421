//! What the gateway's parts see of a stream that is followed.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use crate::config::Stream;
use crate::metrics::ClusterState;
use crate::position::Epoch;

/// One stream.
#[derive(Debug)]
pub struct StreamState {
    /// Its place among the streams that the gateway follows.
    pub index: usize,
    /// As it is configured.
    pub settings: Stream,
    /// Held for a look.
    phase: RwLock<Phase>,
}

#[derive(Debug)]
struct Phase {
    state: ClusterState,
    since: Instant,
    /// The life that publications get their place in, while the stream is live.
    epoch: Option<Epoch>,
    /// The last message that names the life.
    life_heard: Instant,
}

impl StreamState {
    /// A stream that was not read yet.
    pub fn new(index: usize, settings: Stream) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            index,
            settings,
            phase: RwLock::new(Phase { state: ClusterState::Cold, since: now, epoch: None, life_heard: now }),
        })
    }

    /// How it is.
    pub fn state(&self) -> ClusterState {
        self.phase.read().state
    }

    /// How it is, and since when.
    pub fn state_since(&self) -> (ClusterState, Instant) {
        let phase = self.phase.read();
        (phase.state, phase.since)
    }

    /// When its life was named last.
    pub fn life_heard(&self) -> Instant {
        self.phase.read().life_heard
    }

    /// The life that a publication gets its place in; `None`: it can't be published now.
    pub fn epoch(&self) -> Option<Epoch> {
        self.phase.read().epoch
    }

    /// Everything is read, and the consumer is known to be good.
    pub fn live(&self, epoch: Epoch) {
        self.enter(ClusterState::Live, Some(epoch));
    }

    /// The consumer is lost; or a load began where nothing was read before, or is to begin.
    pub fn stand(&self) {
        let ever_live = !matches!(self.state(), ClusterState::Cold | ClusterState::Loading);
        self.enter(if ever_live { ClusterState::Standing } else { ClusterState::Cold }, None);
    }

    /// The stream is read from its beginning.
    pub fn load(&self) {
        self.enter(ClusterState::Loading, None);
    }

    /// A message has named its life.
    pub fn hear_life(&self) {
        self.phase.write().life_heard = Instant::now();
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
