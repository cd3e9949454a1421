//! Sessions whose commands wait for a waker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::bench::{Bench, HEAD};
use super::name;
use crate::frame::Inflater;
use crate::hub::{Engine, Handed, PayloadKind, PresenceChange, Publication, PublishError, Receipt};
use crate::metrics::PublishSource;
use crate::position::{Epoch, Offset, Position};
use crate::shard::answer::Answer;
use crate::shard::context::SessionContext;
use crate::shard::reader::Reader;
use crate::topic_name::TopicName;

/// Has one command, which it tries whenever it is called until that is done.
struct Trying<F> {
    command: F,
    done: bool,
    calls: Arc<AtomicUsize>,
}

impl<F: FnMut(&mut SessionContext<'_>) -> bool + Send> Reader for Trying<F> {
    fn open(&mut self, context: &mut SessionContext<'_>) {
        self.done = (self.command)(context);
    }
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.done = self.done || (self.command)(context);
        if self.done { input.len() } else { 0 }
    }
    fn deadline(&mut self, _: &mut SessionContext<'_>) {}
    fn reload(&mut self, _: &mut SessionContext<'_>) {}
    fn user(&self) -> Option<Arc<str>> {
        None
    }
}

/// How often a session with `command` is called in 50 ticks, and then in all after 50 more that `woken` came before.
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

/// A session that awaits an answer of the engine and reads nothing before it is called once its socket is there, and once more when the
/// answer is. (It was called in each tick, and the shard span for as long.)
#[tokio::test]
async fn who_awaits_an_answer_is_not_looked_at_before() {
    let (answerer, receipt) = Receipt::pair();
    let position = Position { epoch: Epoch::random(), offset: Offset(7) };
    let command = move |context: &mut SessionContext<'_>| matches!(context.received(&receipt, false), Answer::Ready(Ok(_)));
    assert_eq!(calls(command, &mut Bench::new(), || answerer.answer(Ok(position))).await, [1, 2]);
}

/// The same for one that waits for room in the engine.
#[tokio::test]
async fn who_waits_for_room_is_not_looked_at_before() {
    let (mut bench, engine) = (Bench::new(), Arc::new(Full::default()));
    bench.state().env.hub().set_engine(Arc::clone(&engine) as Arc<dyn Engine>);
    let command = |context: &mut SessionContext<'_>| {
        let (payload, source) = (&b"1"[..], PublishSource::Session);
        let publication = Publication::new(payload, PayloadKind::Json, source);
        matches!(context.publish(&name("c.a"), &publication), Answer::Ready(Ok(_)))
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
    fn publish(&self, _: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<Handed, PublishError>> {
        Some(Ok(if *self.emptied.lock() { Handed::Awaited(Receipt::pair().1) } else { Handed::NoRoom }))
    }
    fn when_room(&self, waker: &Waker) {
        self.publishers.lock().push(waker.clone());
    }
    fn forget(&self, _: &Waker) {}
    fn presence(&self, _: &Arc<PresenceChange>) {}
    fn unready(&self) -> Option<String> {
        None
    }
    fn is_loading(&self) -> bool {
        false
    }
}
