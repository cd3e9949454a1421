//! Intake: the ways into a shard. Messages and control items come through its inbox, beside connections and new
//! sessions.

mod control;
mod inbox;
mod new_session;
mod pending_handshakes;
mod publisher_queue;

pub use control::Control;
pub use inbox::{Inbox, Item};
pub use new_session::{Admitted, Arrived, HandshakeHandler, NewSession, PendingConnection, SessionView};
pub use pending_handshakes::PendingHandshakes;
