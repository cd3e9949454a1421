//! `/v1/sessions`: the sessions, the slowest first, and closing one.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;

use crate::codes::CloseCode;
use crate::config::peer_name;
use crate::server::request::{Caller, Query, QueryError};
use crate::server::response::{Answer, Problem, empty, json_of};
use crate::session_id::SessionId;
use crate::shard::{SessionView, Shards};

/// The default number of sessions in one answer.
const SESSIONS_LISTED: usize = 20;
/// The largest number of sessions in one answer.
const SESSIONS_LISTED_MAX: usize = 1_000;

/// The requests about sessions.
pub struct SessionsApi {
    shards: Arc<Shards>,
}

#[derive(serde::Serialize)]
struct Listed<'a> {
    session: String,
    user: Option<&'a str>,
    address: String,
    dialect: &'static str,
    outbox_bytes: usize,
    oldest: Option<Oldest<'a>>,
}

#[derive(serde::Serialize)]
struct Oldest<'a> {
    topic: &'a str,
    age_ms: u64,
}

impl SessionsApi {
    /// For the sessions of `shards`.
    pub fn new(shards: &Arc<Shards>) -> Self {
        Self { shards: Arc::clone(shards) }
    }

    /// `GET /v1/sessions?order=outbox&limit=20`.
    pub async fn list(&self, caller: &Caller<'_>, query: &Query<'_>) -> Result<Answer, Problem> {
        caller.require("listing sessions", |identity| identity.admin)?;
        if let Some(order) = query.text("order")?.filter(|order| order != "outbox") {
            return Err(QueryError::wrong("order", &order, "outbox").into());
        }
        let limit = query.size("limit", 0)?.unwrap_or(SESSIONS_LISTED).min(SESSIONS_LISTED_MAX);
        let views = self.shards.slowest(limit).await;
        let listed: Vec<_> = views.iter().map(Listed::from).collect();
        Ok(json_of(&BTreeMap::from([("sessions", listed)])))
    }

    /// `DELETE /v1/sessions/{id}`: closes the session with 4009.
    pub async fn close(&self, caller: &Caller<'_>, id: &str) -> Result<Answer, Problem> {
        caller.require("closing sessions", |identity| identity.admin)?;
        let closed = match id.parse::<SessionId>() {
            Ok(id) => self.shards.close(id, CloseCode::Operator, "closed by an operator").await,
            Err(_) => false,
        };
        if !closed {
            return Err(Problem::not_found("there is no session of that id"));
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }
}

impl<'a> From<&'a SessionView> for Listed<'a> {
    fn from(view: &'a SessionView) -> Self {
        Self {
            session: view.id.to_string(),
            user: view.user.as_deref(),
            // An address from a proxy's header has no port.
            address: if view.address.port() == 0 { peer_name(view.address.ip()) } else { view.address.to_string() },
            dialect: view.dialect,
            outbox_bytes: view.outbox_bytes,
            oldest: view
                .oldest
                .as_ref()
                .map(|(topic, age)| Oldest { topic: topic.as_str(), age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }),
        }
    }
}
