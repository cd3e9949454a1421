//! The source of what `belfry top` shows: stats and tables once a second, over all of its sessions.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admin::{Admin, Tables};
use super::stats::{FeedError, Stats, StatsFeed};
use crate::cli::gateway::{Backoff, ConnectError, Gateway};

/// What has changed.
#[derive(Debug)]
pub(super) enum Update {
    /// New totals, and the tables if the credentials are an administrator's. The error is why they could not be read.
    Seen(Stats, Result<Option<Tables>, String>),
    /// The connection was lost, for this reason. Another is being tried.
    Lost(String),
    /// The gateway refuses permanently.
    Refused(anyhow::Error),
}

/// Connects to `gateway`, and begins to ask it in a task of its own, so that an answer that takes long delays no key.
/// The error is a first connection that fails.
pub(super) async fn begin(gateway: Gateway) -> anyhow::Result<mpsc::Receiver<Update>> {
    let socket = gateway.upgrade().await.map_err(ConnectError::into_error)?;
    let (sender, updates) = mpsc::channel(1);
    tokio::spawn(follow(gateway, StatsFeed::subscribe(socket), sender));
    Ok(updates)
}

/// Sends updates until the receiver is dropped or the gateway refuses permanently.
async fn follow(gateway: Gateway, mut feed: StatsFeed, updates: mpsc::Sender<Update>) {
    let mut admin = Admin::default();
    let mut backoff = Backoff::default();
    loop {
        let mut not_before = None;
        let update = match next(&mut feed, &mut admin, &gateway).await {
            Ok((stats, tables)) => {
                backoff.reset();
                Update::Seen(stats, tables)
            }
            Err(FeedError::Lost(error, until)) => {
                not_before = until;
                Update::Lost(format!("{error:#}"))
            }
            Err(FeedError::Refused(error)) => Update::Refused(error),
        };
        let (is_lost, is_end) = (matches!(update, Update::Lost(_)), matches!(update, Update::Refused(_)));
        if updates.send(update).await.is_err() || is_end {
            return;
        }
        if is_lost {
            match reconnect(&gateway, &mut backoff, not_before).await {
                Ok(again) => feed = again,
                // The receiver may be gone, which ends this as well.
                Err(error) => return drop(updates.send(Update::Refused(error)).await),
            }
        }
    }
}

async fn next(feed: &mut StatsFeed, admin: &mut Admin, gateway: &Gateway) -> Result<(Stats, Result<Option<Tables>, String>), FeedError> {
    let stats = feed.next().await?;
    let tables = match gateway.token {
        // The session continues if a request is refused (429, 503) or not answered.
        Some(_) => admin.fetch(gateway, stats.uptime_s).await.map_err(|error| format!("{error:#}")),
        None => Ok(None),
    };
    Ok((stats, tables))
}

/// Tries to connect until it succeeds, first at `not_before` if that is given. The error is a permanent refusal.
async fn reconnect(gateway: &Gateway, backoff: &mut Backoff, mut not_before: Option<Instant>) -> anyhow::Result<StatsFeed> {
    loop {
        let wait = backoff.wait();
        tokio::time::sleep_until(not_before.take().unwrap_or_else(|| Instant::now() + wait)).await;
        match gateway.upgrade().await {
            Ok(socket) => return Ok(StatsFeed::subscribe(socket)),
            Err(ConnectError::Later(_, wait)) => not_before = wait.map(|wait| Instant::now() + wait),
            Err(ConnectError::Unreachable(_)) => {}
            Err(ConnectError::Refused(error)) => return Err(error),
        }
    }
}
