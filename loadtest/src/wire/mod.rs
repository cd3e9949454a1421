//! What goes over the socket: frame heads, the upgrade, what each dialect says, and publishing over HTTP.

mod centrifugo;
pub mod dialect;
pub mod head;
pub mod inflate;
pub mod post;
pub mod said;
pub mod upgrade;

pub use dialect::Dialect;
pub use head::{Head, Opcode};
pub use inflate::Inflater;
pub use said::{Said, Standing};
