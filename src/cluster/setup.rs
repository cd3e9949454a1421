//! Prepares the streams at the servers: makes those that are missing, and refuses servers and streams that the gateway can't work with.

use std::time::Duration;

use async_nats::Client;
use serde_json::{Value, json};

use super::api::{ApiError, request};
use crate::config::{Stream, StreamStorage};

/// The oldest version whose replicas give the same messages the same numbers after a failure.
const VERSION_MIN: (u64, u64, u64) = (2, 10, 26);

/// The most bytes of a message's headers.
pub const HEADERS_BYTES_MAX: usize = 4 << 10;

/// The number of NATS's error for a subject that is in another stream.
const OVERLAPS: u64 = 10_065;

/// Why the gateway can't work on the servers as they are.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the text of each error says what it is")]
pub enum SetupError {
    #[error(
        "the NATS server {name} has version {version}, whose replicas may number the same messages differently after a failure; \
         update all servers to 2.10.26 or newer, best to 2.12"
    )]
    OldServer { name: String, version: String },
    #[error("the NATS server takes messages of {most} bytes at most; raise its max_payload to {needed}, or lower limits.message_bytes")]
    SmallPayload { most: usize, needed: usize },
    #[error(
        "stream {name} can't be made: a stream at the servers has some of {pattern} already ({description}); delete that one, or take its name"
    )]
    Overlaps { name: String, pattern: String, description: String },
    #[error("stream {name} at the servers has {key} = {value}; it needs {needed}: change it with the nats tool, or delete the stream")]
    OtherStream { name: String, key: &'static str, value: String, needed: String },
    #[error("there is no connection to the servers")]
    NotConnected,
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl SetupError {
    /// Whether the error may disappear by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Api(_) | Self::NotConnected)
    }
}

/// Checks the version and the settings of the server that `client` is connected to.
pub fn check_server(client: &Client, message_bytes: usize) -> Result<(), SetupError> {
    let info = client.try_server_info().filter(|info| !info.version.is_empty()).ok_or(SetupError::NotConnected)?;
    let mut parts = info.version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < VERSION_MIN {
        return Err(SetupError::OldServer { name: info.server_name, version: info.version });
    }
    let needed = message_bytes + HEADERS_BYTES_MAX;
    if info.max_payload < needed {
        return Err(SetupError::SmallPayload { most: info.max_payload, needed });
    }
    Ok(())
}

/// Makes `stream` if it is missing, and checks it if it exists. Returns the number of messages of a topic that the stream keeps.
pub async fn prepare_stream(client: &Client, stream: &Stream, message_bytes: usize, history: u64) -> Result<u64, SetupError> {
    let wanted = settings(stream, message_bytes);
    let found = match request(client, &format!("STREAM.INFO.{}", stream.name), &Value::Null).await {
        Ok(answer) => answer["config"].clone(),
        Err(error) if error.is_not_found() => match request(client, &format!("STREAM.CREATE.{}", stream.name), &wanted).await {
            Ok(answer) => {
                tracing::info!(stream = stream.name, replicas = stream.replicas, "stream made");
                answer["config"].clone()
            }
            Err(ApiError::Refused { error_code: OVERLAPS, description, .. }) => {
                return Err(SetupError::Overlaps { name: stream.name.clone(), pattern: stream.pattern.as_str().to_owned(), description });
            }
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    };
    compare(stream, &wanted, &found, history)
}

/// Sets `max_bytes` and `max_age` of the stream at the servers.
pub async fn update_stream(client: &Client, stream: &Stream, message_bytes: usize) -> Result<(), ApiError> {
    let wanted = settings(stream, message_bytes);
    let mut config = request(client, &format!("STREAM.INFO.{}", stream.name), &Value::Null).await?["config"].take();
    for key in ["max_bytes", "max_age"] {
        config[key] = wanted[key].clone();
    }
    if config["duplicate_window"].as_u64() > wanted["max_age"].as_u64() {
        config["duplicate_window"] = wanted["max_age"].clone();
    }
    request(client, &format!("STREAM.UPDATE.{}", stream.name), &config).await.map(|_| ())
}

fn settings(stream: &Stream, message_bytes: usize) -> Value {
    json!({
        "name": stream.name,
        "subjects": [stream.pattern.as_str(), stream.epoch_subject()],
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

/// Refuses a stream that the gateway can't follow, and logs settings that merely differ from the configured ones.
fn compare(stream: &Stream, wanted: &Value, found: &Value, history: u64) -> Result<u64, SetupError> {
    let other = |key, needed: &dyn std::fmt::Display| SetupError::OtherStream {
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
