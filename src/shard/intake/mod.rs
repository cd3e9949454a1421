//! Intake: what comes into a shard: messages and controls through its inbox, connections, new sessions.

mod control;
mod inbox;
mod new_session;
mod pending_handshakes;
mod publisher_queue;

pub use control::Control;
pub use inbox::{Inbox, Item};
pub use new_session::{Admitted, Arrived, HandshakeHandler, NewSession, PendingConnection, SessionView};
pub use pending_handshakes::PendingHandshakes;
