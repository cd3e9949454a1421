//! Publishing: into a topic of this gateway, or to the engine of the topic's stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::hub::Hub;
use super::message::Publication;
use super::outlet::Outlet;
use super::refusal::PublishError;
use super::stream::{Engine, EngineAttempt, Receipt, Submitted};
use super::topic::{Published, Topic};
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

/// A publisher that waits for room as long as `waker` is there. The hub forgets it if it gives up.
struct WaitingPublisher<'a> {
    hub: &'a Hub,
    waker: Option<Waker>,
}

impl Drop for WaitingPublisher<'_> {
    fn drop(&mut self) {
        self.waker.iter().for_each(|publisher| self.hub.forget_publisher(publisher));
    }
}

impl Hub {
    /// Gives `publication` its position and delivers it to every outlet with a subscriber. The future waits for room in all of these
    /// outlets before it assigns the offset. Feeds and HTTP publish so; a session calls [`Hub::poll_submit`].
    pub async fn publish(&self, topic: &TopicName, publication: Publication<'_>) -> Result<Position, PublishError> {
        match self.submit(topic, publication).await? {
            Submitted::Published(position) => Ok(position),
            Submitted::Awaited(receipt) => receipt.answer().await,
        }
    }

    /// Does what [`Hub::publish`] does, without waiting for an engine's answer. Later publishes of the caller keep their order behind this one.
    pub async fn submit(&self, name: &TopicName, publication: Publication<'_>) -> Result<Submitted, PublishError> {
        let mut waiting = WaitingPublisher { hub: self, waker: None };
        let submitted = poll_fn(|context| {
            let submitted = self.poll_submit(name, &publication, context.waker());
            match submitted {
                Poll::Pending => waiting.waker = Some(context.waker().clone()),
                Poll::Ready(Ok(_)) => waiting.waker = None,
                Poll::Ready(Err(_)) => {} // it may have waited, and is forgotten
            }
            submitted
        });
        submitted.await
    }

    /// Does what [`Hub::submit`] does. Pending: `publisher` is woken once there is room.
    pub fn poll_submit(&self, name: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Poll<Result<Submitted, PublishError>> {
        match self.try_publish(name, publication, publisher) {
            Ok(Attempt::Published(position)) => return Poll::Ready(Ok(Submitted::Published(position))),
            Ok(Attempt::Awaited(receipt)) => return Poll::Ready(Ok(Submitted::Awaited(receipt))),
            Ok(Attempt::NoRoom(outlet)) => outlet.when_room(publisher),
            Ok(Attempt::EngineFull(engine)) => engine.when_room(publisher),
            Err(error) => {
                // It may have waited for a stream that is not followed any more.
                self.engine().into_iter().for_each(|engine| engine.forget(publisher));
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    /// Forgets a publisher that waits for room and has gone: none that comes behind it is to wait for it.
    pub fn forget_publisher(&self, publisher: &Waker) {
        self.engine().iter().for_each(|engine| engine.forget(publisher));
        self.outlets.forget(publisher);
    }

    /// Tries to publish, without waiting. A full outlet or engine identifies the publisher by the waker `publisher`.
    pub fn try_publish(&self, name: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Result<Attempt, PublishError> {
        if let Some(attempt) = self.try_engine(name, publication, publisher) {
            return attempt;
        }
        let topics = &self.topics;
        let publish = |topic: &Topic| topic.publish(publication, publisher);
        Ok(match topics.deliver(name, publication.payer, publish)? {
            Published::NoRoom(outlet) => Attempt::NoRoom(outlet),
            Published::At { position, rule, .. } => {
                topics.metrics.published(rule, publication.source);
                Attempt::Published(position)
            }
        })
    }

    /// Submits a publication to the engine; `None`: no stream has the topic. If the engine accepts publications, a new topic is made before its
    /// message is read from the stream, so that the limits of topics hold for it and its publisher is the payer.
    fn try_engine(&self, name: &TopicName, publication: &Publication<'_>, publisher: &Waker) -> Option<Result<Attempt, PublishError>> {
        let engine = self.engine()?;
        if engine.accepts(name)?
            && let Err(error) = self.topics.open(name, publication.payer)
        {
            return Some(Err(error.into()));
        }
        Some(engine.publish(name, publication, publisher)?.map(|attempt| match attempt {
            EngineAttempt::Awaited(receipt) => Attempt::Awaited(receipt),
            EngineAttempt::NoRoom => Attempt::EngineFull(Arc::clone(engine)),
        }))
    }
}
