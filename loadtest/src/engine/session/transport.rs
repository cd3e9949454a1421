//! A session's connection: TCP, plain or under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

use rustls::{ClientConnection, StreamOwned};

use crate::engine::poll::Interest;
use crate::wire::Tls;

pub enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// A connection over `socket`, which is connecting; with TLS if `tls` is given.
    pub fn new(socket: TcpStream, tls: Option<&Tls>) -> Result<Self, rustls::Error> {
        let Some(tls) = tls else { return Ok(Self::Plain(socket)) };
        Ok(Self::Tls(Box::new(StreamOwned::new(tls.connection()?, socket))))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether decrypted bytes may remain after a read, which the poll does not report.
    pub fn buffers_reads(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Writes as much of `bytes` as the connection accepts. Returns that length, and the new interest.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<(usize, Interest)> {
        let written = match self {
            Self::Plain(socket) => write_to(socket, bytes, ErrorKind::WriteZero.into())?,
            Self::Tls(stream) => {
                // A full TLS buffer accepts nothing, which is not the end of the connection.
                let written = write_to(stream, bytes, ErrorKind::WouldBlock.into())?;
                match stream.flush() {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    _ => written,
                }
            }
        };
        let wants_write = match self {
            Self::Plain(_) => written < bytes.len(),
            // Before the end of the handshake, a writable socket without TLS records to write would wake the loop for
            // nothing.
            Self::Tls(stream) => stream.conn.wants_write() || (written < bytes.len() && !stream.conn.is_handshaking()),
        };
        Ok((written, if wants_write { Interest::ReadWrite } else { Interest::Read }))
    }
}

fn write_to(stream: &mut impl Write, bytes: &[u8], full: io::Error) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) if full.kind() == ErrorKind::WouldBlock => break,
            Ok(0) => return Err(full),
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().as_fd()
    }
}
