//! The file of a listening Unix socket.
//!
//! The folder is locked while the file is made or removed. So of two gateways that start at the same time, one finds
//! the other's socket.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a listening socket. Dropping it removes the file, if the file still belongs to the socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The device and inode of the file.
    identity: (u64, u64),
}

/// Binds a socket at `path` with the permissions `mode`. A socket that a killed gateway left there is replaced.
pub fn bind(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let _lock = lock_folder(path)?;
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    // The socket does not listen yet, so no peer connects before the permissions are set.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket, file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _lock = lock_folder(&self.path);
        let is_own = identity(&self.path).is_ok_and(|now| now == self.identity);
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the file of a Unix socket is left behind");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Locks the folder of `path` until the file is dropped.
fn lock_folder(path: &Path) -> io::Result<File> {
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// Removes the socket at `path` if no process listens on it.
fn make_room(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?; // a listener with a full backlog would block
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// The file has its mode whatever the umask. It is replaced if no process listens on it, and removed at the end.
    #[test]
    fn a_socket_file_is_created_and_removed_with_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (socket, file) = bind(&path, 0o666).unwrap();
        socket.listen(1).unwrap();
        assert_eq!(mode(&path), 0o666);
        assert_eq!(bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(file); // as when the process is killed
        drop(socket);
        let (socket, file) = bind(&path, 0o600).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop((socket, file));
        assert!(!path.exists());
    }

    /// A file that is not this gateway's socket is neither replaced nor removed.
    #[test]
    fn other_files_are_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        fs::write(&path, "kept").unwrap();
        assert_eq!(bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        let (_socket, file) = bind(&path, 0o600).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        assert_eq!(bind(&folder.path().join("absent/socket"), 0o600).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
