//! The supervisor that started the process, such as systemd: the sockets that it passed, and its notify socket
//! (sd_notify(3)).

use std::ffi::OsString;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};

use crate::server::accept::PassedSockets;

/// The supervisor, if there is one.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// The sockets that it passed.
    pub sockets: PassedSockets,
    /// Its notify socket.
    pub notifier: Notifier,
}

/// Sends the gateway's state to `NOTIFY_SOCKET`. Without that variable it does nothing.
#[derive(Debug, Default)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Supervisor {
    /// Reads the environment. Must be called once, before there are threads, because `LISTEN_FDS` is removed.
    pub fn from_environment() -> io::Result<Self> {
        Ok(Self { sockets: PassedSockets::take()?, notifier: Notifier::at(std::env::var_os("NOTIFY_SOCKET")) })
    }
}

impl Notifier {
    /// A notifier of the socket `name`: a path, or an abstract name behind `@`.
    fn at(name: Option<OsString>) -> Self {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Self(None) };
        let open = || {
            let address = match name.as_bytes().strip_prefix(b"@") {
                #[cfg(target_os = "linux")]
                Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name)?,
                _ => SocketAddr::from_pathname(&name)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?; // the gateway does not wait for a supervisor that does not read
            io::Result::Ok((socket, address))
        };
        // The log does not run yet. The supervisor reports the missing READY.
        Self(open().ok())
    }

    /// Sends that the gateway accepts sessions: at the start, and after each reload.
    pub fn ready(&self) {
        self.notify("READY=1\nSTATUS=taking sessions");
    }

    /// Sends that a reload begins. It ends with [`ready`](Self::ready).
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the configuration again"));
    }

    /// Sends that a drain begins.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=draining");
    }

    fn notify(&self, state: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "the supervisor (NOTIFY_SOCKET) could not be notified");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let bytes = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    /// A datagram goes to a path or to an abstract name.
    #[test]
    fn each_state_is_one_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let abstract_name = format!("belfry-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        for (name, socket) in [(path.into_os_string(), by_path), (format!("@{abstract_name}").into(), by_name)] {
            let notifier = Notifier::at(Some(name));
            notifier.ready();
            assert!(receive(&socket).starts_with("READY=1\n"));
            notifier.reloading();
            let message = receive(&socket);
            let micros: u64 = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok()).unwrap();
            assert!(message.starts_with("RELOADING=1\n") && micros > 0, "{message}");
            notifier.stopping();
            assert!(receive(&socket).starts_with("STOPPING=1\n"));
        }
    }

    /// An empty name, and a name without a reader, have no effect.
    #[test]
    fn a_missing_supervisor_is_ignored() {
        for name in [None, Some(""), Some("/nowhere/notify"), Some("relative")] {
            Notifier::at(name.map(OsString::from)).ready();
        }
    }
}
