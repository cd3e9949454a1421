//! The streams at the servers: made where they are missing, refused where they can't serve.

use std::time::Duration;

use async_nats::Client;
use serde_json::{Value, json};

use super::api::{AskError, ask};
use crate::config::{Stream, StreamStorage};

/// The oldest servers whose replicas number messages alike after a failure.
const VERSION_MIN: (u64, u64, u64) = (2, 10, 26);

/// What a message has at most beside its payload, in bytes: its headers.
pub const HEADERS_BYTES_MAX: usize = 4 << 10;

/// The servers' number of the error that a subject is in another stream.
const OVERLAPS: u64 = 10_065;

/// Why the gateway can't work on the servers as they are.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// An old server.
    #[error(
        "the NATS server {name} has version {version}, whose replicas may number the same messages differently after a failure; \
         update all servers to 2.10.26 or newer, best to 2.12"
    )]
    OldServer {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// The servers take shorter messages than the gateway.
    #[error("the NATS server takes messages of {most} bytes at most; raise its max_payload to {needed}, or lower limits.message_bytes")]
    SmallPayload {
        /// What it takes.
        most: usize,
        /// What it has to take.
        needed: usize,
    },
    /// Topics of the stream are in another one.
    #[error(
        "stream {name} can't be made: a stream at the servers has some of {pattern} already ({description}); delete that one, or take its name"
    )]
    Overlaps {
        /// The stream.
        name: String,
        /// Its topics.
        pattern: String,
        /// What the servers say.
        description: String,
    },
    /// A stream of that name does not serve.
    #[error("stream {name} at the servers has {key} = {value}; it needs {needed}: change it with the nats tool, or delete the stream")]
    OtherStream {
        /// The stream.
        name: String,
        /// What of it.
        key: &'static str,
        /// As it is.
        value: String,
        /// As it has to be.
        needed: String,
    },
    /// There is no server yet.
    #[error("there is no connection to the servers")]
    Unconnected,
    /// It could not be asked.
    #[error(transparent)]
    Unasked(#[from] AskError),
}

impl Unfit {
    /// Whether time alone may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unasked(_) | Self::Unconnected)
    }
}

/// Looks at the server that `client` is connected to.
pub fn fit_server(client: &Client, message_bytes: usize) -> Result<(), Unfit> {
    let info = client.try_server_info().filter(|info| !info.version.is_empty()).ok_or(Unfit::Unconnected)?;
    let mut parts = info.version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < VERSION_MIN {
        return Err(Unfit::OldServer { name: info.server_name, version: info.version });
    }
    let needed = message_bytes + HEADERS_BYTES_MAX;
    if info.max_payload < needed {
        return Err(Unfit::SmallPayload { most: info.max_payload, needed });
    }
    Ok(())
}

/// Makes `stream` where it is missing; one that is there is compared. How many messages of a topic it keeps.
pub async fn fit_stream(client: &Client, stream: &Stream, message_bytes: usize, history: u64) -> Result<u64, Unfit> {
    let wanted = settings(stream, message_bytes);
    let found = match ask(client, &format!("STREAM.INFO.{}", stream.name), &Value::Null).await {
        Ok(answer) => answer["config"].clone(),
        Err(error) if error.is_not_found() => match ask(client, &format!("STREAM.CREATE.{}", stream.name), &wanted).await {
            Ok(answer) => {
                tracing::info!(stream = stream.name, replicas = stream.replicas, "stream made");
                answer["config"].clone()
            }
            Err(AskError::Refused { error_code: OVERLAPS, description, .. }) => {
                return Err(Unfit::Overlaps { name: stream.name.clone(), pattern: stream.pattern.as_str().to_owned(), description });
            }
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    compare(stream, &wanted, &found, history)
}

/// Has the servers keep as much of a stream as `stream` says from now on, in bytes and in time.
pub async fn keep(client: &Client, stream: &Stream, message_bytes: usize) -> Result<(), AskError> {
    let wanted = settings(stream, message_bytes);
    let mut config = ask(client, &format!("STREAM.INFO.{}", stream.name), &Value::Null).await?["config"].take();
    for key in ["max_bytes", "max_age"] {
        config[key] = wanted[key].clone();
    }
    if config["duplicate_window"].as_u64() > wanted["max_age"].as_u64() {
        config["duplicate_window"] = wanted["max_age"].clone();
    }
    ask(client, &format!("STREAM.UPDATE.{}", stream.name), &config).await.map(|_| ())
}

fn settings(stream: &Stream, message_bytes: usize) -> Value {
    json!({
        "name": stream.name,
        "subjects": [stream.pattern.as_str(), stream.life_subject()],
        "retention": "limits",
        "discard": "old",
        "storage": match stream.storage { StreamStorage::File => "file", StreamStorage::Memory => "memory" },
        "num_replicas": stream.replicas,
        "max_msgs_per_subject": stream.retain,
        "max_msgs": -1,
        "max_bytes": if stream.max_bytes == 0 { -1 } else { i64::try_from(stream.max_bytes).unwrap_or(i64::MAX) },
        "max_age": nanoseconds(stream.max_age),
        "max_msg_size": message_bytes + HEADERS_BYTES_MAX,
        "max_consumers": -1,
        "duplicate_window": nanoseconds(stream.max_age.min(Duration::from_secs(2))),
        "deny_delete": true,
        "deny_purge": true,
        "allow_direct": false,
    })
}

/// Refuses what the gateway can't follow, and tells of what is merely different.
fn compare(stream: &Stream, wanted: &Value, found: &Value, history: u64) -> Result<u64, Unfit> {
    let other = |key, needed: &dyn std::fmt::Display| Unfit::OtherStream {
        name: stream.name.clone(),
        key,
        value: found[key].to_string(),
        needed: needed.to_string(),
    };
    let subjects = found["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !wanted["subjects"].as_array().is_some_and(|needed| needed.iter().all(|subject| subjects.contains(subject))) {
        return Err(other("subjects", &wanted["subjects"]));
    }
    for key in ["retention", "discard"] {
        if found[key] != wanted[key] {
            return Err(other(key, &wanted[key]));
        }
    }
    let retain = match found["max_msgs_per_subject"].as_i64() {
        Some(retain) if retain > 0 => retain.unsigned_abs(),
        _ => u64::MAX,
    };
    if retain <= history {
        return Err(other("max_msgs_per_subject", &format_args!("{} or more", history + 1)));
    }
    for key in ["storage", "num_replicas", "max_msgs_per_subject", "max_bytes", "max_age", "max_msg_size", "deny_delete", "deny_purge"] {
        if found[key] != wanted[key] {
            let (here, there) = (wanted[key].to_string(), found[key].to_string());
            tracing::warn!(stream = stream.name, key, configured = here, "the stream at the servers has {there}, and keeps it");
        }
    }
    Ok(retain)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}
