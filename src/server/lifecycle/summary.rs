//! What the operator is told at the start: where everything is.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::config::Config;

/// A few lines for the terminal. `run_key` is told here and nowhere else, least of all in a log.
pub fn summary(address: SocketAddr, admin: Option<SocketAddr>, config: &Config, run_key: Option<&str>) -> String {
    let secure = if config.server.tls.is_some() { "s" } else { "" };
    let (host, admin_host) = (reachable(address), admin.map_or_else(|| reachable(address), reachable));
    let admin_secure = if admin.is_none() {
        secure
    } else if config.admin.tls.is_some() {
        "s"
    } else {
        ""
    };
    let mut text = format!("belfry {} listens on {address}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| writeln!(text, "  {name:<10} {value}").expect("a string takes everything");
    line("page", format!("http{secure}://{host}/"));
    line("websocket", format!("ws{secure}://{host}/ws"));
    line("raw", format!("ws{secure}://{host}/raw/{{topic}}"));
    for (path, topic) in &config.endpoints {
        line("", format!("ws{secure}://{host}{path} ({topic})"));
    }
    line("metrics", format!("http{admin_secure}://{admin_host}/metrics"));
    line("admin", format!("http{admin_secure}://{admin_host}/v1/topics, /v1/sessions"));
    if let Some(key) = run_key {
        line("admin key", format!("{key} (for this run)"));
    }
    text
}

/// An address that a browser on this machine can open: nobody connects to 0.0.0.0.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_everything_is() {
        let mut config = Config::default();
        config.endpoints.insert("/rooms/lobby".to_owned(), crate::topic_name::TopicName::parse("chat.lobby").unwrap());
        let text = summary(([0, 0, 0, 0], 8765).into(), None, &config, Some("k3y"));
        for part in ["listens on 0.0.0.0:8765", "http://localhost:8765/\n", "ws://localhost:8765/ws", "/rooms/lobby (chat.lobby)", "k3y"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let apart = summary(([127, 0, 0, 1], 1).into(), Some(([127, 0, 0, 1], 2).into()), &config, None);
        assert!(apart.contains("http://127.0.0.1:2/metrics") && !apart.contains("key"));
    }
}
