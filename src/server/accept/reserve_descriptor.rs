//! One file descriptor in reserve, with which a connection can be answered 503 when there is no other.

use std::fs::File;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::connection::{Accepting, Tcp};
use crate::server::response::Problem;

/// `Retry-After` of the 503, in seconds.
const RETRY_SECONDS: u64 = 5;
/// The longest time for the accept, and for the write of the answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the refused peer may still send. All waiting connections share one descriptor, so an idle peer must not
/// hold it long.
const LINGER: Duration = Duration::from_millis(10);

/// The descriptor, open on `/dev/null`.
pub struct ReserveDescriptor(Option<File>);

impl ReserveDescriptor {
    /// Opens the descriptor.
    pub fn new() -> Self {
        Self(nothing())
    }

    /// Closes the descriptor, accepts the connection that has waited longest, answers it 503 if `is_plain` (a listener
    /// with TLS only closes it), and opens the descriptor again. `false`: no connection could be refused, so the accept
    /// loop must pause.
    pub async fn refuse_one(&mut self, socket: &Accepting, is_plain: bool) -> bool {
        if self.0.take().is_none() {
            self.0 = nothing();
            return false;
        }
        let accepted = timeout(PATIENCE, socket.accept()).await;
        let refused = if let Ok(Ok((stream, _))) = accepted {
            if is_plain {
                // The connection is closed even if the peer does not read.
                let _ = timeout(PATIENCE, answer(Tcp::Unregistered(stream))).await;
            }
            true
        } else {
            false
        };
        self.0 = nothing();
        refused
    }
}

fn nothing() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Writes the 503, then reads what the peer sends. A close with unread bytes would reset the connection, and the peer
/// could lose the answer.
async fn answer(mut stream: Tcp) -> io::Result<()> {
    stream.write_all(&refusal().written()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    let reading = async {
        while stream.read(&mut unread).await? > 0 {}
        Ok(())
    };
    timeout(LINGER, reading).await.unwrap_or(Ok(()))
}

fn refusal() -> Problem {
    let detail = "the gateway has no file descriptor left for another connection";
    Problem::of_http(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", detail).retry_after(RETRY_SECONDS).closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threats, row 25: without descriptors a peer gets 503 with `Retry-After`.
    #[tokio::test]
    async fn a_peer_is_refused_with_503() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut peer = tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let socket = Accepting::new(socket.into()).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut reserve = ReserveDescriptor::new();
        let mut response = String::new();
        let (refused, read) = tokio::join!(reserve.refuse_one(&socket, true), peer.read_to_string(&mut response));
        assert!(refused && read.is_ok());
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && head.contains("retry-after: 5"), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "too_many_connections");
        assert!(reserve.0.is_some(), "the descriptor is reserved again");
        assert!(!reserve.refuse_one(&socket, true).await, "no connection is pending");
    }
}
