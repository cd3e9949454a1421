//! Why the gateway did not start.

use std::io;

use crate::cluster::ClusterError;
use crate::config::{self, ListenAddress};
use crate::store::FolderError;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum StartError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't listen on {address} ({key}): {}", remedy(.address, .cause))]
    Listen {
        key: &'static str,
        address: ListenAddress,
        /// The cause, whose remedy is in the text.
        cause: io::Error,
    },
    #[error("no socket was passed on for {address} ({key}); start the gateway by a socket unit, with FileDescriptorName= for a name")]
    NotPassed { key: &'static str, address: ListenAddress },
    #[error("a listening socket can't be registered with the runtime")]
    Accept(#[source] io::Error),
    #[error(transparent)]
    Config(#[from] config::Problem),
    #[error("{}", joined(.0))]
    Feeds(Vec<config::Problem>),
    #[error("the shards' threads could not be started")]
    Shards(#[source] io::Error),
    #[error(transparent)]
    Store(#[from] FolderError),
}

fn remedy(address: &ListenAddress, error: &io::Error) -> String {
    if let ListenAddress::Unix(_) = address {
        return unix_remedy(error);
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use; stop what listens there, or choose another (port 0 picks a free one)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 means all that it has".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need privileges, choose a higher one".to_owned(),
        _ => error.to_string(),
    }
}

fn unix_remedy(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; stop it, or choose another path".to_owned(),
        io::ErrorKind::AlreadyExists => "a file is there that is no socket; remove it, or choose another path".to_owned(),
        io::ErrorKind::NotFound => "its folder is not there; make it, as RuntimeDirectory= in a unit does".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; the gateway's user must own the socket and may write to its folder".to_owned(),
        _ => error.to_string(),
    }
}

fn joined(problems: &[config::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
