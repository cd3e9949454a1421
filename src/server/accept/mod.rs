//! Listening sockets, and connections before their first bytes.

mod accepted;
mod acceptor;
mod bound;
mod descriptors;
mod listener;
mod passed;
mod proxy_header;
mod reserve_descriptor;
mod socket_file;

pub use acceptor::Acceptor;
pub use bound::{Bound, ListenerSettings, bind_all};
pub use descriptors::raise as raise_open_files;
pub use listener::Listener;
pub use passed::PassedSockets;
pub use proxy_header::{ProxyHeader, ProxyHeaderError, read_proxy_header};
pub use socket_file::SocketFile;
