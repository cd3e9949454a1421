//! The connection of a session: its slot, its socket, its stage, its signs of life.

mod connection;
mod liveness;
mod ready;
mod slot_map;
mod socket;
mod table;
mod turns;

pub use connection::{Connection, InputWait, LINGER};
pub use liveness::Finding;
pub use ready::{ReadyList, SlotWaker};
pub use slot_map::SlotMap;
#[cfg(test)]
pub use socket::Metered;
pub use socket::{Socket, Stream};
pub use table::Table;
#[cfg(test)]
pub use turns::TIME_PER_TICK;
