//! An accepted connection that waits in a shard for its first bytes. If these hold a whole handshake, the shard grants
//! it. Every other connection goes to HTTP.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::metrics::RejectReason;
use crate::server::connection::{Http, Progress, Tcp, TimedStream, Transport};
use crate::server::granted::Granted;
use crate::server::limits::{PendingPlace, Rejections};
use crate::server::request::{head_room, read_head};
use crate::shard::{Admitted, HandshakeHandler};

pub struct Accepted {
    /// The HTTP of its listener.
    pub http: Arc<Http>,
    /// Counts the connection if it fails before HTTP.
    pub rejections: Arc<Rejections>,
    /// The runtime of HTTP connections.
    pub http_runtime: Handle,
    pub peer: SocketAddr,
    /// The deadline of the first request's head.
    pub until: Instant,
    /// Its place among the connections without a whole head.
    pub pending: PendingPlace,
    /// The configuration at the time of the accept.
    pub config: Arc<Config>,
}

impl Accepted {
    /// Does the TLS handshake, then serves HTTP. One deadline holds for the TLS handshake and the first head.
    pub async fn secure(self: Box<Self>, stream: TcpStream, tls: Arc<ServerConfig>) {
        let accepting = TlsAcceptor::from(tls).accept(Tcp::Unregistered(stream));
        let rejected = match tokio::time::timeout_at(self.until, accepting).await {
            Ok(Ok(stream)) => return self.serve(Transport::Tls(Box::new(stream)), Bytes::new()).await,
            Ok(Err(error)) => (RejectReason::Tls, error.to_string()),
            Err(_) => (RejectReason::Timeout, "in the TLS handshake".to_owned()),
        };
        self.rejections.count(rejected.0, self.peer.ip(), &rejected.1);
    }

    async fn serve(self: Box<Self>, transport: Transport, received: Bytes) {
        let Self { http, peer, until, pending, config, .. } = *self;
        let progress = Progress::new(until, Box::new(pending));
        let stream = TimedStream::new(transport, received, Arc::clone(&progress), config.limits.write_timeout);
        http.serve(stream, peer, &progress, &config.limits).await;
    }
}

impl HandshakeHandler for Accepted {
    fn admit(&mut self, received: &[u8]) -> Option<Admitted> {
        let mut room = head_room();
        let (request, used) = read_head(received, &mut room).filter(|&(_, used)| used <= self.config.limits.header_bytes)?;
        let Granted { head, session } = self.http.grant(&request, self.peer)?;
        Some(Admitted { session, head, used })
    }

    fn forward(self: Box<Self>, stream: TcpStream, received: &[u8]) {
        let (http_runtime, received) = (self.http_runtime.clone(), Bytes::copy_from_slice(received));
        http_runtime.spawn(self.serve(Transport::Plain(Tcp::Unregistered(stream)), received));
    }
}
