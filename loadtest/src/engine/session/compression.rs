//! permessage-deflate of one session: the offer, the agreement, and the window.

use crate::wire::inflate::BadDeflate;
use crate::wire::{Deflate, Inflater, Window};

/// The compression of a session.
#[derive(Debug, Default)]
pub struct Compression {
    offer: Deflate,
    agreed: Deflate,
    /// The window, if messages may refer to earlier ones. It is allocated with the first compressed message.
    window: Option<Box<Window>>,
}

impl Compression {
    pub fn offering(offer: Deflate) -> Self {
        Self { offer, ..Self::default() }
    }

    /// Drops the window at the end of a connection.
    pub fn reset(&mut self) {
        *self = Self::offering(self.offer);
    }

    /// Notes the server's answer to the offer. The error is an answer that the offer excludes.
    pub fn agree(&mut self, answer: Deflate) -> Result<(), &'static str> {
        if answer == Deflate::History && self.offer != Deflate::History {
            return Err("the server keeps its deflate window from message to message, though asked not to");
        }
        self.agreed = answer;
        Ok(())
    }

    /// Whether the server compresses as offered.
    pub fn is_as_offered(&self) -> bool {
        self.agreed != Deflate::Off && self.agreed == self.offer
    }

    /// Inflates a message with `inflater`, which all sessions share.
    pub fn inflate<'a>(&mut self, deflated: &[u8], inflater: &'a mut Inflater) -> Result<&'a [u8], BadDeflate> {
        match self.agreed {
            Deflate::History => inflater.inflate_in(self.window.get_or_insert_default(), deflated),
            Deflate::Alone | Deflate::Off => inflater.inflate(deflated),
        }
    }
}
