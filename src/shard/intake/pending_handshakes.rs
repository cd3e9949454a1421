//! Connections whose handshake is pending. They wait in the shard that may get their session, so that the runtime of one thread alone
//! ever knows their sockets; one that asks for anything but a session is handed on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::new_session::{Admitted, HandshakeHandler, PendingConnection};
use crate::clock::Moment;
use crate::shard::load::Load;
use crate::shard::slot::{ReadyList, SlotWaker};

/// How long a tick looks at those that have said something. Some have signatures to check; running sessions wait meanwhile.
const SHARE: Duration = Duration::from_micros(100);

/// A shard's pending connections.
pub struct PendingHandshakes {
    connections: Vec<Option<Waiting>>,
    free: Vec<u32>,
    ready: Arc<ReadyList>,
    /// Places of connections to be looked at, the first at the end.
    heard: Vec<u32>,
    load: Arc<Load>,
}

struct Waiting {
    tcp: TcpStream,
    waker: Waker,
    until: Moment,
    handler: Box<dyn HandshakeHandler>,
}

impl PendingHandshakes {
    /// None yet; they count in `load`.
    pub fn new(load: &Arc<Load>) -> Self {
        Self { connections: Vec::new(), free: Vec::new(), ready: Arc::default(), heard: Vec::new(), load: Arc::clone(load) }
    }

    /// Takes a connection over, in the runtime of the current thread. Its time begins `now`.
    pub fn receive(&mut self, connection: PendingConnection, now: Moment) {
        let PendingConnection { stream, timeout, handler } = connection;
        let tcp = match TcpStream::from_std(stream) {
            Ok(tcp) => tcp,
            Err(error) => {
                self.load.vacate();
                return tracing::warn!(%error, "a new connection's socket can't be used");
            }
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        let waker = Waker::from(SlotWaker::new(place, &self.ready));
        if tcp.poll_read_ready(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake_by_ref();
        }
        self.connections[place as usize] = Some(Waiting { tcp, waker, until: now + timeout, handler });
    }

    /// Looks at those that have said something, for a share of the tick as `now` tells the time: they are given to `admit`, with what
    /// they said behind their request, or handed on. `false`: some are left for the next tick.
    pub fn answer(
        &mut self,
        buffer: &mut [u8],
        mut admit: impl FnMut(Admitted, TcpStream, &[u8]),
        mut now: impl FnMut() -> Moment,
    ) -> bool {
        if self.is_empty() {
            self.heard.clear(); // of those whose time was over
            return true;
        }
        if self.heard.is_empty() {
            self.ready.take(&mut self.heard);
            self.heard.reverse();
        }
        let began = now();
        while let Some(place) = self.heard.pop() {
            self.look(place, buffer, &mut admit);
            if now().since(began) >= SHARE {
                break;
            }
        }
        self.heard.is_empty()
    }

    /// Hands those on whose time is over.
    pub fn sweep(&mut self, now: Moment) {
        for place in 0..self.connections.len() as u32 {
            if self.connections[place as usize].as_ref().is_some_and(|connection| connection.until <= now) {
                self.hand_on(place, &[]);
            }
        }
    }

    /// Whether a connection has said something; if not, `waker` is woken by the next that does.
    pub fn is_heard_or_wakes(&self, waker: &Waker) -> bool {
        !self.is_empty() && (!self.heard.is_empty() || self.ready.is_filled_or_wakes(waker))
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.connections.len()
    }

    fn look(&mut self, place: u32, buffer: &mut [u8], admit: &mut impl FnMut(Admitted, TcpStream, &[u8])) {
        let Some(connection) = self.connections.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut connection.tcp).poll_read(&mut Context::from_waker(&connection.waker), &mut read) {
            Poll::Pending => return,
            Poll::Ready(Err(_)) => read.clear(),
            Poll::Ready(Ok(())) => {}
        }
        let first_bytes = read.filled();
        match connection.handler.admit(first_bytes) {
            None => self.hand_on(place, first_bytes),
            Some(admitted) => {
                let Some(connection) = self.remove(place) else { return };
                let rest = first_bytes.get(admitted.used..).unwrap_or_default();
                admit(admitted, connection.tcp, rest);
            }
        }
    }

    fn hand_on(&mut self, place: u32, first_bytes: &[u8]) {
        let Some(connection) = self.remove(place) else { return };
        match connection.tcp.into_std() {
            Ok(stream) => connection.handler.hand_on(stream, first_bytes),
            Err(error) => tracing::warn!(%error, "a new connection's socket can't be used"),
        }
    }

    fn remove(&mut self, place: u32) -> Option<Waiting> {
        let connection = self.connections.get_mut(place as usize)?.take()?;
        self.load.vacate();
        self.free.push(place);
        Some(connection)
    }
}
