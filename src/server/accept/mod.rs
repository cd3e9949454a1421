//! Listening sockets, and what becomes of each connection before its first bytes.

mod accepted;
mod descriptors;
mod listener;
mod reserve_descriptor;

pub use descriptors::raise as raise_open_files;
pub use listener::{Listener, bind};
