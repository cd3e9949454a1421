//! Connections whose handshake is pending. They wait in the shard that may get their session, so that only one runtime
//! ever registers their sockets. A connection that does not ask for a session is handed on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::new_session::{Admitted, HandshakeHandler, PendingConnection};
use crate::clock::Moment;
use crate::shard::env::Load;
use crate::shard::slot::{ReadyList, SlotWaker};

/// The time that a tick spends on pending handshakes. Some have signatures to verify, and running sessions wait
/// meanwhile.
const SHARE: Duration = Duration::from_micros(100);

/// A shard's pending connections.
pub struct PendingHandshakes {
    connections: Vec<Option<Waiting>>,
    free: Vec<u32>,
    ready: Arc<ReadyList>,
    /// The indices of connections that have sent something. The next one is at the end.
    readable: Vec<u32>,
    load: Arc<Load>,
}

struct Waiting {
    tcp: TcpStream,
    waker: Waker,
    until: Moment,
    handler: Box<dyn HandshakeHandler>,
}

impl PendingHandshakes {
    /// No pending connections. They will be counted in `load`.
    pub fn new(load: &Arc<Load>) -> Self {
        Self { connections: Vec::new(), free: Vec::new(), ready: Arc::default(), readable: Vec::new(), load: Arc::clone(load) }
    }

    /// Registers a connection with the runtime of the current thread. Its time-out begins at `now`.
    pub fn receive(&mut self, connection: PendingConnection, now: Moment) {
        let PendingConnection { stream, timeout, handler } = connection;
        let tcp = match TcpStream::from_std(stream) {
            Ok(tcp) => tcp,
            Err(error) => {
                self.load.vacate();
                return tracing::warn!(%error, "a new connection's socket can't be used");
            }
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        let waker = Waker::from(SlotWaker::new(index, &self.ready));
        if tcp.poll_read_ready(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake_by_ref();
        }
        self.connections[index as usize] = Some(Waiting { tcp, waker, until: now + timeout, handler });
    }

    /// Reads the connections that have sent something, for a share of the tick. `now` reads the clock. Each connection
    /// is given to `admit`, with the bytes behind its request, or handed on. Returns `false` if some are left for the
    /// next tick.
    pub fn answer(
        &mut self,
        buffer: &mut [u8],
        mut admit: impl FnMut(Admitted, TcpStream, &[u8]),
        mut now: impl FnMut() -> Moment,
    ) -> bool {
        if self.is_empty() {
            self.readable.clear(); // indices of connections that were forwarded after a time-out
            return true;
        }
        if self.readable.is_empty() {
            self.ready.take(&mut self.readable);
            self.readable.reverse();
        }
        let began = now();
        while let Some(index) = self.readable.pop() {
            self.read_first_bytes(index, buffer, &mut admit);
            if now().since(began) >= SHARE {
                break;
            }
        }
        self.readable.is_empty()
    }

    /// Hands on the connections whose time-out has passed.
    pub fn sweep(&mut self, now: Moment) {
        for index in 0..self.connections.len() as u32 {
            if self.connections[index as usize].as_ref().is_some_and(|connection| connection.until <= now) {
                self.forward(index, &[]);
            }
        }
    }

    /// Whether a connection has sent something. If none has, the next one that does wakes `waker`.
    pub fn is_ready_or_wakes(&self, waker: &Waker) -> bool {
        !self.is_empty() && (!self.readable.is_empty() || self.ready.is_filled_or_wakes(waker))
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.connections.len()
    }

    fn read_first_bytes(&mut self, index: u32, buffer: &mut [u8], admit: &mut impl FnMut(Admitted, TcpStream, &[u8])) {
        let Some(connection) = self.connections.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let mut read = ReadBuf::new(buffer);
        match Pin::new(&mut connection.tcp).poll_read(&mut Context::from_waker(&connection.waker), &mut read) {
            Poll::Pending => return,
            Poll::Ready(Err(_)) => read.clear(),
            Poll::Ready(Ok(())) => {}
        }
        let first_bytes = read.filled();
        match connection.handler.admit(first_bytes) {
            None => self.forward(index, first_bytes),
            Some(admitted) => {
                let Some(connection) = self.remove(index) else { return };
                let rest = first_bytes.get(admitted.used..).unwrap_or_default();
                admit(admitted, connection.tcp, rest);
            }
        }
    }

    fn forward(&mut self, index: u32, first_bytes: &[u8]) {
        let Some(connection) = self.remove(index) else { return };
        match connection.tcp.into_std() {
            Ok(stream) => connection.handler.forward(stream, first_bytes),
            Err(error) => tracing::warn!(%error, "a new connection's socket can't be used"),
        }
    }

    fn remove(&mut self, index: u32) -> Option<Waiting> {
        let connection = self.connections.get_mut(index as usize)?.take()?;
        self.load.vacate();
        self.free.push(index);
        Some(connection)
    }
}
