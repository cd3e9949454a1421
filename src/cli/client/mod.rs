//! `belfry sub` and `belfry pub`: a gateway's subscriber and publisher on the command line.

mod backoff;
mod connect;
mod endpoint;
mod event;
mod gateway;
mod publish;
mod resume;
mod sub;
mod window;
mod wire;

pub use connect::{ConnectError, fetch, upgrade};
pub use endpoint::Endpoint;
pub use event::Message;
pub use gateway::GatewayArguments;
pub use wire::{Incoming, Wire};

use clap::Args;

use crate::topic_name::{Pattern, TopicName};

/// `belfry sub`.
#[derive(Debug, Args)]
pub(super) struct SubArguments {
    /// Topics, or patterns as in quotes.* and chat.>
    #[arg(required = true, value_name = "TOPIC", value_parser = Pattern::parse)]
    topics: Vec<Pattern>,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Begin with up to N of the newest messages of each topic
    #[arg(long, value_name = "N")]
    last: Option<u32>,
    /// End after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print the message's event as received, not its payload alone
    #[arg(long)]
    json: bool,
}

/// `belfry pub`.
#[derive(Debug, Args)]
pub(super) struct PubArguments {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = TopicName::parse)]
    topic: TopicName,
    /// The payload; what isn't JSON is sent as a JSON string. `-` or nothing: a message per line of standard input
    #[arg(value_name = "DATA | -", allow_negative_numbers = true)]
    data: Option<String>,
    #[command(flatten)]
    gateway: GatewayArguments,
}

/// Prints the messages of topics until their count is full or nobody reads them.
pub(super) async fn subscribe(arguments: SubArguments) -> anyhow::Result<()> {
    let SubArguments { topics, gateway, last, count, json } = arguments;
    let topics = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
    sub::Subscriber::new(gateway.url, gateway.token, sub::Wanted { topics, last, count, json }).run().await
}

/// Publishes a payload, or the lines of standard input, until each is answered.
pub(super) async fn publish(arguments: PubArguments) -> anyhow::Result<()> {
    let PubArguments { topic, data, gateway } = arguments;
    let source = match data {
        Some(data) if data != "-" => publish::Source::one(data),
        _ => publish::Source::standard_input(),
    };
    publish::publish(&gateway.url, gateway.token.as_deref(), &topic, source).await
}
