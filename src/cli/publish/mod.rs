//! `belfry pub`: publishes messages.

mod command;
mod lines;
mod outcome;
mod publisher;
mod window;

use std::io::IsTerminal;

use clap::Args;

use super::gateway::GatewayArguments;
use super::stdio::report;
use crate::topic_name::TopicName;
use lines::Source;
use publisher::Options;

/// `belfry pub`.
#[derive(Debug, Args)]
pub(super) struct PubArguments {
    /// The topic
    #[arg(value_name = "TOPIC", value_parser = TopicName::parse)]
    topic: TopicName,
    /// The payload; text that is not JSON is sent as a JSON string. Without it, or with `-`, each line of standard input is a message
    #[arg(value_name = "DATA | -", allow_negative_numbers = true)]
    data: Option<String>,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Keep 64 lines in flight, whatever the default rate is; for a key with its own `commands_per_second`
    #[arg(long)]
    unthrottled: bool,
    /// Print errors only
    #[arg(long, short)]
    quiet: bool,
}

/// Publishes a payload, or the lines of standard input, and waits for all answers.
pub(super) async fn publish(arguments: PubArguments) -> anyhow::Result<()> {
    let PubArguments { topic, data, gateway, unthrottled, quiet } = arguments;
    let source = match data {
        Some(data) if data != "-" => Source::one(data),
        _ => {
            if !quiet && std::io::stdin().is_terminal() {
                report("reading messages from standard input, one on each line; end with Ctrl-D");
            }
            Source::standard_input()
        }
    };
    let options = Options { keeps_default_rate: !unthrottled, quiet };
    publisher::publish(&gateway.into_gateway()?, &topic, source, options).await
}
