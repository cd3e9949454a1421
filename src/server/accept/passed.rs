//! Listening sockets that the supervisor opened and passed to this process (`LISTEN_FDS`, sd_listen_fds(3)).

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// The passed sockets that no listener has taken yet, each with its name.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<(String, OwnedFd)>);

impl PassedSockets {
    /// Takes the sockets that were passed to this process. Must be called once, before there are threads: the
    /// environment variables are removed, so that no child process uses the sockets.
    pub fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let socket = match passed.take_tcp_listener(index) {
                Ok(socket) => socket.map(OwnedFd::from),
                Err(_) => passed.take_unix_listener(index)?.map(OwnedFd::from),
            };
            let Some(socket) = socket else { continue };
            if !socket_acceptconn(&socket)? {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("socket {index} does not listen")));
            }
            sockets.push((names.next().unwrap_or_default().to_owned(), socket));
        }
        Ok(Self(sockets))
    }

    /// Removes the sockets of this name; for `None`, all remaining sockets.
    pub fn named(&mut self, name: Option<&str>) -> Vec<OwnedFd> {
        let taken = self.0.extract_if(.., |(own, _)| name.is_none_or(|name| name == own));
        taken.map(|(_, socket)| socket).collect()
    }

    /// The names of the sockets that no listener has taken.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call with a name returns the sockets of that name in their order. A call without a name returns the rest.
    #[test]
    fn each_passed_socket_is_returned_once() {
        let socket = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let mut sockets = PassedSockets(["a", "b", "a", "c"].map(|name| (name.to_owned(), socket())).into());
        assert_eq!(sockets.named(Some("a")).len(), 2);
        assert_eq!(sockets.named(Some("a")).len(), 0);
        assert_eq!(sockets.left().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(sockets.named(None).len(), 2);
        assert_eq!(sockets.left().count(), 0);
    }
}
