//! A request either becomes a session or is answered as plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode, Version, header};

use super::api::{Api, Surface};
use super::limits::Rejections;
use super::request::{Fields, Head, Sender, client_address, is_own_host};
use super::response::{Answer, Problem, guarded};
use super::websocket::{self, Granted, Refused, Upgrades};
use crate::config::{Config, Live};
use crate::metrics::RejectReason;
use crate::shard::Expected;

/// Everything that a listener's requests can reach.
pub struct Routes {
    live: Arc<Live>,
    rejections: Arc<Rejections>,
    upgrades: Upgrades,
    api: Api,
}

impl Routes {
    /// Handshakes go to `upgrades`, all else to `api`.
    pub fn new(live: &Arc<Live>, rejections: &Arc<Rejections>, upgrades: Upgrades, api: Api) -> Self {
        Self { live: Arc::clone(live), rejections: Arc::clone(rejections), upgrades, api }
    }

    /// Answers one request of `peer`; with 101, for the session that expects its socket.
    pub async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, surface: Surface) -> (Answer, Option<Expected>) {
        let config = self.live.load();
        let (parts, body) = request.into_parts();
        let head = Head::from(&parts);
        let address = client_address(peer, head.fields, &config.server);
        let from = Sender::of(&head, &config);
        let granted = match is_handshake(&head, &from, surface, &config) {
            Ok(false) => None,
            Ok(true) => Some(self.upgrades.grant(&head, address)),
            Err(refused) => Some(Err(refused)),
        };
        match granted {
            Some(Ok(Granted { switching, newcomer })) => return (switching.into(), Some(self.upgrades.expect(newcomer).await)),
            Some(Err(refused)) => return (guarded(self.turn_down(refused, address)), None),
            None => {}
        }
        if let Some(preflight) = from.preflight(&head) {
            return (preflight, None);
        }
        // Boxed: the future of a handshake would carry the room of this one along.
        let mut answer = Box::pin(self.api.respond(&parts, body, address.ip(), surface)).await.unwrap_or_else(Answer::from);
        from.mark(&mut answer);
        (guarded(answer), None)
    }

    /// Grants a request if it is a handshake that can be granted. `None`: [`Self::answer`] is to see it, and nothing was done.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, peer: SocketAddr, surface: Surface) -> Option<Granted> {
        let config = self.live.load();
        if !is_handshake(head, &Sender::of(head, &config), surface, &config).unwrap_or(false) {
            return None;
        }
        self.upgrades.grant(head, client_address(peer, head.fields, &config.server)).ok()
    }

    /// Refuses a request before anything else is looked at, and closes the connection: a proxy that mistakes the refusal of a
    /// handshake for a 101 could be smuggled through.
    fn turn_down(&self, refused: Refused, address: SocketAddr) -> Answer {
        let Refused(reason, problem) = refused;
        self.rejections.count(reason, address.ip(), problem.detail());
        problem.closing().into()
    }
}

/// Whether a request is to become a session, or why it isn't looked at.
fn is_handshake<'a>(head: &Head<'a, impl Fields<'a>>, from: &Sender<'_>, surface: Surface, config: &Config) -> Result<bool, Refused> {
    if !has_one_host(head) {
        return Err(Refused(RejectReason::BadUpgrade, Problem::bad_request("a request has one Host, no more and no fewer")));
    }
    let listener = if surface == Surface::Admin { config.admin.listen } else { None }.unwrap_or(config.server.listen);
    if !is_own_host(head, listener.ip(), &config.server) {
        let detail = "a listener on a loopback address takes localhost, 127.0.0.1 or [::1] as Host; server.hosts names others";
        let problem = Problem::of_http(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail);
        return Err(Refused(RejectReason::Origin, problem));
    }
    let is_handshake = *head.method == Method::GET && surface != Surface::Admin && websocket::is_asked(head.fields);
    if from.is_foreign_page() && (is_handshake || matches!(*head.method, Method::POST | Method::DELETE)) {
        return Err(Refused(RejectReason::Origin, Problem::forbidden("this Origin is not allowed")));
    }
    Ok(is_handshake)
}

/// Whether a request names one host, as HTTP/1.1 wants it (RFC 9112 §3.2): where there are two, a proxy may have gone by the other.
fn has_one_host<'a>(head: &Head<'a, impl Fields<'a>>) -> bool {
    let hosts = head.fields.all(header::HOST).count();
    hosts == 1 || (hosts == 0 && head.version == Version::HTTP_10)
}
