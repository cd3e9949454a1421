//! Why the gateway did not start.

use std::io;
use std::net::SocketAddr;

use super::connection::TlsError;
use crate::config;
use crate::store::FolderError;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be had.
    #[error("can't listen on {address} ({key}): {}", remedy(.source))]
    Listen {
        /// The key that names it.
        key: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No connection would be heard of.
    #[error("connections can't be waited for")]
    Accept(#[source] io::Error),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key can't be used.
    #[error(transparent)]
    Auth(#[from] config::Problem),
    /// A feed can't be started.
    #[error("{}", joined(.0))]
    Feeds(Vec<config::Problem>),
    /// The threads can't be had.
    #[error("the shards' threads could not be started")]
    Shards(#[source] io::Error),
    /// The folder of `[store]` can't be had.
    #[error(transparent)]
    Store(#[from] FolderError),
    /// Signals can't be heard.
    #[error("signals can't be listened for")]
    Signals(#[source] io::Error),
}

fn remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; stop what listens there, or choose another (port 0 picks a free one)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 means all that it has".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need privileges, choose a higher one".to_owned(),
        _ => error.to_string(),
    }
}

fn joined(problems: &[config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
