//! `belfry sub`: prints messages.

mod output;
mod resume;
mod subscriber;

use clap::Args;

use super::gateway::GatewayArguments;
use crate::topic_name::Pattern;
use output::{Format, Output};
use subscriber::Subscriber;

/// `belfry sub`.
#[derive(Debug, Args)]
pub(super) struct SubArguments {
    /// Topics, or patterns as in quotes.* and chat.>
    #[arg(required = true, value_name = "TOPIC", value_parser = Pattern::parse)]
    topics: Vec<Pattern>,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Begin with up to N of the newest messages of each topic
    #[arg(long, short, value_name = "N", allow_negative_numbers = true, value_parser = parse_last)]
    last: Option<u32>,
    /// End after N messages
    #[arg(long, short = 'n', value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    count: Option<u64>,
    /// How a message is printed
    #[arg(long, short, value_enum, default_value_t)]
    format: Format,
    /// Print each message's event as received; the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Prints the messages of topics until the count is reached or standard output is closed.
pub(super) async fn subscribe(arguments: SubArguments) -> anyhow::Result<()> {
    let SubArguments { topics, gateway, last, count, format, json } = arguments;
    let format = if json { Format::Json } else { format };
    let names_topics = topics.len() > 1 || topics.iter().any(Pattern::is_wild);
    let topics = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
    Subscriber::new(gateway.into_gateway()?, topics, last, count, Output::new(format, names_topics)).run().await
}

fn parse_last(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u32::MAX))
}

fn parse_count(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|count| *count > 0).ok_or("write a whole number of 1 or more")
}
