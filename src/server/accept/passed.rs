//! Sockets that a supervisor opened and passed on as it started the process (`LISTEN_FDS`, sd_listen_fds(3)).

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// Listening sockets that were passed on, each with its name, and not yet taken.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<(String, OwnedFd)>);

impl PassedSockets {
    /// Takes those of this process. Called once, before there are threads: the variables are removed, so that no child takes
    /// the sockets for its own.
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

    /// Those of this name; `None`: all that are left.
    pub fn named(&mut self, name: Option<&str>) -> Vec<OwnedFd> {
        let taken = self.0.extract_if(.., |(own, _)| name.is_none_or(|name| name == own));
        taken.map(|(_, socket)| socket).collect()
    }

    /// The names of those that nobody has taken.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Named ones are taken by their name, in their order; the rest goes to whoever asks for no name.
    #[test]
    fn each_is_taken_once() {
        let socket = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let mut sockets = PassedSockets(["a", "b", "a", "c"].map(|name| (name.to_owned(), socket())).into());
        assert_eq!(sockets.named(Some("a")).len(), 2);
        assert_eq!(sockets.named(Some("a")).len(), 0);
        assert_eq!(sockets.left().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(sockets.named(None).len(), 2);
        assert_eq!(sockets.left().count(), 0);
    }
}
