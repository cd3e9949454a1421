//! What goes over the socket: frame heads, the upgrade, and what each dialect says.

pub mod dialect;
pub mod head;
pub mod inflate;
pub mod upgrade;

pub use dialect::{Dialect, Said};
pub use head::{Head, Opcode};
pub use inflate::Inflater;
