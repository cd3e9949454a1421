//! The reading sides of a shard's sessions: the reader of each, and the bytes that the reader could not use yet.

use std::net::IpAddr;

use foldhash::HashMap;

use crate::config::Limits;
use crate::session_id::SessionSecret;
use crate::shard::env::{InputAccount, SessionInput};
use crate::shard::reader::Reader;
use crate::shard::slot::{InputWait, SlotMap};
use crate::shard::unused_input::UnusedInput;

/// The reader of one session and its unused input.
pub struct Reading {
    /// The session's reader; `None` while it is being called.
    pub reader: Option<Box<dyn Reader>>,
    /// Bytes that were read from the socket and that the reader has not used yet.
    pub unread: UnusedInput,
    /// The generation of the configuration that the reader follows.
    pub generation: u32,
    /// What a pending command waits for. The reader is called again even without new input, and the socket is not read
    /// until then.
    pub waits: InputWait,
    /// The session waits for an answer of its engine. The reader is called again even without new input, and the socket
    /// is read meanwhile.
    pub awaits_engine: bool,
    /// The bytes of this input in the shard's [`InputAccount`].
    input: SessionInput,
}

/// The reading sides of a shard's open sessions, by slot.
pub struct Readings {
    by_slot: SlotMap<Reading>,
    /// The slots of sessions whose commands come in separate HTTP requests, by the secret that these requests carry.
    secrets: HashMap<SessionSecret, u32>,
    /// The sizes of the input that sessions hold.
    inputs: InputAccount,
}

impl Readings {
    /// No sessions. Their input will be counted in `inputs`.
    pub fn new(inputs: InputAccount) -> Self {
        Self { by_slot: SlotMap::default(), secrets: HashMap::default(), inputs }
    }

    /// Begins a session in `slot`, under the configuration of this `generation`.
    pub fn open(&mut self, slot: u32, reader: Box<dyn Reader>, generation: u32) {
        reader.secret().into_iter().for_each(|secret| _ = self.secrets.insert(secret, slot));
        self.by_slot.put(slot, Reading::new(reader, generation));
    }

    /// Drops the reading side of the session in `slot`, which closes.
    pub fn end(&mut self, slot: u32) {
        let Some(Reading { reader, input, .. }) = self.by_slot.take(slot) else { return };
        self.inputs.forget(&input);
        reader.and_then(|reader| reader.secret()).into_iter().for_each(|secret| _ = self.secrets.remove(&secret));
    }

    /// The reading side of the session in `slot`.
    pub fn get(&self, slot: u32) -> Option<&Reading> {
        self.by_slot.get(slot)
    }

    /// The reading side of the session in `slot`.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Reading> {
        self.by_slot.get_mut(slot)
    }

    /// The slot of the session whose HTTP requests carry `secret`.
    pub fn slot_of(&self, secret: SessionSecret) -> Option<u32> {
        self.secrets.get(&secret).copied()
    }

    /// Updates the count of the input of the session in `slot`. Returns `false` if the sessions of `address` would hold
    /// more unfinished bytes than `limits` allow.
    pub fn count(&mut self, slot: u32, address: IpAddr, limits: &Limits) -> bool {
        let Some(reading) = self.by_slot.get_mut(slot) else { return true };
        let held = reading.reader.as_ref().map(|reader| reader.held()).unwrap_or_default();
        self.inputs.count(&mut reading.input, held, reading.unread.held_bytes(), address, limits)
    }

    /// The bytes of input that all sessions hold.
    pub fn input_bytes(&self) -> usize {
        self.inputs.bytes()
    }
}

impl Reading {
    /// The reading side of a session whose socket was not read yet.
    fn new(reader: Box<dyn Reader>, generation: u32) -> Self {
        let (unread, waits, input) = (UnusedInput::default(), InputWait::Nothing, SessionInput::default());
        Self { reader: Some(reader), unread, generation, waits, awaits_engine: false, input }
    }
}
