//! Binds the sockets of `server.listen` and `admin.listen`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketAddrUnix, getsockname};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::passed::PassedSockets;
use super::socket_file::{self, SocketFile};
use crate::config::ListenAddress;
use crate::server::start_error::StartError;

/// The backlog of listen(2): connections that the kernel queues between two accepts.
const BACKLOG: i32 = 4_096;
/// `TCP_NOTSENT_LOWAT`, in bytes. Without it the kernel queues megabytes for each socket, and the messages that an
/// outbox keeps by its rule reach a slow session minutes late.
pub const UNSENT_BYTES: u32 = 64 << 10;

/// A listening socket.
#[derive(Debug)]
pub struct Bound {
    /// The socket, in non-blocking mode.
    pub socket: OwnedFd,
    /// The address, with the port that was chosen.
    pub address: ListenAddress,
    /// The file, if this process made the Unix socket.
    pub file: Option<SocketFile>,
}

/// The addresses of one listener of the configuration.
pub struct ListenerSettings<'a> {
    /// The key that has them: `server.listen` or `admin.listen`.
    pub key: &'static str,
    pub listen: &'a [ListenAddress],
    /// The permissions of new Unix sockets.
    pub unix_mode: u32,
}

/// Listens at all addresses of all listeners. The error names the address that can't be bound. Entries that name passed
/// sockets get theirs before the entry `systemd` takes the rest.
pub fn bind_all<const N: usize>(listeners: [ListenerSettings<'_>; N], passed: &mut PassedSockets) -> Result<[Vec<Bound>; N], StartError> {
    let mut bound = listeners.each_ref().map(|_| Vec::new());
    for is_named in [true, false] {
        for (listener, bound) in listeners.iter().zip(&mut bound) {
            let is_next = |address: &&ListenAddress| is_named != matches!(address, ListenAddress::Passed(None));
            for address in listener.listen.iter().filter(is_next) {
                let failed = |cause| StartError::Listen { key: listener.key, address: address.clone(), cause };
                let sockets = bind(address, listener, passed).map_err(failed)?;
                if sockets.is_empty() {
                    return Err(StartError::NotPassed { key: listener.key, address: address.clone() });
                }
                bound.extend(sockets);
            }
        }
    }
    Ok(bound)
}

fn bind(address: &ListenAddress, listener: &ListenerSettings<'_>, passed: &mut PassedSockets) -> io::Result<Vec<Bound>> {
    match address {
        ListenAddress::Network(address) => Ok(vec![network(*address, listener.listen)?]),
        ListenAddress::Unix(path) => {
            let (socket, file) = socket_file::bind(path, listener.unix_mode)?;
            socket.set_nonblocking(true)?;
            socket.listen(BACKLOG)?;
            Ok(vec![Bound { socket: socket.into(), address: address.clone(), file: Some(file) }])
        }
        ListenAddress::Passed(name) => passed.named(name.as_deref()).into_iter().map(adopted).collect(),
    }
}

fn network(address: SocketAddr, beside: &[ListenAddress]) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // `[::]` accepts IPv4 too, unless another entry has the same port on IPv4.
    let is_ipv4s =
        |listed: &ListenAddress| matches!(listed, ListenAddress::Network(other) if other.is_ipv4() && other.port() == address.port());
    if address.is_ipv6() && beside.iter().any(is_ipv4s) {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    set_options(&SockRef::from(&socket));
    socket.listen(BACKLOG)?;
    let socket = OwnedFd::from(socket);
    Ok(Bound { address: address_of(&socket)?, socket, file: None })
}

/// A socket that the supervisor passed. It listens already.
fn adopted(socket: OwnedFd) -> io::Result<Bound> {
    let reference = SockRef::from(&socket);
    reference.set_nonblocking(true)?;
    let address = address_of(&socket)?;
    if matches!(address, ListenAddress::Network(_)) {
        set_options(&reference);
    }
    Ok(Bound { address, socket, file: None })
}

fn address_of(socket: &OwnedFd) -> io::Result<ListenAddress> {
    let address = getsockname(socket)?;
    if address.address_family() == AddressFamily::UNIX {
        let unix = SocketAddrUnix::try_from(address)?;
        let path = unix.path_bytes().or(unix.abstract_name()).unwrap_or_default();
        return Ok(ListenAddress::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path))));
    }
    Ok(ListenAddress::Network(address.try_into()?))
}

/// Sets the options of every connection on the listening socket. Accepted sockets inherit them, which saves system
/// calls for each.
fn set_options(socket: &Socket) {
    #[cfg(target_os = "linux")]
    let bounded = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    #[cfg(not(target_os = "linux"))]
    let bounded = socket.set_send_buffer_size(UNSENT_BYTES as usize);
    if let Err(error) = socket.set_tcp_nodelay(true).and(bounded) {
        tracing::warn!(%error, "TCP_NODELAY or the bound on unsent bytes can't be set for connections");
    }
}

impl Bound {
    /// The IP address that it listens on; `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.address {
            ListenAddress::Network(address) => Some(address.ip()),
            ListenAddress::Unix(_) | ListenAddress::Passed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_at(listen: &[ListenAddress]) -> Result<Vec<Bound>, StartError> {
        let listener = ListenerSettings { key: "server.listen", listen, unix_mode: 0o600 };
        bind_all([listener], &mut PassedSockets::default()).map(|[bound]| bound)
    }

    fn any_port(address: [u8; 4]) -> ListenAddress {
        ListenAddress::Network((address, 0).into())
    }

    #[test]
    fn a_bind_error_names_the_remedy() {
        let first = bind_at(&[any_port([127, 0, 0, 1])]).unwrap();
        let error = bind_at(&[first[0].address.clone()]).unwrap_err().to_string();
        assert!(error.starts_with("can't listen on 127.0.0.1:") && error.contains("in use"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let unix = |name: &str| ListenAddress::Unix(folder.path().join(name));
        let _first = bind_at(&[unix("a")]).unwrap();
        for (address, remedy) in [(unix("a"), "another process listens"), (unix("b/c"), "RuntimeDirectory")] {
            let error = bind_at(&[address]).unwrap_err().to_string();
            assert!(error.contains("can't listen on unix:/") && error.contains(remedy), "{error}");
        }
        let error = bind_at(&[ListenAddress::Passed(Some("a".into()))]).unwrap_err().to_string();
        assert!(error.contains("systemd:a") && error.contains("FileDescriptorName"), "{error}");
    }

    /// Both address families share a port, and every address of a list is bound.
    #[test]
    fn every_address_of_a_list_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let port = match &bind_at(&[any_port([0, 0, 0, 0])]).unwrap()[0].address {
            ListenAddress::Network(address) => address.port(),
            other => panic!("{other}"),
        };
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|text| ListenAddress::Network(text.parse().unwrap()));
        let bound = bind_at(&[&both[..], &[ListenAddress::Unix(path.clone())]].concat()).unwrap();
        assert_eq!(bound.iter().map(|bound| bound.address.clone()).collect::<Vec<_>>()[..2], both);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(bound);
        assert!(!path.exists());
    }

    /// Passed sockets go to the entry that names them, whatever the order, and report their own address.
    #[test]
    fn passed_sockets_have_their_own_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Network(tcp.local_addr().unwrap());
        let bound = [adopted(unix.into()).unwrap(), adopted(tcp.into()).unwrap()];
        assert_eq!(bound.map(|bound| bound.address), [ListenAddress::Unix(path.clone()), address]);
        assert!(path.exists(), "the gateway does not remove the file of a passed socket");
    }
}
