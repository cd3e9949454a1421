//! The arguments that name a gateway and the credential.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use tokio_rustls::rustls::ClientConfig;

use super::endpoint::Endpoint;
use super::tls::{Trust, client_config};
use crate::cli::stdio::report;

const DEFAULT_URL: &str = "ws://127.0.0.1:8765/ws";

/// The gateway, and the credential.
#[derive(Debug, Clone, Args)]
pub struct GatewayArguments {
    /// The gateway's WebSocket, HOST:PORT, or unix:/FILE
    #[arg(long, short, value_name = "URL", env = "BELFRY_URL", default_value = DEFAULT_URL, value_parser = endpoint)]
    url: Endpoint,
    /// A token or an API key
    #[arg(long, short, value_name = "TOKEN", env = "BELFRY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Trust the certificates of this PEM file in place of the system's roots
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Accept any certificate: for development only
    #[arg(long, conflicts_with = "cacert")]
    insecure: bool,
}

/// A gateway that sessions and requests can be opened to.
#[derive(Clone)]
pub struct Gateway {
    pub endpoint: Endpoint,
    /// The credential of each request.
    pub token: Option<String>,
    /// The TLS settings of `wss`.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl GatewayArguments {
    /// The gateway that these arguments name.
    pub fn into_gateway(self) -> anyhow::Result<Gateway> {
        // An empty environment variable counts as unset.
        let token = self.token.filter(|token| !token.is_empty());
        if let Some(token) = &token {
            let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(is_plain, "the token holds white space or other characters that no token has");
        }
        let trust = match (self.cacert, self.insecure) {
            (Some(file), _) => Trust::File(file),
            (None, true) => Trust::Anybody,
            (None, false) => Trust::System,
        };
        if trust == Trust::Anybody && self.url.tls {
            report("warning: --insecure accepts any certificate, so anybody on the way can read along");
        }
        let tls = if self.url.tls { Some(client_config(&trust)?) } else { None };
        Ok(Gateway { endpoint: self.url, token, tls })
    }
}

/// Reads a URL. An empty one, as from an empty environment variable, is the default.
fn endpoint(text: &str) -> anyhow::Result<Endpoint> {
    Endpoint::parse(if text.is_empty() { DEFAULT_URL } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(token: &str) -> GatewayArguments {
        GatewayArguments { url: endpoint("").unwrap(), token: Some(token.to_owned()), cacert: None, insecure: false }
    }

    #[test]
    fn an_empty_token_is_none_and_a_token_adds_no_header_line() {
        assert_eq!(arguments("").into_gateway().unwrap().token, None);
        assert_eq!(arguments("a.b-c_d").into_gateway().unwrap().token.as_deref(), Some("a.b-c_d"));
        assert!(arguments("a\r\nX: y").into_gateway().is_err());
    }
}
