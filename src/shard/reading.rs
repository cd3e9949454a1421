//! One session's reading side: its reader, and what that could not use yet.

use std::net::IpAddr;

use super::input::{Input, Inputs};
use super::reader::Reader;
use super::slot::InputWait;
use crate::config::Limits;

/// What reads and decides for one session.
pub struct Reading {
    /// Decides for it; absent while it is being called.
    pub reader: Option<Box<dyn Reader>>,
    /// What was read and can't be acted on yet.
    pub unread: Vec<u8>,
    /// What a command waits for: its reader is to be called, input or not, and nothing more is read before.
    pub waits: InputWait,
    /// Its reader is to be called, input or not: it is owed an answer, and is read on.
    pub awaits: bool,
    /// What all of this takes, as it is counted.
    input: Input,
}

impl Reading {
    /// Nothing was read yet.
    pub fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader: Some(reader), unread: Vec::new(), waits: InputWait::Nothing, awaits: false, input: Input::default() }
    }

    /// Counts what its session, which comes from `address`, has sent and is not done yet; `false`: of what is unfinished its address would
    /// hold too much.
    pub fn count(&mut self, inputs: &mut Inputs, address: IpAddr, limits: &Limits) -> bool {
        let held = self.reader.as_ref().map(|reader| reader.held()).unwrap_or_default();
        inputs.count(&mut self.input, held, self.unread.capacity(), address, limits)
    }

    /// The session has ended; its reader.
    pub fn end(self, inputs: &mut Inputs) -> Option<Box<dyn Reader>> {
        inputs.forget(&self.input);
        self.reader
    }
}
