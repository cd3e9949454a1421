//! Connections that have not said anything yet. They wait in the shard that may get their session, so that the runtime
//! of one thread alone ever knows their sockets; whoever asks for anything else is handed on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::newcomer::{Admitted, Porter, Visitor};
use super::ready::{ReadyList, SlotWaker};
use super::sessions::Sessions;

/// How long a turn looks at those that have said something. Some have signatures to check; running sessions wait meanwhile.
const SHARE: Duration = Duration::from_micros(100);

/// A shard's visitors.
#[derive(Default)]
pub struct Lobby {
    visitors: Vec<Option<Waiting>>,
    free: Vec<u32>,
    ready: Arc<ReadyList>,
    /// Visitors to be looked at, the first at the end.
    heard: Vec<u32>,
}

struct Waiting {
    tcp: TcpStream,
    waker: Waker,
    until: Instant,
    porter: Box<dyn Porter>,
}

impl Lobby {
    /// Lets a visitor in, in the runtime of the current thread.
    pub fn receive(&mut self, visitor: Visitor, inbox: &Inbox) {
        let Visitor { stream, until, porter } = visitor;
        let tcp = match TcpStream::from_std(stream) {
            Ok(tcp) => tcp,
            Err(error) => {
                inbox.vacate();
                return tracing::warn!(%error, "a new connection's socket can't be used");
            }
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.visitors.push(None);
            self.visitors.len() as u32 - 1
        });
        let waker = Waker::from(SlotWaker::new(place, &self.ready));
        if tcp.poll_read_ready(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake_by_ref();
        }
        self.visitors[place as usize] = Some(Waiting { tcp, waker, until, porter });
    }

    /// Looks at those that have said something: they become sessions, or are handed on. `false`: some are left for the next turn.
    pub fn answer(&mut self, buffer: &mut [u8], sessions: &mut Sessions) -> bool {
        if self.is_empty() {
            self.heard.clear(); // of those whose time was over
            return true;
        }
        if self.heard.is_empty() {
            self.ready.take(&mut self.heard);
            self.heard.reverse();
        }
        let began = sessions.clock.moment();
        while let Some(place) = self.heard.pop() {
            self.look(place, buffer, sessions);
            if sessions.clock.moment().since(began) >= SHARE {
                break;
            }
        }
        self.heard.is_empty()
    }

    /// Hands those on whose time is over.
    pub fn sweep(&mut self, now: Instant, inbox: &Inbox) {
        for place in 0..self.visitors.len() as u32 {
            if self.visitors[place as usize].as_ref().is_some_and(|visitor| visitor.until <= now) {
                self.hand_on(place, &[], inbox);
            }
        }
    }

    /// Whether a visitor has said something; if not, `waker` is woken by the next that does.
    pub fn is_heard_or_wakes(&self, waker: &Waker) -> bool {
        !self.is_empty() && (!self.heard.is_empty() || self.ready.is_filled_or_wakes(waker))
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.visitors.len()
    }

    fn look(&mut self, place: u32, buffer: &mut [u8], sessions: &mut Sessions) {
        let Some(visitor) = self.visitors.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut visitor.tcp).poll_read(&mut Context::from_waker(&visitor.waker), &mut read) {
            Poll::Pending => return,
            Poll::Ready(Err(_)) => read.clear(),
            Poll::Ready(Ok(())) => {}
        }
        let said = read.filled();
        match visitor.porter.admit(said) {
            None => self.hand_on(place, said, &sessions.inbox),
            Some(Admitted { newcomer, head, used }) => {
                let Some(visitor) = self.leave(place, &sessions.inbox) else { return };
                sessions.admit(newcomer, visitor.tcp, head, said.get(used..).unwrap_or_default());
            }
        }
    }

    fn hand_on(&mut self, place: u32, said: &[u8], inbox: &Inbox) {
        let Some(visitor) = self.leave(place, inbox) else { return };
        match visitor.tcp.into_std() {
            Ok(stream) => visitor.porter.hand_on(stream, said),
            Err(error) => tracing::warn!(%error, "a new connection's socket can't be used"),
        }
    }

    fn leave(&mut self, place: u32, inbox: &Inbox) -> Option<Waiting> {
        let visitor = self.visitors.get_mut(place as usize)?.take()?;
        inbox.vacate();
        self.free.push(place);
        Some(visitor)
    }
}
