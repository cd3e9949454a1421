//! The publishes of one session that are not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

use crate::hub::{Extra, PayloadKind, Publication, PublishError, Receipt, Submitted};
use crate::metrics::PublishSource;
use crate::position::Position;
use crate::session_id::SessionId;
use crate::shard::SessionContext;
use crate::topic_name::TopicName;

/// The most publishes of one session that may wait for answers. At this number the session reads no more input.
const PUBLISHES_MAX: usize = 128;

/// The most bytes of one session that may be kept for answers.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// A queue of publishes. They are answered in their order, whichever the engine answers first. `P` is the data that an answer needs.
///
/// Each publish keeps its own receipt, so that no answer can be taken for that of another publish. An empty queue allocates nothing.
pub struct Publishes<P>(Option<Box<Queue<P>>>);

struct Queue<P> {
    /// Publishes that an engine accepted, and later ones, which may have their answers already.
    submitted: VecDeque<Submission<P>>,
    /// The last publish, while the hub has no room for it. No later publish is submitted before it.
    unsubmitted: Option<(Unsubmitted, AnswerData<P>)>,
    /// The bytes that `submitted` keeps for answers.
    bytes: usize,
}

struct Submission<P> {
    receipt: Receipt,
    about: AnswerData<P>,
}

/// The data that an answer needs, and its size in bytes.
struct AnswerData<P>(P, usize);

/// A publication that waits for room. It owns its payload.
struct Unsubmitted {
    topic: TopicName,
    payload: Box<[u8]>,
    kind: PayloadKind,
    except: Option<SessionId>,
    extra: Option<Arc<Extra>>,
}

impl Unsubmitted {
    fn new(topic: &TopicName, publication: &Publication<'_>) -> Self {
        let Publication { payload, kind, except, extra, .. } = *publication;
        Self { topic: topic.clone(), payload: payload.into(), kind, except, extra: extra.cloned() }
    }

    fn publication(&self) -> Publication<'_> {
        let Self { payload, kind, except, extra, .. } = self;
        Publication { except: *except, extra: extra.as_ref(), ..Publication::new(payload, *kind, PublishSource::Session) }
    }
}

impl<P> Default for Publishes<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> Publishes<P> {
    /// Publishes. Pending: [`Publishes::next_answer`] returns the answer later, with the value of `about`, which takes `bytes` of memory.
    pub fn publish(
        &mut self,
        topic: &TopicName,
        publication: &Publication<'_>,
        about: impl FnOnce() -> P,
        bytes: usize,
        context: &mut SessionContext<'_>,
    ) -> Poll<Result<Position, PublishError>> {
        let Poll::Ready(submitted) = context.publish(topic, publication) else {
            self.queue().unsubmitted = Some((Unsubmitted::new(topic, publication), AnswerData(about(), bytes)));
            return Poll::Pending;
        };
        let receipt = match outcome(submitted) {
            Ok(outcome) if self.0.is_none() => return Poll::Ready(outcome),
            behind_others => behind_others.map_or_else(|receipt| receipt, Receipt::answered),
        };
        self.queue().push(receipt, AnswerData(about(), bytes));
        Poll::Pending
    }

    /// Submits the publication that found no room, if there is room now.
    pub fn submit_waiting(&mut self, context: &mut SessionContext<'_>) {
        let Some((unsubmitted, about)) = self.0.as_mut().and_then(|queue| queue.unsubmitted.take()) else { return };
        match context.publish(&unsubmitted.topic, &unsubmitted.publication()) {
            Poll::Pending => self.queue().unsubmitted = Some((unsubmitted, about)),
            Poll::Ready(submitted) => {
                let receipt = outcome(submitted).map_or_else(|receipt| receipt, Receipt::answered);
                self.queue().push(receipt, about);
            }
        }
    }

    /// The next publish whose answer is ready, in the order of publishes. `None`: the session is called again once there is one.
    pub fn next_answer(&mut self, context: &mut SessionContext<'_>) -> Option<(P, Result<Position, PublishError>)> {
        let keeps_reading = self.has_room();
        let queue = self.0.as_mut()?;
        let Poll::Ready(answer) = context.received(&queue.submitted.front()?.receipt, keeps_reading) else { return None };
        let Submission { about: AnswerData(about, bytes), .. } = queue.submitted.pop_front()?;
        queue.bytes -= bytes;
        if queue.submitted.is_empty() && queue.unsubmitted.is_none() {
            self.0 = None;
        }
        Some((about, answer))
    }

    /// Whether another command may be executed.
    pub fn has_room(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|queue| queue.unsubmitted.is_none() && queue.submitted.len() < PUBLISHES_MAX && queue.bytes < ANSWERS_BYTES_MAX)
    }

    /// The approximate memory of the queue, in bytes.
    pub fn bytes(&self) -> usize {
        let of_unsubmitted = |(unsubmitted, AnswerData(_, bytes)): &(Unsubmitted, AnswerData<P>)| {
            size_of::<Unsubmitted>() + unsubmitted.payload.len() + bytes
        };
        self.0.as_ref().map_or(0, |queue| queue.bytes + queue.unsubmitted.as_ref().map_or(0, of_unsubmitted))
    }

    fn queue(&mut self) -> &mut Queue<P> {
        self.0.get_or_insert_with(|| Box::new(Queue { submitted: VecDeque::new(), unsubmitted: None, bytes: 0 }))
    }
}

impl<P> Queue<P> {
    fn push(&mut self, receipt: Receipt, about: AnswerData<P>) {
        self.bytes += about.1;
        self.submitted.push_back(Submission { receipt, about });
    }
}

/// The result of a publication, or the receipt that will have it.
fn outcome(submitted: Result<Submitted, PublishError>) -> Result<Result<Position, PublishError>, Receipt> {
    match submitted {
        Ok(Submitted::Awaited(receipt)) => Err(receipt),
        Ok(Submitted::Published(position)) => Ok(Ok(position)),
        Err(error) => Ok(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use std::task::Waker;

    use super::*;
    use crate::hub::{AnswerSender, Engine, EngineAttempt};
    use crate::position::{Epoch, Offset};
    use crate::shard::tests::bench::Bench;
    use crate::shard::tests::name;

    /// An engine for the topics `s.>`. The test decides when it answers and how many publications it accepts.
    #[derive(Default)]
    struct Slow(Mutex<(Vec<AnswerSender>, usize)>);

    impl Slow {
        fn allow(&self, publications: usize) {
            self.0.lock().1 += publications;
        }

        /// Answers the publication with this index among those that are not answered yet.
        fn answer(&self, index: usize, offset: u64) {
            self.0.lock().0.remove(index).send(Ok(at(offset)));
        }
    }

    impl Engine for Slow {
        fn accepts(&self, topic: &TopicName) -> Option<bool> {
            topic.as_str().starts_with("s.").then_some(true)
        }
        fn publish(&self, topic: &TopicName, _: &Publication<'_>, _: &Waker) -> Option<Result<EngineAttempt, PublishError>> {
            let mut state = self.0.lock();
            if !topic.as_str().starts_with("s.") {
                return None;
            }
            if state.1 == 0 {
                return Some(Ok(EngineAttempt::NoRoom));
            }
            state.1 -= 1;
            let (sender, receipt) = Receipt::pair();
            state.0.push(sender);
            Some(Ok(EngineAttempt::Awaited(receipt)))
        }
        fn when_room(&self, _: &Waker) {}
        fn forget(&self, _: &Waker) {}
    }

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::random(), offset: Offset(offset) }
    }

    fn publish(publishes: &mut Publishes<u32>, topic: &str, id: u32, bench: &mut Bench) -> Option<u64> {
        let publication = Publication::new(b"1", PayloadKind::Json, PublishSource::Session);
        match publishes.publish(&name(topic), &publication, || id, 1, &mut bench.context()) {
            Poll::Ready(published) => Some(published.unwrap().offset.0),
            Poll::Pending => None,
        }
    }

    /// The answers that are ready: `id`s and offsets.
    fn answers(publishes: &mut Publishes<u32>, bench: &mut Bench) -> Vec<(u32, u64)> {
        let mut context = bench.context();
        std::iter::from_fn(|| publishes.next_answer(&mut context)).map(|(id, published)| (id, published.unwrap().offset.0)).collect()
    }

    fn bench() -> (Bench, Arc<Slow>, Publishes<u32>) {
        let (mut bench, engine) = (Bench::new(), Arc::<Slow>::default());
        bench.state().env.hub().set_engine(Arc::clone(&engine) as Arc<dyn Engine>);
        (bench, engine, Publishes::default())
    }

    /// PROTOCOL 13: a session is answered in the order of its publishes, whichever the engine answers first. This includes publishes to
    /// topics without an engine.
    #[test]
    fn answers_keep_the_order_of_publishes() {
        let (mut bench, engine, mut publishes) = bench();
        assert_eq!(publish(&mut publishes, "h.1", 1, &mut bench), Some(1), "no earlier publish waits");
        engine.allow(2);
        assert_eq!(publish(&mut publishes, "s.1", 2, &mut bench), None);
        assert_eq!(publish(&mut publishes, "s.1", 3, &mut bench), None);
        assert_eq!(publish(&mut publishes, "h.1", 4, &mut bench), None, "earlier publishes have no answer yet");
        engine.answer(1, 8);
        assert_eq!(answers(&mut publishes, &mut bench), []);
        assert!(publishes.has_room(), "publishes do not wait for earlier answers");
        engine.answer(0, 7);
        assert_eq!(answers(&mut publishes, &mut bench), [(2, 7), (3, 8), (4, 2)]);
        assert_eq!(publishes.bytes(), 0);
    }

    /// A publication that finds no room is kept and submitted later, before any that follows.
    #[test]
    fn a_publication_without_room_is_submitted_later() {
        let (mut bench, engine, mut publishes) = bench();
        engine.allow(1);
        assert_eq!(publish(&mut publishes, "s.1", 1, &mut bench), None);
        assert_eq!(publish(&mut publishes, "s.1", 2, &mut bench), None);
        assert!(!publishes.has_room() && publishes.bytes() > 1);
        publishes.submit_waiting(&mut bench.context());
        assert!(!publishes.has_room(), "the engine has no room yet");
        engine.allow(1);
        publishes.submit_waiting(&mut bench.context());
        assert!(publishes.has_room());
        engine.answer(1, 2);
        engine.answer(0, 1);
        assert_eq!(answers(&mut publishes, &mut bench), [(1, 1), (2, 2)]);
        assert_eq!(publishes.bytes(), 0);
    }
}
