//! The checks of a handshake, and the session that it becomes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header;

use super::handshake::{self, Subprotocol};
use super::target::{Target, purpose, target};
use crate::auth::{AuthError, Identity};
use crate::config::Config;
use crate::dialect::Encoding;
use crate::frame;
use crate::hub::{Hub, Payer};
use crate::metrics::RejectReason;
use crate::server::granted::Granted;
use crate::server::limits::{Admission, Failures};
use crate::server::request::{Fields, Head, Query, credential, identify, not_allowed};
use crate::server::response::{Problem, Refused};
use crate::session::{self, Opening, Purpose, Services};
use crate::session_id::SessionId;
use crate::shard::NewSession;
use crate::topic_name::Pattern;

/// Grants handshakes.
pub struct Upgrades {
    services: Arc<Services>,
    admission: Arc<Admission>,
    failures: Arc<Failures>,
    hub: Arc<Hub>,
}

impl Upgrades {
    /// Sessions share `services`, count in `admission` and have their topics in `hub`. `failures` counts bad credentials.
    pub fn new(services: &Arc<Services>, admission: &Arc<Admission>, failures: &Arc<Failures>, hub: &Arc<Hub>) -> Self {
        let (services, admission) = (Arc::clone(services), Arc::clone(admission));
        Self { services, admission, failures: Arc::clone(failures), hub: Arc::clone(hub) }
    }

    /// Checks a handshake, and takes a place for its session. A refusal has no effect.
    pub fn grant<'a>(&self, head: &Head<'a, impl Fields<'a>>, address: SocketAddr) -> Result<Granted, Refused> {
        let config = self.services.live.load();
        let target = target(head.path, &config).ok_or_else(|| {
            tracing::trace!(path = head.path, "no such path");
            Refused(RejectReason::NotFound, Problem::not_found("no WebSocket is spoken on this path"))
        })?;
        let key = handshake::check(head.version, head.fields).map_err(|bad| Refused(RejectReason::BadUpgrade, bad.into()))?;
        let subprotocol = handshake::offered(head.fields, target.subprotocols());
        let opening = self.opening(head, &target, subprotocol, &config, address.ip())?;
        let permit = self.admission.admit(address.ip())?;
        if let (Purpose::Raw { topic, .. }, Ok(_)) = (&opening.purpose, &opening.identity) {
            // Before the 101, because the raw dialect has no errors.
            self.hub.make(topic, Some(&Payer::of_address(address.ip()))).map_err(|error| Refused::not_made(topic, error))?;
        }
        if matches!(opening.identity, Err(AuthError::Invalid(_))) {
            self.failures.count(address.ip());
        }
        let head = handshake::switching(key, subprotocol, opening.agreement.as_ref().map(|agreed| agreed.response.as_str()));
        let window = opening.agreement.as_ref().map(|agreed| agreed.window);
        let (id, encoding) = (opening.id, Encoding::websocket(opening.purpose.dialect(), window));
        let subscribes_at_once = opening.purpose.subscribes_at_once();
        let reader = session::open_websocket(opening, &self.services);
        let session = NewSession { id, address, encoding, reader, permit: Box::new(permit), subscribes_at_once };
        Ok(Granted { head, session })
    }

    fn opening<'a>(
        &self,
        head: &Head<'a, impl Fields<'a>>,
        target: &Target<'_>,
        subprotocol: Option<Subprotocol>,
        config: &Config,
        address: IpAddr,
    ) -> Result<Opening, Refused> {
        let query = Query::new(head.query);
        let purpose = purpose(target, &query, subprotocol)?;
        let credential = credential(head.fields, &query)?;
        let identity = identify(&self.services.auth, &self.failures, address, credential.as_deref())?;
        may_open(&purpose, &identity, credential.is_some())?;
        let offers = || head.fields.all(header::SEC_WEBSOCKET_EXTENSIONS);
        let agreement = config.deflate.enabled.then(|| frame::negotiate(offers(), config.deflate.history)).flatten();
        Ok(Opening { id: SessionId::random(), purpose, identity, agreement })
    }
}

/// Checks the grant of a raw session before the 101, because its dialect has no errors. A bad credential is not refused
/// here: a browser can't read the 401, but it can read the Close frame that the session sends.
fn may_open(purpose: &Purpose, identity: &Result<Option<Arc<Identity>>, AuthError>, has_credential: bool) -> Result<(), Refused> {
    let (Purpose::Raw { topic, .. }, Ok(identity)) = (purpose, identity) else { return Ok(()) };
    let pattern = Pattern::from(topic.clone());
    if identity.as_ref().is_some_and(|identity| identity.grants.may_subscribe(&pattern)) {
        return Ok(());
    }
    Err(Refused(RejectReason::Unauthorized, not_allowed(&format!("subscribing to {topic}"), has_credential)))
}
