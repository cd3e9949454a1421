//! The dialects of servers: their commands and frames.

mod centrifugo_json;
mod centrifugo_protobuf;
mod decimal;
mod envelope;
mod native;
mod nats;
mod reply;
mod server_sent;

use std::ops::Range;

use crate::stamp::MARKER;
use crate::wire::frame::{Opcode, push_masked};
pub use reply::{Reply, SubscribedTopic};

/// The protocol of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Belfry's native dialect.
    #[default]
    Json,
    /// Belfry's raw dialect: the path is the topic.
    Raw,
    /// Belfry's native dialect as server-sent events.
    Sse,
    /// Belfry's native dialect as lines of an HTTP answer.
    Stream,
    /// A server without topics, which sends each text to everybody.
    Plain,
    /// A server with topics and without envelopes: `SUB a b`, answered by `SUB`; `PUB a`, then the payload on the next line.
    Bare,
    /// NATS over WebSocket.
    Nats,
    /// nchan: topics in the path, published to over HTTP.
    Nchan,
    /// Centrifugo's protocol in JSON.
    #[value(alias = "centrifugo")]
    CentrifugoJson,
    /// Centrifugo's protocol in protobuf.
    CentrifugoProtobuf,
}

impl Dialect {
    /// The request target of a session with `topics`, which resumes from the positions in `since` if it is a stream; `path`
    /// is that of the URL.
    pub fn path(self, path: &str, topics: &[&str], since: &[(&str, &str, u64)]) -> String {
        if self.is_stream() {
            let name = if self == Self::Sse { "sse" } else { "stream" };
            let positions = since.iter().map(|(_, epoch, offset)| match *epoch {
                "" => "-".to_owned(),
                epoch => format!("{epoch}:{offset}"),
            });
            let positions = positions.collect::<Vec<_>>().join(",");
            let id = if positions.is_empty() { String::new() } else { format!("&last_event_id={positions}") };
            return format!("/{name}?topics={}{id}", topics.join(","));
        }
        match (self, topics) {
            // With `echo`, all members of a chat receive the same messages.
            (Self::Raw, [topic, ..]) => format!("/raw/{topic}?echo=true"),
            (Self::Nchan, topics) => format!("/sub/{}", topics.join(",")),
            // `/ws` is the path of the native dialect only. So it stands for the default path here.
            (Self::CentrifugoJson | Self::CentrifugoProtobuf, _) if matches!(path, "" | "/" | "/ws") => self.default_path().to_owned(),
            (Self::CentrifugoProtobuf, _) if !path.contains('?') => format!("{path}?format=protobuf"),
            _ => path.to_owned(),
        }
    }

    /// The path of sessions at a server that was started for a run.
    pub fn default_path(self) -> &'static str {
        match self {
            Self::CentrifugoJson => "/connection/websocket",
            Self::CentrifugoProtobuf => "/connection/websocket?format=protobuf",
            _ => "/ws",
        }
    }

    /// Whether a session is the answer to an HTTP request, which can't publish.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Sse | Self::Stream)
    }

    pub fn is_centrifugo(self) -> bool {
        matches!(self, Self::CentrifugoJson | Self::CentrifugoProtobuf)
    }

    /// Whether a session that comes back resumes from its positions.
    pub fn resumes(self) -> bool {
        self == Self::Json || self.is_stream() || self.is_centrifugo()
    }

    /// Whether a session can change its topics.
    pub fn changes_topics(self) -> bool {
        self == Self::Json || self.is_centrifugo()
    }

    /// Whether a drain is announced to every session before its end.
    pub fn announces_drains(self) -> bool {
        self == Self::Json || self.is_stream()
    }

    /// The code with which a drain ends sessions. A stream that ends after the announcement counts as closed with
    /// 1001.
    pub fn drain_code(self) -> u16 {
        if self.is_centrifugo() { 3001 } else { 1001 }
    }

    /// The dialect of publishers, if that of the subscribers is this.
    pub fn of_publishers(self) -> Self {
        match self {
            Self::Raw | Self::Sse | Self::Stream => Self::Json,
            other => other,
        }
    }

    /// Whether one session can take several topics.
    pub fn takes_many_topics(self) -> bool {
        !matches!(self, Self::Raw | Self::Plain)
    }

    /// Whether sessions can publish. Otherwise publishers use HTTP.
    pub fn sessions_publish(self) -> bool {
        self != Self::Nchan
    }

    /// Whether a session must send a command before it publishes.
    pub fn introduces_itself(self) -> bool {
        self == Self::Nats || self.is_centrifugo()
    }

    /// Whether the server sends other events, which are ignored.
    pub fn sends_other_events(self) -> bool {
        matches!(self, Self::Json | Self::Nats) || self.is_stream() || self.is_centrifugo()
    }

    pub fn opcode(self) -> Opcode {
        if matches!(self, Self::Nats | Self::CentrifugoProtobuf) { Opcode::Binary } else { Opcode::Text }
    }

    /// Whether only Belfry has it.
    pub fn is_belfrys_own(self) -> bool {
        matches!(self, Self::Json | Self::Raw) || self.is_stream()
    }

    /// Whether the upgrade itself subscribes.
    pub fn subscribes_by_path(self) -> bool {
        matches!(self, Self::Raw | Self::Plain | Self::Nchan)
    }

    /// Appends the command that opens a session, if the dialect has one of its own.
    pub fn push_connect(self, out: &mut Vec<u8>) {
        match self {
            Self::CentrifugoJson => push_masked(out, self.opcode(), centrifugo_json::CONNECT.as_bytes()),
            Self::CentrifugoProtobuf => push_masked(out, self.opcode(), &centrifugo_protobuf::connect()),
            _ => {}
        }
    }

    /// Appends a subscribe to `topics`, which resumes from the positions in `since`. A dialect with one command for each
    /// topic gives them ids from `first_id` on.
    pub fn push_subscribe(self, out: &mut Vec<u8>, topics: &[&str], since: &[(&str, &str, u64)], first_id: u64) {
        let command = match self {
            Self::Json => native::subscribe(topics, since).into_bytes(),
            Self::Nats => nats::subscribe(topics).into_bytes(),
            Self::Bare => format!("SUB {}", topics.join(" ")).into_bytes(),
            Self::CentrifugoJson | Self::CentrifugoProtobuf if topics.is_empty() => return,
            Self::CentrifugoJson => centrifugo_json::subscribe(topics, since, first_id).into_bytes(),
            Self::CentrifugoProtobuf => centrifugo_protobuf::subscribe(topics, since, first_id),
            Self::Raw | Self::Plain | Self::Nchan | Self::Sse | Self::Stream => return,
        };
        push_masked(out, self.opcode(), &command);
    }

    /// Appends an unsubscribe from `topics`.
    pub fn push_unsubscribe(self, out: &mut Vec<u8>, topics: &[&str]) {
        let command = match self {
            Self::Json => native::unsubscribe(topics).into_bytes(),
            Self::CentrifugoJson => centrifugo_json::unsubscribe(topics).into_bytes(),
            Self::CentrifugoProtobuf => centrifugo_protobuf::unsubscribe(topics),
            _ => return,
        };
        push_masked(out, self.opcode(), &command);
    }

    /// Appends a publish of `payload`. With an `id` it is answered, if the dialect supports that.
    pub fn push_publish(self, out: &mut Vec<u8>, topic: &str, payload: &[u8], id: Option<u64>) {
        let command = match self {
            Self::Json => native::publish(topic, payload, id),
            Self::Nats => nats::publish(topic, payload),
            Self::Bare => [b"PUB ", topic.as_bytes(), b"\n", payload].concat(),
            Self::CentrifugoJson => centrifugo_json::publish(topic, payload),
            Self::CentrifugoProtobuf => centrifugo_protobuf::publish(topic, payload),
            Self::Raw | Self::Plain => return push_masked(out, self.opcode(), payload),
            // `wire/http/publish.rs` and sessions of another dialect publish for these.
            Self::Nchan | Self::Sse | Self::Stream => return,
        };
        push_masked(out, self.opcode(), &command);
    }

    /// The start of the next payload of `bytes` bytes in the content of a frame, at `from` or later.
    ///
    /// In Belfry's own dialects the payload ends the frame. Elsewhere it is searched for.
    pub fn find_payload(self, frame: &[u8], from: usize, bytes: usize) -> Option<usize> {
        let behind = match self {
            Self::Json | Self::Sse | Self::Stream => 1,
            Self::Raw | Self::Plain | Self::Bare | Self::Nchan => 0,
            Self::Nats | Self::CentrifugoJson | Self::CentrifugoProtobuf => return search(frame, from),
        };
        match frame.len().checked_sub(bytes + behind) {
            Some(start) if start >= from && frame[start..].starts_with(MARKER) => Some(start),
            _ => search(frame, from),
        }
    }

    /// The offset of the message whose payload is at `payload`, if the dialect has offsets.
    pub fn offset(self, frame: &[u8], payload: Range<usize>) -> Option<u64> {
        match self {
            Self::Json | Self::Sse | Self::Stream => envelope::offset(&frame[..payload.start]),
            Self::CentrifugoJson => centrifugo_json::offset(frame, payload),
            Self::CentrifugoProtobuf => centrifugo_protobuf::offset(frame, payload),
            Self::Raw | Self::Plain | Self::Bare | Self::Nats | Self::Nchan => None,
        }
    }

    /// Whether the bytes around the payload at `payload` are as expected. Only the dialects of Belfry are checked,
    /// because others have too many forms.
    pub fn is_intact(self, frame: &[u8], payload: Range<usize>, topic: &str, epoch: &str) -> bool {
        match self {
            Self::Json | Self::Stream => envelope::is_intact(frame, payload, topic, epoch),
            Self::Sse => {
                let position = format!("{epoch}:{}", envelope::offset(&frame[..payload.start]).unwrap_or(0));
                let Some(before) = server_sent::before_data(frame, &position) else { return false };
                envelope::is_intact(&frame[before..], payload.start - before..payload.end - before, topic, epoch)
            }
            Self::CentrifugoJson => centrifugo_json::is_intact(frame, payload, topic),
            Self::CentrifugoProtobuf => centrifugo_protobuf::is_intact(frame, payload, topic),
            Self::Raw | Self::Plain | Self::Bare | Self::Nats | Self::Nchan => true,
        }
    }

    /// The first complete event or line of a stream in `bytes`, and its size in bytes.
    pub fn first_of_stream(self, bytes: &[u8]) -> Option<(&[u8], usize)> {
        let end: &[u8] = if self == Self::Sse { b"\n\n" } else { b"\n" };
        let at = memchr::memmem::find(bytes, end)?;
        Some((&bytes[..at], at + end.len()))
    }

    /// The replies in a frame: its parts that are not messages.
    pub fn replies(self, frame: &[u8]) -> impl Iterator<Item = &[u8]> {
        let json = (self == Self::CentrifugoJson).then(|| centrifugo_json::replies(frame));
        let protobuf = (self == Self::CentrifugoProtobuf).then(|| centrifugo_protobuf::replies(frame));
        let whole = (!self.is_centrifugo()).then_some(frame);
        json.into_iter().flatten().chain(protobuf.into_iter().flatten()).chain(whole)
    }

    /// Reads one of [`Self::replies`].
    pub fn reply(self, frame: &[u8]) -> Reply {
        match self {
            Self::Json | Self::Stream => native::reply(frame),
            Self::Sse if server_sent::is_retry(frame) => Reply::Draining,
            Self::Sse => server_sent::data(frame).map_or(Reply::Other, native::reply),
            Self::Nats => nats::reply(frame),
            Self::Bare if frame == b"SUB" => Reply::Subscribed(Vec::new()),
            Self::CentrifugoJson => centrifugo_json::reply(frame),
            Self::CentrifugoProtobuf => centrifugo_protobuf::reply(frame),
            Self::Raw | Self::Plain | Self::Bare | Self::Nchan => Reply::Other,
        }
    }
}

fn search(frame: &[u8], from: usize) -> Option<usize> {
    Some(from + memchr::memmem::find(frame.get(from..)?, MARKER)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PROTOCOL 3: `data` is byte for byte as published. A replayed message has `replay`, in any place.
    #[test]
    fn a_payload_is_found_at_the_end_or_anywhere() {
        let payload = r#"{"m":"0001"}"#;
        let data = format!(r#","data":{payload}"#);
        for end in [
            data.clone(),
            format!(r#","replay":true{data}"#),
            format!(r#","prev":7{data}"#),
            format!(r#","prev":7,"replay":true{data}"#),
            format!(r#"{data},"replay":true"#),
        ] {
            let frame = format!(r#"{{"op":"message","topic":"a","epoch":"k3f9x2","offset":18{end}}}"#);
            let at = Dialect::Json.find_payload(frame.as_bytes(), 0, payload.len()).unwrap();
            assert_eq!(&frame[at..at + payload.len()], payload, "{frame}");
            assert_eq!(Dialect::Json.offset(frame.as_bytes(), at..at + payload.len()), Some(18), "{frame}");
        }
    }

    /// PROTOCOL 11: the native object, with the stream's position before it.
    #[test]
    fn an_event_of_a_stream_is_compared_with_its_id() {
        let payload = r#"{"m":"0001"}"#;
        let object = format!(r#"{{"op":"message","topic":"a","epoch":"k3f9x2","offset":18,"data":{payload}}}"#);
        let intact = |dialect: Dialect, frame: &str| {
            let at = dialect.find_payload(frame.as_bytes(), 0, payload.len()).unwrap();
            assert_eq!(dialect.offset(frame.as_bytes(), at..at + payload.len()), Some(18));
            dialect.is_intact(frame.as_bytes(), at..at + payload.len(), "a", "k3f9x2")
        };
        assert!(intact(Dialect::Stream, &object));
        assert!(intact(Dialect::Sse, &format!("id: k3f9x2:18,-\ndata: {object}")));
        for wrong in ["", "id: k3f9x2:17,-\n", "id: k3f9x2:18\nevent: gap\n"] {
            assert!(!intact(Dialect::Sse, &format!("{wrong}data: {object}")), "{wrong}");
        }
        let bytes = format!("{object}\n\n{object}");
        assert_eq!(Dialect::Sse.first_of_stream(bytes.as_bytes()), Some((object.as_bytes(), object.len() + 2)));
        assert_eq!(Dialect::Stream.first_of_stream(bytes.as_bytes()), Some((object.as_bytes(), object.len() + 1)));
        assert_eq!(Dialect::Stream.first_of_stream(object.as_bytes()), None);
    }

    /// PROTOCOL 11: `last_event_id` has a position for each topic.
    #[test]
    fn a_stream_resumes_by_its_url() {
        let since = [("a", "k3f9x2", 3), ("b", "", 0)];
        assert_eq!(Dialect::Sse.path("/ws", &["a", "b"], &since), "/sse?topics=a,b&last_event_id=k3f9x2:3,-");
        assert_eq!(Dialect::Stream.path("/ws", &["a", "b"], &[]), "/stream?topics=a,b");
    }

    /// A URL with the native dialect's path, or with none, is enough for Centrifugo's. The bug: sessions got no answer
    /// there, or were closed with 3501 because the server read JSON.
    #[test]
    fn sessions_of_centrifugo_have_their_own_path() {
        assert_eq!(Dialect::CentrifugoJson.path("/ws", &["a"], &[]), "/connection/websocket");
        assert_eq!(Dialect::CentrifugoJson.path("/live", &["a"], &[]), "/live");
        assert_eq!(Dialect::CentrifugoProtobuf.path("/", &["a"], &[]), "/connection/websocket?format=protobuf");
        assert_eq!(Dialect::CentrifugoProtobuf.path("/live", &["a"], &[]), "/live?format=protobuf");
    }
}
