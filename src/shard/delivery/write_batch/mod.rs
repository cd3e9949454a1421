//! The write batch: the frames that sessions are owed, the bytes of one write, and what clients can refer to behind it.

mod batch;
mod chain_bytes;
mod client_window;
mod window_use;

#[cfg(test)]
pub use batch::LINKS_MAX;
pub use batch::{Chain, FrameNumber, LinkedFrame, WriteBatch};
pub use chain_bytes::{ChainBytes, ClientState};
pub use client_window::ClientWindow;
#[cfg(test)]
pub use client_window::PLANTED;
