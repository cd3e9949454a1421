//! The list of slots, or of places among the pending handshakes, whose sockets were woken. It replaces a task for each
//! socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// The slots that were woken since the shard last looked.
#[derive(Default)]
pub struct ReadyList {
    /// Held for one push or one swap.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    woken: Vec<Arc<SlotWaker>>,
    shard: Option<Waker>,
}

/// The waker of a socket. A wake lists the slot. A late wake, for a slot that has another session by then, only causes
/// a needless look at that session's socket.
pub struct SlotWaker {
    slot: u32,
    listed: AtomicBool,
    ready: Arc<ReadyList>,
}

impl SlotWaker {
    /// The waker of one slot.
    pub fn new(slot: u32, ready: &Arc<ReadyList>) -> Arc<Self> {
        Arc::new(Self { slot, listed: AtomicBool::new(false), ready: Arc::clone(ready) })
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let ready = Arc::clone(&self.ready);
        let mut state = ready.state.lock();
        state.woken.push(self);
        let shard = state.shard.take();
        drop(state);
        if let Some(shard) = shard {
            shard.wake();
        }
    }
}

impl ReadyList {
    /// Appends the woken slots to `slots`. Each may be listed again from then on.
    pub fn take(&self, slots: &mut Vec<u32>) {
        let mut state = self.state.lock();
        for waker in state.woken.drain(..) {
            waker.listed.store(false, Ordering::Release);
            slots.push(waker.slot);
        }
    }

    /// Whether a slot is listed. If none is, the next wake of a slot wakes `waker`.
    pub fn is_filled_or_wakes(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let filled = !state.woken.is_empty();
        if !filled {
            state.shard = Some(waker.clone());
        }
        filled
    }
}
