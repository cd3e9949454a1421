//! Tests of sessions whose commands wait for a waker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::bench::{Bench, HEAD};
use super::name;
use crate::frame::Inflater;
use crate::hub::{Engine, EngineAttempt, PayloadKind, Publication, PublishError, Receipt};
use crate::metrics::PublishSource;
use crate::position::{Epoch, Offset, Position};
use crate::shard::context::SessionContext;
use crate::shard::reader::Reader;
use crate::topic_name::TopicName;

/// A reader with one command. It tries the command in each call until the command is done.
struct Trying<F> {
    command: F,
    done: bool,
    calls: Arc<AtomicUsize>,
}

impl<F: FnMut(&mut SessionContext<'_>) -> bool + Send> Reader for Trying<F> {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        self.done = (self.command)(context);
    }
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.done = self.done || (self.command)(context);
        if self.done { input.len() } else { 0 }
    }
}

/// The number of calls of a session with `command` after 50 ticks, and after 50 more ticks that follow `woken`.
async fn calls(
    command: impl FnMut(&mut SessionContext<'_>) -> bool + Send + 'static,
    bench: &mut Bench,
    woken: impl FnOnce(),
) -> [usize; 2] {
    let calls = Arc::new(AtomicUsize::new(0));
    bench.replace(Trying { command, done: false, calls: Arc::clone(&calls) });
    let _client = bench.arrive(HEAD);
    ticks(bench).await;
    let before = calls.load(Ordering::Relaxed);
    woken();
    ticks(bench).await;
    [before, calls.load(Ordering::Relaxed)]
}

async fn ticks(bench: &mut Bench) {
    let mut buffer = [0; 64];
    for _ in 0..50 {
        bench.sessions.read_ready(&mut buffer);
        bench.flush();
        tokio::task::yield_now().await;
    }
}

/// A session that waits for an answer of the engine is called once when its socket arrives, and once more when the
/// answer is there. (It was called in each tick, and the shard spun meanwhile.)
#[tokio::test]
async fn a_session_is_not_called_before_its_answer() {
    let (sender, receipt) = Receipt::pair();
    let position = Position { epoch: Epoch::random(), offset: Offset(7) };
    let command = move |context: &mut SessionContext<'_>| matches!(context.received(&receipt, false), Poll::Ready(Ok(_)));
    assert_eq!(calls(command, &mut Bench::new(), || sender.send(Ok(position))).await, [1, 2]);
}

/// A session that waits for room in the engine is called once when its socket arrives, and once more when there is
/// room.
#[tokio::test]
async fn a_session_is_not_called_before_there_is_room() {
    let (mut bench, engine) = (Bench::new(), Arc::new(Full::default()));
    bench.state().env.hub().set_engine(Arc::clone(&engine) as Arc<dyn Engine>);
    let command = |context: &mut SessionContext<'_>| {
        let (payload, source) = (&b"1"[..], PublishSource::Session);
        let publication = Publication::new(payload, PayloadKind::Json, source);
        matches!(context.publish(&name("c.a"), &publication), Poll::Ready(Ok(_)))
    };
    assert_eq!(calls(command, &mut bench, || engine.empty()).await, [1, 2]);
}

/// An engine that has no room until it is emptied.
#[derive(Default)]
struct Full {
    emptied: Mutex<bool>,
    publishers: Mutex<Vec<Waker>>,
}

impl Full {
    fn empty(&self) {
        *self.emptied.lock() = true;
        self.publishers.lock().drain(..).for_each(Waker::wake);
    }
}

impl Engine for Full {
    fn accepts(&self, _: &TopicName) -> Option<bool> {
        Some(true)
    }
    fn publish(&self, _: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
        Some(Ok(if *self.emptied.lock() { EngineAttempt::Awaited(Receipt::pair().1) } else { EngineAttempt::NoRoom }))
    }
    fn when_room(&self, waker: &Waker) {
        self.publishers.lock().push(waker.clone());
    }
    fn forget(&self, _: &Waker) {}
}
