//! The checks of a request for one of Centrifugo's transports, and the session that it becomes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::Incoming;

use super::head::{has_chunks, written};
use super::transport::EmulatedTransport;
use crate::auth::AuthError;
use crate::dialect::{Dialect, Encoding};
use crate::metrics::{LimitKey, RejectReason};
use crate::server::granted::Granted;
use crate::server::limits::{Accounts, Admission};
use crate::server::request::{Cors, Fields, Head, Query, credential, identify, read_body};
use crate::server::response::{Problem, Refused};
use crate::session::{EmulatedOpening, Services, open_emulated};
use crate::session_id::SessionId;
use crate::shard::{NewSession, Shards};

/// Grants requests for Centrifugo's transports over HTTP.
pub struct EmulatedStreams {
    services: Arc<Services>,
    admission: Arc<Admission>,
    shards: Arc<Shards>,
    accounts: Accounts,
    /// The name by which clients address this gateway in `/emulation`.
    node: Arc<str>,
}

impl EmulatedStreams {
    /// Sessions live in `shards`, share `services` and count in `admission`. Clients address the gateway as `node`.
    pub fn new(services: &Arc<Services>, admission: &Arc<Admission>, shards: &Arc<Shards>, accounts: &Accounts, node: &Arc<str>) -> Self {
        let (services, admission, shards) = (Arc::clone(services), Arc::clone(admission), Arc::clone(shards));
        Self { services, admission, shards, accounts: accounts.clone(), node: Arc::clone(node) }
    }

    /// The first command, from the query.
    pub fn first_of_query(query: Option<&str>) -> Result<Bytes, Refused> {
        let first = Query::new(query).text("cf_connect")?;
        let first =
            first.ok_or_else(|| bad("cf_connect has the first command, as in /connection/sse?cf_connect={\"id\":1,\"connect\":{}}"))?;
        Ok(Bytes::from(first.into_owned()))
    }

    /// The first command, from the body. Its bytes count in `http_bytes` until the session has handled it.
    pub async fn first_of_body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Refused> {
        let limits = &self.services.live.load().limits;
        match read_body(headers, body, limits.frame_bytes, limits.body_timeout, &self.accounts.bytes).await {
            Ok((first, held)) => Ok(held.into_holding(first)),
            Err(error) => {
                error.limit(LimitKey::FrameBytes).into_iter().for_each(|limit| self.accounts.rejections.limit_hit(limit));
                Err(Refused(RejectReason::BadUpgrade, error.into()))
            }
        }
    }

    /// Checks a request, and takes a place for its session, whose first frame is `first`. A refusal has no effect.
    pub fn grant<'a>(
        &self,
        transport: EmulatedTransport,
        head: &Head<'a, impl Fields<'a>>,
        first: Bytes,
        cors: &Cors<'_>,
        address: SocketAddr,
    ) -> Result<Granted, Refused> {
        let credential = credential(head.fields, &Query::new(head.query))?;
        let failures = &self.accounts.failures;
        let identity = identify(&self.services.auth, failures, address.ip(), credential.as_deref())?;
        let permit = self.admission.admit_stream(address.ip(), &self.shards)?;
        if matches!(identity, Err(AuthError::Invalid(_))) {
            failures.count(address.ip());
        }
        let (id, wire) = (SessionId::random(), transport.wire(head.fields));
        let session = NewSession {
            id,
            address,
            encoding: Encoding { dialect: Dialect::Centrifugo(wire), framing: transport.framing(has_chunks(head.version)) },
            reader: open_emulated(EmulatedOpening { id, wire, identity, first, node: Arc::clone(&self.node) }, &self.services),
            permit: Box::new(permit),
            subscribes_at_once: false,
        };
        Ok(Granted { head: written(transport.content_type(wire), head.version, cors), session })
    }
}

fn bad(detail: &str) -> Refused {
    Refused(RejectReason::BadUpgrade, Problem::bad_request(detail))
}
