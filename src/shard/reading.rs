//! The reading side of one session: its reader, and the bytes that the reader could not use yet.

use std::net::IpAddr;

use super::input::{Input, Inputs};
use super::reader::Reader;
use super::slot::InputWait;
use crate::config::Limits;

/// The reader of one session and its unused input.
pub struct Reading {
    /// The session's reader; `None` while it is being called.
    pub reader: Option<Box<dyn Reader>>,
    /// Bytes that were read from the socket and that the reader has not used yet.
    pub unread: Vec<u8>,
    /// What a pending command waits for. The reader is called again even without new input, and the socket is not read
    /// until then.
    pub waits: InputWait,
    /// The session waits for an answer of its engine. The reader is called again even without new input, and the socket
    /// is read meanwhile.
    pub awaits: bool,
    /// The bytes of this input in the shard's [`Inputs`].
    input: Input,
}

impl Reading {
    /// The reading side of a session whose socket was not read yet.
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader: Some(reader), unread: Vec::new(), waits: InputWait::Nothing, awaits: false, input: Input::default() }
    }

    /// Updates the count of the session's input. Returns `false` if the sessions of `address` would hold more
    /// unfinished bytes than `limits` allow.
    pub fn count(&mut self, inputs: &mut Inputs, address: IpAddr, limits: &Limits) -> bool {
        let held = self.reader.as_ref().map(|reader| reader.held()).unwrap_or_default();
        inputs.count(&mut self.input, held, self.unread.capacity(), address, limits)
    }

    /// Takes the session's input out of `inputs`. Returns the session's reader.
    pub fn end(self, inputs: &mut Inputs) -> Option<Box<dyn Reader>> {
        inputs.forget(&self.input);
        self.reader
    }
}
