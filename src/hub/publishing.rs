//! Publishing: into a topic of this gateway, or to the engine of the topic's stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::message::Publication;
use super::outlet::Outlet;
use super::refusal::PublishError;
use super::stream::{Engine, EngineAttempt, Receipt, Submitted};
use super::topic::{Published, Topic};
use super::topics::Topics;
use crate::position::Position;
use crate::topic_name::TopicName;

/// The outcome of an attempt to publish.
pub enum Attempt {
    /// The message has this position.
    Published(Position),
    /// This outlet has no room; no offset was assigned. The publisher tries again once [`Outlet::when_room`] has woken it.
    NoRoom(Arc<dyn Outlet>),
    /// The engine of the topic's stream accepted the message. The receipt will have its position.
    Awaited(Receipt),
    /// The engine has no room; nothing was published. The publisher tries again once [`Engine::when_room`] has woken it.
    EngineFull(Arc<dyn Engine>),
}

/// A publisher that waits for room as long as `waker` is there. It is forgotten by `forget` if it gives up.
struct WaitingPublisher<F: Fn(&Waker)> {
    forget: F,
    waker: Option<Waker>,
}

impl<F: Fn(&Waker)> Drop for WaitingPublisher<F> {
    fn drop(&mut self) {
        self.waker.iter().for_each(&self.forget);
    }
}

/// Submits `publication` once there is room for it. `forget` is called with the publisher if it gives up.
pub async fn submit(
    topics: &Topics,
    name: &TopicName,
    publication: Publication<'_>,
    forget: impl Fn(&Waker),
) -> Result<Submitted, PublishError> {
    let mut waiting = WaitingPublisher { forget, waker: None };
    let submitted = poll_fn(|context| {
        let submitted = poll_submit(topics, name, &publication, context.waker());
        match submitted {
            Poll::Pending => waiting.waker = Some(context.waker().clone()),
            Poll::Ready(Ok(_)) => waiting.waker = None,
            Poll::Ready(Err(_)) => {} // it may have waited, and is forgotten
        }
        submitted
    });
    submitted.await
}

/// Submits `publication`. Pending: `publisher` is woken once there is room.
pub fn poll_submit(
    topics: &Topics,
    name: &TopicName,
    publication: &Publication<'_>,
    publisher: &Waker,
) -> Poll<Result<Submitted, PublishError>> {
    match try_publish(topics, name, publication, publisher) {
        Ok(Attempt::Published(position)) => return Poll::Ready(Ok(Submitted::Published(position))),
        Ok(Attempt::Awaited(receipt)) => return Poll::Ready(Ok(Submitted::Awaited(receipt))),
        Ok(Attempt::NoRoom(outlet)) => outlet.when_room(publisher),
        Ok(Attempt::EngineFull(engine)) => engine.when_room(publisher),
        Err(error) => {
            // It may have waited for a stream that is not followed any more.
            topics.engine().into_iter().for_each(|engine| engine.forget(publisher));
            return Poll::Ready(Err(error));
        }
    }
    Poll::Pending
}

/// Tries to publish, without waiting.
pub fn try_publish(topics: &Topics, name: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Result<Attempt, PublishError> {
    if let Some(attempt) = try_engine(topics, name, publication, publisher) {
        return attempt;
    }
    let publish = |topic: &Topic| topic.publish(publication, publisher, topics.live(), topics.clock());
    Ok(match topics.deliver(name, publication.payer, publish)? {
        Published::NoRoom(outlet) => Attempt::NoRoom(outlet),
        Published::At(position, rule, _) => {
            topics.metrics().published(rule, publication.source);
            Attempt::Published(position)
        }
    })
}

/// Submits a publication to the engine; `None`: no stream has the topic. If the engine accepts publications, a new topic is made before its
/// message is read from the stream, so that the limits of topics hold for it and its publisher is the payer.
fn try_engine(
    topics: &Topics,
    name: &TopicName,
    publication: &Publication<'_>,
    publisher: &Waker,
) -> Option<Result<Attempt, PublishError>> {
    let engine = topics.engine()?;
    if engine.accepts(name)?
        && let Err(error) = topics.open(name, publication.payer)
    {
        return Some(Err(error.into()));
    }
    Some(engine.publish(name, publication, publisher)?.map(|attempt| match attempt {
        EngineAttempt::Awaited(receipt) => Attempt::Awaited(receipt),
        EngineAttempt::NoRoom => Attempt::EngineFull(Arc::clone(engine)),
    }))
}
