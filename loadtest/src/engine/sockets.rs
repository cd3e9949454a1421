//! The resources of sessions: sockets, source addresses, file descriptors.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::anyhow;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use super::target::Target;

/// Begins to connect the session `index`.
pub(super) fn connect(target: &Target, index: usize) -> anyhow::Result<TcpStream> {
    let source = source_address(index, target.sessions_per_address);
    open(target.address, source).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => files_exhausted(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => anyhow!(
            "out of ports from {} to the target; use more source addresses with a smaller --spread, or widen net.ipv4.ip_local_port_range",
            source.unwrap_or(Ipv4Addr::UNSPECIFIED)
        ),
        _ => anyhow!("can't connect to {}: {error}", target.address),
    })
}

/// The source address of the session `index`; `None` if the kernel chooses.
fn source_address(index: usize, sessions_per_address: usize) -> Option<Ipv4Addr> {
    let number = index.checked_div(sessions_per_address)?;
    Some(Ipv4Addr::new(127, 0, (number / 250 % 250) as u8, (1 + number % 250) as u8))
}

/// The limit of open files is too low: `hard` at most.
fn files_exhausted(hard: u64) -> anyhow::Error {
    anyhow!("out of file descriptors (the hard limit is {hard}); raise it with `ulimit -Hn`, or ask for fewer --sessions")
}

fn open(address: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Raises the soft limit of open files to the hard one; an error if that is less than `sessions` need.
pub fn raise_file_limit(sessions: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match limit.maximum {
        Some(maximum) if maximum < sessions as u64 + 32 => Err(files_exhausted(maximum)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_spread_over_addresses() {
        assert_eq!(source_address(899, 900), Some(Ipv4Addr::new(127, 0, 0, 1)));
        assert_eq!(source_address(900, 900), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source_address(250 * 900, 900), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(source_address(900, 0), None);
    }
}
