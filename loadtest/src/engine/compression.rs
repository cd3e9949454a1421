//! permessage-deflate of one session: what it offers, what was agreed on, what it has inflated.

use crate::wire::inflate::BadDeflate;
use crate::wire::upgrade::Takeover;
use crate::wire::{Deflate, Inflater, Window};

/// One session's compression.
#[derive(Debug)]
pub(super) struct Compression {
    offer: Deflate,
    agreed: Deflate,
    /// What it has inflated, where messages may refer to that. Made when the first compressed message comes.
    window: Option<Box<Window>>,
}

/// The server lets messages refer to earlier ones, though asked not to.
#[derive(Debug, thiserror::Error)]
#[error("the server keeps its deflate window from message to message, though asked not to")]
pub(super) struct NotOffered;

impl Compression {
    pub(super) fn offering(offer: Deflate) -> Self {
        Self { offer, agreed: Deflate::Off, window: None }
    }

    /// The connection has ended: the next one begins with an empty window.
    pub(super) fn forget(&mut self) {
        *self = Self::offering(self.offer);
    }

    /// The server answered the offer.
    pub(super) fn agree(&mut self, answer: Option<Takeover>) -> Result<(), NotOffered> {
        self.agreed = match answer {
            None => Deflate::Off,
            Some(Takeover::No) => Deflate::Alone,
            Some(Takeover::Yes) if self.offer == Deflate::History => Deflate::History,
            Some(Takeover::Yes) => return Err(NotOffered),
        };
        Ok(())
    }

    /// Whether the server compresses as it was offered.
    pub(super) fn is_as_offered(&self) -> bool {
        self.agreed != Deflate::Off && self.agreed == self.offer
    }

    /// Inflates a message, by the memory of `inflater` that all sessions share.
    pub(super) fn inflate<'a>(&mut self, deflated: &[u8], inflater: &'a mut Inflater) -> Result<&'a [u8], BadDeflate> {
        match self.agreed {
            Deflate::History => inflater.inflate_in(self.window.get_or_insert_default(), deflated),
            Deflate::Alone | Deflate::Off => inflater.inflate(deflated),
        }
    }
}
