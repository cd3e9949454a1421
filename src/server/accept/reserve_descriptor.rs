//! One file descriptor kept back, so that somebody can still be told that there are no more.

use std::fs::File;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::connection::{Accepting, Tcp};
use crate::server::response::Problem;

/// When somebody who was turned away may come again, in seconds.
const RETRY_SECONDS: u64 = 5;
/// What one who is turned away may take: to come, and to take the answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// What one who is turned away may still send. There is but one descriptor for all who wait, so idle ones must not hold it long.
const LINGER: Duration = Duration::from_millis(10);

/// The descriptor, held open on nothing.
pub struct ReserveDescriptor(Option<File>);

impl ReserveDescriptor {
    /// Takes one.
    pub fn new() -> Self {
        Self(nothing())
    }

    /// Gives the descriptor up for the connection that has waited longest, answers it 503 where `is_plain` (a listener with TLS
    /// just closes it), and takes the descriptor back. `false`: nobody could be turned away, so there is cause to rest.
    pub async fn refuse_one(&mut self, socket: &Accepting, is_plain: bool) -> bool {
        if self.0.take().is_none() {
            self.0 = nothing();
            return false;
        }
        let accepted = timeout(PATIENCE, socket.accept()).await;
        let turned_away = if let Ok(Ok((stream, _))) = accepted {
            if is_plain {
                // A peer that doesn't read is closed on all the same.
                let _ = timeout(PATIENCE, answer(Tcp::Unregistered(stream))).await;
            }
            true
        } else {
            false
        };
        self.0 = nothing();
        turned_away
    }
}

fn nothing() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Says 503, then reads what the peer has sent or still sends: closing on that would reset the connection under the answer.
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

    /// Threats, row 25: who comes when there are no descriptors left is told so, and when to come again.
    #[tokio::test]
    async fn who_is_turned_away_is_told() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut peer = tokio::net::TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let socket = Accepting::new(socket.into()).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut reserve = ReserveDescriptor::new();
        let mut heard = String::new();
        let (turned_away, read) = tokio::join!(reserve.refuse_one(&socket, true), peer.read_to_string(&mut heard));
        assert!(turned_away && read.is_ok());
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && head.contains("retry-after: 5"), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "too_many_connections");
        assert!(reserve.0.is_some(), "the descriptor is kept again");
        assert!(!reserve.refuse_one(&socket, true).await, "nobody waits any more");
    }
}
