//! Listening addresses: of networks, Unix sockets, and sockets that a supervisor passes.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::notation::address;
use super::tree::Entry;

/// The longest path of a Unix socket, in bytes (`sun_path` of unix(7), less the zero behind it).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// One entry of `server.listen` or `admin.listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 takes a free one.
    Network(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// The passed sockets of this name; `None` for all that no other entry names.
    Passed(Option<String>),
}

impl ListenAddress {
    /// Reads `127.0.0.1:8765`, `unix:/run/belfry/belfry.sock`, `systemd` or `systemd:NAME`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        match text.strip_prefix("systemd") {
            Some("") => return Ok(Self::Passed(None)),
            Some(rest) if rest.starts_with(':') => return passed_name(&rest[1..]).map(|name| Self::Passed(Some(name))),
            _ => {}
        }
        address(text).map(Self::Network)
    }

    /// Whether other machines may reach it, as far as its text shows.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Network(address) if !address.ip().is_loopback())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(None) => f.write_str("systemd"),
            Self::Passed(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    let right = "write the whole path of the socket, as in \"unix:/run/belfry/belfry.sock\"";
    if !path.starts_with('/') || path.ends_with('/') {
        Err(format!("names no file from the root on; {right}"))
    } else if path.len() > UNIX_PATH_BYTES_MAX {
        Err(format!("has {} bytes of path, a Unix socket has at most {UNIX_PATH_BYTES_MAX}; choose a shorter one", path.len()))
    } else if path.bytes().any(|byte| byte == 0) {
        Err(format!("holds a NUL; {right}"))
    } else {
        Ok(PathBuf::from(path))
    }
}

/// Checks a name by the rules of `FileDescriptorName=` (systemd.socket(5)).
fn passed_name(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains(':') || name.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err("is no name of a socket; write the unit's FileDescriptorName=, as in \"systemd:public\"".to_owned());
    }
    Ok(name.to_owned())
}

/// Reads one address, or a list without duplicates.
pub(super) fn listen_addresses(entry: Entry<'_>) -> Vec<ListenAddress> {
    if entry.is_empty_list() {
        entry.refuse("is empty, so that nobody could connect; write at least one address, as in \"127.0.0.1:8765\"");
    }
    let mut found: Vec<ListenAddress> = Vec::new();
    for item in entry.into_one_or_more() {
        let Some(address) = item.parsed(ListenAddress::parse) else { continue };
        let any_port = matches!(&address, ListenAddress::Network(address) if address.port() == 0);
        if found.contains(&address) && !any_port {
            item.refuse("is listed twice; remove one");
        }
        found.push(address);
    }
    found
}

/// Reads the permissions of a Unix socket, in octal.
pub(super) fn socket_mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    mode.ok_or("is no mode of a file; write three or four octal digits, as in \"0660\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_displayed_as_they_are_parsed() {
        for text in ["127.0.0.1:8765", "[::]:0", "unix:/run/belfry/belfry.sock", "systemd", "systemd:public"] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "a".repeat(UNIX_PATH_BYTES_MAX));
        for text in ["unix:", "unix:belfry.sock", "unix:/run/", "unix:@belfry", "unix:/a\0b", &long, "systemd:", "systemd:a:b", "systemdx"]
        {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!((socket_mode("0660"), socket_mode("777"), socket_mode("0")), (Ok(0o660), Ok(0o777), Ok(0)));
        for text in ["", "888", "+660", "-1", "1777", "rw-rw----"] {
            assert!(socket_mode(text).is_err(), "{text}");
        }
    }
}
