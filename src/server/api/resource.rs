//! The paths of HTTP, and the methods of each (PROTOCOL section 5).

use super::centrifugo::CentrifugoApi;
use super::page::Asset;
use crate::config::Config;
use crate::server::streaming::{EmulatedTransport, StreamKind};
use crate::server::websocket::target;

/// Which paths a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// All paths: there is no administrators' listener.
    Whole,
    /// All paths but those of the administrators' listener.
    Public,
    /// The `/v1` reads, sessions, `/metrics` and health.
    Admin,
}

/// The resource that a path names.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the path of the table that `Resource::at` has")]
pub enum Resource<'a> {
    Asset(Asset),
    Healthz,
    Readyz,
    Metrics,
    Topics,
    Topic(&'a str),
    History(&'a str),
    Presence(&'a str),
    Publish,
    /// A command of Centrifugo's HTTP API.
    Api(&'a str),
    Sessions,
    Session(&'a str),
    /// A path that accepts WebSocket handshakes only.
    WebSocket,
    /// `/sse` or `/stream`.
    Stream,
    /// A transport of Centrifugo's protocol over HTTP.
    Transport(EmulatedTransport),
    /// `/emulation`: commands for the sessions of those transports.
    Emulation,
}

impl<'a> Resource<'a> {
    /// The resource at `path`, if there is one.
    pub fn at(path: &'a str, config: &Config) -> Option<Self> {
        if let Some(asset) = Asset::at(path, config) {
            return config.page.enabled.then_some(Self::Asset(asset));
        }
        let resource = match path {
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/v1/topics" => Self::Topics,
            "/v1/publish" => Self::Publish,
            "/v1/sessions" => Self::Sessions,
            _ if StreamKind::at(path).is_some() => Self::Stream,
            _ if !config.centrifugo.enabled && is_centrifugos(path) => return None,
            "/emulation" => Self::Emulation,
            _ => {
                return Self::below(path)
                    .or_else(|| EmulatedTransport::at(path).map(Self::Transport))
                    .or_else(|| target(path, config).map(|_| Self::WebSocket));
            }
        };
        Some(resource)
    }

    fn below(path: &'a str) -> Option<Self> {
        if let Some(id) = path.strip_prefix("/v1/sessions/") {
            return (!id.is_empty() && !id.contains('/')).then_some(Self::Session(id));
        }
        if let Some(method) = path.strip_prefix("/api/") {
            return CentrifugoApi::has(method).then_some(Self::Api(method));
        }
        let rest = path.strip_prefix("/v1/topics/")?;
        match rest.split_once('/') {
            None => (!rest.is_empty()).then_some(Self::Topic(rest)),
            Some(("", _)) => None,
            Some((topic, "history")) => Some(Self::History(topic)),
            Some((topic, "presence")) => Some(Self::Presence(topic)),
            Some(_) => None,
        }
    }

    /// The methods of the resource on `surface`; an empty text if the listener does not serve it.
    pub fn methods(&self, surface: Surface) -> &'static str {
        const NONE: &str = "";
        const READ: &str = "GET, HEAD";
        let (whole, public, admin) = match self {
            Self::Healthz | Self::Readyz => (READ, READ, READ),
            Self::Asset(_) | Self::Stream => (READ, READ, NONE),
            Self::WebSocket => ("GET", "GET", NONE),
            Self::Transport(transport) => (transport.methods(), transport.methods(), NONE),
            Self::Publish | Self::Api(_) | Self::Emulation => ("POST", "POST", NONE),
            Self::Topic(_) => ("GET, HEAD, POST", "POST", READ),
            Self::Metrics | Self::Topics | Self::History(_) | Self::Presence(_) | Self::Sessions => (READ, NONE, READ),
            Self::Session(_) => ("DELETE", NONE, "DELETE"),
        };
        match surface {
            Surface::Whole => whole,
            Surface::Public => public,
            Surface::Admin => admin,
        }
    }
}

/// Whether a path belongs to Centrifugo's protocol or API.
fn is_centrifugos(path: &str) -> bool {
    path.starts_with("/api/") || path == "/emulation" || EmulatedTransport::at(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn methods(path: &str, surface: Surface) -> &'static str {
        Resource::at(path, &Config::default()).map_or("", |resource| resource.methods(surface))
    }

    fn may_be_endpoint(path: &str) -> bool {
        let settings = vec![(format!("endpoints.\"{path}\""), "chat.a".to_owned())];
        Config::load(&Sources { settings, ..Sources::default() }).is_ok()
    }

    /// PROTOCOL 5: the methods of each path, without `admin.listen` and on the two surfaces with it. A path with methods, except `/`, can't be
    /// one of `[endpoints]`. (`/emulation` could.)
    #[test]
    fn each_path_has_its_methods() {
        for (path, whole, public, admin) in [
            ("/", "GET, HEAD", "GET, HEAD", ""),
            ("/belfry.js", "GET, HEAD", "GET, HEAD", ""),
            ("/page/page.css", "GET, HEAD", "GET, HEAD", ""),
            ("/page/absent.js", "", "", ""),
            ("/healthz", "GET, HEAD", "GET, HEAD", "GET, HEAD"),
            ("/readyz", "GET, HEAD", "GET, HEAD", "GET, HEAD"),
            ("/metrics", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics/a.b", "GET, HEAD, POST", "POST", "GET, HEAD"),
            ("/v1/topics/a.b/history", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/topics/a.b/presence", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/publish", "POST", "POST", ""),
            ("/api/publish", "POST", "POST", ""),
            ("/api/nothing", "", "", ""),
            ("/v1/sessions", "GET, HEAD", "", "GET, HEAD"),
            ("/v1/sessions/0123456789abcdef", "DELETE", "", "DELETE"),
            ("/ws", "GET", "GET", ""),
            ("/raw/a.b", "GET", "GET", ""),
            ("/echo", "GET", "GET", ""),
            ("/sse", "GET, HEAD", "GET, HEAD", ""),
            ("/stream", "GET, HEAD", "GET, HEAD", ""),
            ("/connection/sse", "GET, POST", "GET, POST", ""),
            ("/connection/http_stream", "POST", "POST", ""),
            ("/emulation", "POST", "POST", ""),
            ("/sse/", "", "", ""),
            ("/v1/topics/", "", "", ""),
            ("/v1/topics/a/b", "", "", ""),
            ("/v1/topics//history", "", "", ""),
            ("/v1/sessions/a/b", "", "", ""),
            ("/nothing", "", "", ""),
        ] {
            let found = (methods(path, Surface::Whole), methods(path, Surface::Public), methods(path, Surface::Admin));
            assert_eq!(found, (whole, public, admin), "{path}");
            assert!(whole.is_empty() || path == "/" || !may_be_endpoint(path), "{path}");
        }
        assert!(may_be_endpoint("/nothing"));
    }
}
