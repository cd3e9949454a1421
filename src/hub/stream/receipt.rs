//! Receipts: the later answers to publications that an engine accepted.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::hub::refusal::PublishError;
use crate::position::Position;

/// The publisher's end of one answer.
#[derive(Debug, Clone)]
pub struct Receipt(Arc<Mutex<State>>);

/// The engine's end of one answer. A sender that is dropped sends [`PublishError::Unavailable`].
#[derive(Debug)]
pub struct AnswerSender(Receipt);

/// A publication that was accepted.
#[derive(Debug)]
pub enum Submitted {
    /// The message has this position.
    Published(Position),
    /// An engine accepted the message, and the receipt will have its position.
    Awaited(Receipt),
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Result<Position, PublishError>>,
    waker: Option<Waker>,
}

impl Receipt {
    /// Both ends of one answer.
    pub fn pair() -> (AnswerSender, Self) {
        let receipt = Self(Arc::default());
        (AnswerSender(receipt.clone()), receipt)
    }

    /// A receipt that has its answer.
    pub fn answered(answer: Result<Position, PublishError>) -> Self {
        Self(Arc::new(Mutex::new(State { answer: Some(answer), waker: None })))
    }

    /// The answer. Pending: `waker` is woken once there is one.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Position, PublishError>> {
        let mut state = self.0.lock();
        if let Some(answer) = &state.answer {
            return Poll::Ready(answer.clone());
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }

    /// Waits for the answer.
    pub async fn answer(&self) -> Result<Position, PublishError> {
        poll_fn(|context| self.poll(context.waker())).await
    }
}

impl AnswerSender {
    /// Sets the answer and wakes the publisher.
    pub fn send(self, answer: Result<Position, PublishError>) {
        self.0.0.lock().answer = Some(answer); // the publisher is woken when `self` is dropped
    }
}

impl Drop for AnswerSender {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.answer.get_or_insert(Err(PublishError::Unavailable("the connection to the cluster ended")));
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 13: a publisher gets an answer even if the engine fails.
    #[test]
    fn a_receipt_of_a_dropped_sender_is_answered() {
        let (sender, receipt) = Receipt::pair();
        assert!(receipt.poll(Waker::noop()).is_pending());
        drop(sender);
        let Poll::Ready(Err(PublishError::Unavailable(_))) = receipt.poll(Waker::noop()) else { panic!("the receipt has no answer") };
    }
}
