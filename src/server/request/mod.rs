//! The parts of an HTTP request: head, query, body, credential, origin, and client address.

mod body;
mod cors;
mod credentials;
mod first_head;
mod forwarded;
mod head;
mod host;
mod lines;
mod origin;
mod path;
mod query;

pub use body::{BodyError, read as read_body, refuse as refuse_body};
pub use cors::Cors;
pub use credentials::{Caller, credential, identify, not_allowed};
pub use first_head::{FIELDS_MAX, read as read_head, room as head_room};
pub use forwarded::{address as client_address, is_trusted as is_trusted_proxy};
pub use head::{Fields, Head};
pub use host::{is_own as is_own_host, name as host_name};
pub use lines::{BodyLines, Bounds, Line};
pub use path::topic_name;
pub use query::{Query, QueryError};
