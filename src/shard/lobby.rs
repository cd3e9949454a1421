//! Connections that have not said anything yet. They wait in the shard that may get their session, so that the runtime
//! of one thread alone ever knows their sockets; whoever asks for anything else goes back to where it came from.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::newcomer::{Admitted, Caller, Porter};
use super::ready::{ReadyList, SlotWaker};
use super::sessions::Sessions;
use crate::clock::Clock;

/// How long a turn looks at those that have said something. Some have signatures to check; running sessions wait meanwhile.
const SHARE: Duration = Duration::from_micros(500);

/// A shard's callers.
#[derive(Default)]
pub struct Lobby {
    callers: Vec<Option<Waiting>>,
    free: Vec<u32>,
    ready: Arc<ReadyList>,
    /// Callers to be looked at, the first at the end.
    heard: Vec<u32>,
}

struct Waiting {
    tcp: TcpStream,
    waker: Waker,
    until: Instant,
    porter: Box<dyn Porter>,
}

impl Lobby {
    /// Lets a caller in, in the runtime of the current thread.
    pub fn receive(&mut self, caller: Caller) {
        let Caller { stream, until, porter } = caller;
        let tcp = match TcpStream::from_std(stream) {
            Ok(tcp) => tcp,
            Err(error) => return tracing::warn!(%error, "a new connection's socket can't be used"),
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.callers.push(None);
            self.callers.len() as u32 - 1
        });
        let waker = Waker::from(SlotWaker::new(place, &self.ready));
        if tcp.poll_read_ready(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake_by_ref();
        }
        self.callers[place as usize] = Some(Waiting { tcp, waker, until, porter });
    }

    /// Looks at those that have said something: they become sessions, or go back. `false`: some are left for the next turn.
    pub fn answer(&mut self, buffer: &mut [u8], clock: &Clock, sessions: &mut Sessions) -> bool {
        if self.is_empty() {
            return true;
        }
        if self.heard.is_empty() {
            self.ready.take(&mut self.heard);
            self.heard.reverse();
        }
        let began = clock.moment();
        while let Some(place) = self.heard.pop() {
            self.look(place, buffer, sessions);
            if clock.moment().since(began) >= SHARE {
                break;
            }
        }
        self.heard.is_empty()
    }

    /// Sends those back whose time is over.
    pub fn sweep(&mut self, now: Instant) {
        for place in 0..self.callers.len() as u32 {
            if self.callers[place as usize].as_ref().is_some_and(|caller| caller.until <= now) {
                self.send_back(place, &[]);
            }
        }
    }

    /// Whether a caller has said something; if not, `waker` is woken by the next that does.
    pub fn is_heard_or_wakes(&self, waker: &Waker) -> bool {
        !self.heard.is_empty() || (!self.is_empty() && self.ready.is_filled_or_wakes(waker))
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.callers.len()
    }

    fn look(&mut self, place: u32, buffer: &mut [u8], sessions: &mut Sessions) {
        let Some(caller) = self.callers.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let mut read = ReadBuf::new(buffer);
        match std::pin::Pin::new(&mut caller.tcp).poll_read(&mut Context::from_waker(&caller.waker), &mut read) {
            Poll::Pending => return,
            Poll::Ready(Err(_)) => read.clear(),
            Poll::Ready(Ok(())) => {}
        }
        let said = read.filled();
        match caller.porter.admit(said) {
            None => self.send_back(place, said),
            Some(Admitted { newcomer, head, used }) => {
                let Some(caller) = self.leave(place) else { return };
                sessions.admit(newcomer, caller.tcp, head, said.get(used..).unwrap_or_default());
            }
        }
    }

    fn send_back(&mut self, place: u32, said: &[u8]) {
        let Some(caller) = self.leave(place) else { return };
        match caller.tcp.into_std() {
            Ok(stream) => caller.porter.take_back(stream, said),
            Err(error) => tracing::warn!(%error, "a new connection's socket can't be used"),
        }
    }

    fn leave(&mut self, place: u32) -> Option<Waiting> {
        let caller = self.callers.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(caller)
    }
}
