//! The arguments that say which gateway is meant, and who asks.

use clap::Args;

use super::endpoint::Endpoint;

/// Which gateway, and as whom.
#[derive(Debug, Clone, Args)]
pub struct GatewayArguments {
    /// The gateway's WebSocket
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8765/ws", value_parser = Endpoint::parse)]
    pub url: Endpoint,
    /// A token or an API key
    #[arg(long, value_name = "TOKEN", env = "BELFRY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}
