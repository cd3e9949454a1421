//! The WebSocket paths and their sessions.

use percent_encoding::percent_decode_str;

use super::handshake::Subprotocol;
use crate::config::Config;
use crate::dialect::centrifugo::Wire;
use crate::metrics::RejectReason;
use crate::server::request::{Query, topic_name};
use crate::server::response::Refused;
use crate::session::Purpose;
use crate::topic_name::TopicName;

/// A WebSocket path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/ws` and `/`.
    Native,
    /// `/raw/{topic}`, with the topic as written in the path.
    RawPath(&'a str),
    /// One of `[endpoints]`.
    Endpoint(TopicName),
    /// `/echo`.
    Echo,
    /// `/connection/websocket`.
    Centrifugo,
}

impl Target<'_> {
    /// Its subprotocols, in order of preference.
    pub fn subprotocols(&self) -> &'static [Subprotocol] {
        match self {
            Self::Native => &[Subprotocol::Native],
            Self::Centrifugo => &[Subprotocol::CentrifugoProtobuf, Subprotocol::CentrifugoJson],
            Self::RawPath(_) | Self::Endpoint(_) | Self::Echo => &[],
        }
    }
}

/// The WebSocket at `path`, if there is one. Paths of `[endpoints]` are compared decoded, and take precedence.
pub fn target<'a>(path: &'a str, config: &Config) -> Option<Target<'a>> {
    let decoded = percent_decode_str(path).decode_utf8().ok();
    if let Some(topic) = decoded.and_then(|path| config.endpoints.get(&*path)) {
        return Some(Target::Endpoint(topic.clone()));
    }
    match path {
        "/ws" | "/" => Some(Target::Native),
        "/connection/websocket" => config.centrifugo.enabled.then_some(Target::Centrifugo),
        "/echo" => config.echo.enabled.then_some(Target::Echo),
        _ => path.strip_prefix("/raw/").filter(|topic| !topic.is_empty() && !topic.contains('/')).map(Target::RawPath),
    }
}

/// The purpose of a session at `target`, by its query and its subprotocol.
pub fn purpose(target: &Target<'_>, query: &Query<'_>, subprotocol: Option<Subprotocol>) -> Result<Purpose, Refused> {
    let raw = |topic| Ok(Purpose::Raw { topic, last: query.size("last", 0)?, echo: query.flag("echo")? });
    match target {
        Target::Native => Ok(Purpose::Native { topics: query.topics("topics")?, last: query.size("last", 0)? }),
        Target::Endpoint(topic) => raw(topic.clone()),
        Target::Echo => Ok(Purpose::Echo),
        Target::Centrifugo => {
            let is_asked = |key| Ok::<_, Refused>(query.text(key)?.as_deref() == Some("protobuf"));
            let protobuf = subprotocol == Some(Subprotocol::CentrifugoProtobuf) || is_asked("format")? || is_asked("cf_protocol")?;
            Ok(Purpose::Centrifugo { wire: if protobuf { Wire::Protobuf } else { Wire::Json } })
        }
        Target::RawPath(path) => raw(topic_name(path).map_err(|problem| Refused(RejectReason::BadUpgrade, problem))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 4: `/raw/{topic}`, `[endpoints]` and `/echo`. PROTOCOL 3: `/ws`, and `/` if `[endpoints]` does not have
    /// it.
    #[test]
    fn each_path_has_its_target() {
        let topic = TopicName::parse("chat.lobby").unwrap();
        let none = Config::default();
        let mut mapped = Config::default();
        mapped.endpoints.insert("/".to_owned(), topic.clone());
        mapped.echo.enabled = false;
        assert_eq!(target("/ws", &none), Some(Target::Native));
        assert_eq!(target("/", &none), Some(Target::Native));
        assert_eq!(target("/", &mapped), Some(Target::Endpoint(topic)));
        assert_eq!(target("/raw/chat.lobby", &none), Some(Target::RawPath("chat.lobby")));
        assert_eq!((target("/echo", &none), target("/echo", &mapped)), (Some(Target::Echo), None));
        for path in ["/raw", "/raw/", "/raw/a/b", "/wss", "/echo/", "/healthz"] {
            assert_eq!(target(path, &none), None, "{path}");
        }
    }

    /// PROTOCOL 10: the subprotocol, `?format=` or `?cf_protocol=` selects protobuf. The default is JSON.
    #[test]
    fn the_wire_of_centrifugo_is_selected() {
        let (none, mut off) = (Config::default(), Config::default());
        off.centrifugo.enabled = false;
        let path = "/connection/websocket";
        assert_eq!((target(path, &none), target(path, &off)), (Some(Target::Centrifugo), None));
        let protobuf = Some(Subprotocol::CentrifugoProtobuf);
        for (query, offered, right) in [
            ("", None, Wire::Json),
            ("format=json", Some(Subprotocol::CentrifugoJson), Wire::Json),
            ("cf_protocol_version=v2", None, Wire::Json),
            ("format=protobuf", None, Wire::Protobuf),
            ("cf_protocol=protobuf", None, Wire::Protobuf),
            ("", protobuf, Wire::Protobuf),
        ] {
            let chosen = purpose(&Target::Centrifugo, &Query::new(Some(query)), offered);
            assert!(matches!(chosen, Ok(Purpose::Centrifugo { wire }) if wire == right), "{query} {offered:?}");
        }
    }

    /// PROTOCOL 2 and 4: the path is percent-decoded, and must then be a valid name.
    #[test]
    fn a_raw_topic_is_decoded_and_then_checked() {
        let query = Query::new(Some("last=3&echo=true"));
        let Ok(Purpose::Raw { topic, last, echo }) = purpose(&Target::RawPath("%E8%81%8A.a"), &query, None) else { panic!("not raw") };
        assert_eq!((topic.as_str(), last, echo), ("聊.a", Some(3), true));
        for path in ["a%2Fb", "a%00", "a.%3E", "%ff", "a%20b", "..", "*"] {
            assert!(purpose(&Target::RawPath(path), &query, None).is_err(), "{path}");
        }
        assert!(purpose(&Target::Native, &Query::new(Some("last=x")), None).is_err());
    }
}
