//! The lines that a start prints: the addresses, and the admin key.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::config::{Config, ListenAddress};

/// A few lines for the terminal. `run_key` appears here only, and never in the log.
pub fn summary(addresses: &[ListenAddress], admin: &[ListenAddress], config: &Config, run_key: Option<&str>) -> String {
    let Access { secure, host, by } = Access::to(addresses, config.server.tls.is_some());
    let (of_admin, admin_tls) = if admin.is_empty() { (addresses, &config.server.tls) } else { (admin, &config.admin.tls) };
    let Access { secure: admin_secure, host: admin_host, by: admin_by } = Access::to(of_admin, admin_tls.is_some());
    let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("belfry {} listens on {listed}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| writeln!(text, "  {name:<10} {value}").expect("a string takes everything");
    line("page", format!("http{secure}://{host}/{by}"));
    line("websocket", format!("ws{secure}://{host}/ws{by}"));
    line("raw", format!("ws{secure}://{host}/raw/{{topic}}{by}"));
    for (path, topic) in &config.endpoints {
        line("", format!("ws{secure}://{host}{path} ({topic})"));
    }
    line("metrics", format!("http{admin_secure}://{admin_host}/metrics{admin_by}"));
    line("admin", format!("http{admin_secure}://{admin_host}/v1/topics, /v1/sessions{admin_by}"));
    if config.feed.simulator.is_some() && by.is_empty() {
        line("try", format!("belfry sub 'quotes.*' --url ws{secure}://{host}"));
    }
    if let Some(key) = run_key {
        line("admin key", format!("{key} (for this run)"));
    } else if !config.auth.api_keys.iter().any(|key| key.admin) {
        let entry = "{ name = \"admin\", key = \"32 random characters\", admin = true }";
        line("admin key", format!("none; for one, auth.api_keys = [{entry}]"));
    }
    text
}

/// How a listener is reached: by its first network address, or else by its Unix socket.
struct Access {
    /// `s` or nothing, the end of a URL's scheme.
    secure: &'static str,
    host: String,
    /// The Unix socket, if the listener has no network address.
    by: String,
}

impl Access {
    fn to(addresses: &[ListenAddress], has_tls: bool) -> Self {
        let network = addresses.iter().find_map(|address| match address {
            ListenAddress::Network(address) => Some(*address),
            ListenAddress::Unix(_) | ListenAddress::Passed(_) => None,
        });
        match (network, addresses.first()) {
            (Some(address), _) => Self { secure: if has_tls { "s" } else { "" }, host: reachable(address), by: String::new() },
            (None, first) => {
                let by = first.map(|address| format!(" (by {address})")).unwrap_or_default();
                Self { secure: "", host: "localhost".to_owned(), by }
            }
        }
    }
}

/// The address for a browser on this machine: loopback in place of 0.0.0.0.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ApiKey;

    #[test]
    fn the_summary_names_addresses_endpoints_and_key() {
        let mut config = Config::default();
        config.endpoints.insert("/rooms/lobby".to_owned(), crate::topic_name::TopicName::parse("chat.lobby").unwrap());
        let at = |address: [u8; 4], port: u16| vec![ListenAddress::Network((address, port).into())];
        let text = summary(&at([0, 0, 0, 0], 8765), &[], &config, Some("k3y"));
        for part in ["listens on 0.0.0.0:8765", "http://localhost:8765/\n", "ws://localhost:8765/ws", "/rooms/lobby (chat.lobby)", "k3y"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let apart = summary(&at([127, 0, 0, 1], 1), &at([127, 0, 0, 1], 2), &config, None);
        assert!(apart.contains("http://127.0.0.1:2/metrics") && apart.contains("admin key  none; for one, auth.api_keys = [{"), "{apart}");
        let key = ApiKey { name: "admin".into(), key: "k3y".into(), admin: true, ..ApiKey::default() };
        config.auth.api_keys.push(key);
        config.feed.simulator = Some(crate::config::Simulator::default());
        assert!(summary(&at([127, 0, 0, 1], 1), &[], &config, None).contains("belfry sub 'quotes.*' --url ws://127.0.0.1:1\n"));
        let keyed = summary(&at([127, 0, 0, 1], 1), &[], &config, None);
        assert!(!keyed.contains("k3y") && !keyed.contains("admin key"), "{keyed}");
        let unix = ListenAddress::Unix("/run/a".into());
        let several = summary(&[vec![unix.clone()], at([127, 0, 0, 1], 1)].concat(), std::slice::from_ref(&unix), &config, None);
        for part in ["listens on unix:/run/a, 127.0.0.1:1\n", "ws://127.0.0.1:1/ws\n", "http://localhost/metrics (by unix:/run/a)\n"] {
            assert!(several.contains(part), "{part} in {several}");
        }
    }
}
