//! The connection of a session: its slot, its socket, its stage, its signs of life.

mod by_slot;
mod connection;
mod liveness;
mod ready;
mod socket;
mod table;

pub use by_slot::BySlot;
pub use connection::{Connection, InputWait, LINGER};
pub use liveness::Finding;
pub use ready::{ReadyList, SlotWaker};
#[cfg(test)]
pub use socket::Metered;
pub use socket::{Socket, Stream};
pub use table::Table;
