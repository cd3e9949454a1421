//! The gateways of a run.

use crate::engine::Target;
use crate::launch::StartedServer;
use crate::plan::{PublishBy, Settings};
use crate::wire::http::tls::client_config;

/// The server that was started, or else the gateways that `settings` name.
pub fn targets(settings: &Settings, started: Option<&StartedServer>) -> anyhow::Result<Vec<Target>> {
    match started {
        Some(started) => Ok(vec![target(settings, &format!("ws://{}{}", started.address, settings.dialect.default_path()))?]),
        None => settings.urls.iter().map(|url| target(settings, url)).collect(),
    }
}

fn target(settings: &Settings, url: &str) -> anyhow::Result<Target> {
    let tls = if url.starts_with("wss://") { Some(client_config(settings.cacert.as_deref())?) } else { None };
    let target = Target::parse(url, settings.dialect, settings.dialect.of_publishers(), tls)?;
    Ok(Target {
        token: settings.token.clone(),
        deflate: settings.deflate,
        publishes_by_http: settings.publish_by == PublishBy::Http,
        sessions_per_address: settings.spread.unwrap_or(target.sessions_per_address),
        ..target
    })
}
