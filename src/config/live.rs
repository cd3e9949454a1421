//! The configuration in force, behind one swap, so that a reload reaches every part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::settings::Config;

/// The configuration in force.
#[derive(Debug)]
pub struct Live {
    /// Held for one clone of the `Arc`.
    current: RwLock<Arc<Config>>,
    generation: AtomicU64,
}

impl Live {
    /// Starts with `config`.
    pub fn new(config: Arc<Config>) -> Self {
        Self { current: RwLock::new(config), generation: AtomicU64::new(0) }
    }

    /// What holds now.
    pub fn load(&self) -> Arc<Config> {
        Arc::clone(&self.current.read())
    }

    /// Grows by one with each [`Live::replace`]; a shard compares it once a turn.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts `config` in force.
    pub fn replace(&self, config: Arc<Config>) {
        *self.current.write() = config;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
