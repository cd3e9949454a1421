//! The position of a stream on its topics, and its text as the `id` of a server-sent event (PROTOCOL section 11).

use crate::dialect::json::number;
use crate::position::{Offset, Position};
use crate::topic_name::{Pattern, TopicName};

/// The most topics of one stream.
pub const STREAM_TOPICS_MAX: usize = 64;

/// The position of a stream on each topic of its URL, in the order of the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPosition(Vec<TopicPosition>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct TopicPosition {
    /// `None`: a pattern, or a topic that was refused.
    topic: Option<TopicName>,
    position: Option<Position>,
}

impl StreamPosition {
    /// A stream of `topics` without positions.
    pub fn new(topics: impl Iterator<Item = Option<Pattern>>) -> Self {
        Self(topics.map(|topic| TopicPosition { topic: topic.and_then(|topic| topic.as_name()), position: None }).collect())
    }

    /// Sets the position on `topic`, if the stream has that topic by name.
    pub fn advance(&mut self, topic: &TopicName, position: Position) {
        for entry in self.0.iter_mut().filter(|entry| entry.topic.as_ref() == Some(topic)) {
            entry.position = Some(position);
        }
    }

    /// Appends the text of the `id`: `epoch:offset` for each topic or `-` for one without a position, joined by commas.
    pub fn write(&self, text: &mut Vec<u8>) {
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            let Some(position) = entry.position else {
                text.push(b'-');
                continue;
            };
            text.extend_from_slice(position.epoch.as_str().as_bytes());
            text.push(b':');
            number(text, position.offset.0);
        }
    }
}

/// Parses the last `id` that a client received on a stream of `topics` topics: for each topic the epoch, which may be any text, and the
/// offset. `None`: no stream of `topics` topics has this `id`.
pub fn read_event_id(text: &str, topics: usize) -> Option<Vec<Option<(&str, Offset)>>> {
    if text.split(',').take(topics + 1).count() != topics {
        return None;
    }
    text.split(',').map(|topic| if topic == "-" { Some(None) } else { read_position(topic).map(Some) }).collect()
}

fn read_position(text: &str) -> Option<(&str, Offset)> {
    let (epoch, offset) = text.split_once(':')?;
    let is_epoch = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    if is_epoch && is_number { Some((epoch, Offset(offset.parse().ok()?))) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::position::Epoch;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::parse("k3f9x2ab").unwrap(), offset: Offset(offset) }
    }

    fn spelt(position: &StreamPosition) -> String {
        let mut text = Vec::new();
        position.write(&mut text);
        String::from_utf8(text).unwrap()
    }

    /// PROTOCOL 11: an `id` has `epoch:offset` for each topic of the URL in its order, joined by commas. A pattern has `-`.
    #[test]
    fn an_id_has_a_place_for_each_topic() {
        let topics = ["a", "b.>", "c", "a"].map(|topic| Some(Pattern::parse(topic).unwrap()));
        let mut position = StreamPosition::new(topics.into_iter().chain([None]));
        assert_eq!(spelt(&position), "-,-,-,-,-");
        position.advance(&TopicName::parse("a").unwrap(), at(7));
        position.advance(&TopicName::parse("b.c").unwrap(), at(9));
        assert_eq!(spelt(&position), "k3f9x2ab:7,-,-,k3f9x2ab:7,-");
    }

    /// PROTOCOL 11: a text with another number of positions, or that can't be parsed, counts as no `id`.
    #[test]
    fn malformed_texts_count_as_no_id() {
        assert_eq!(read_event_id("k3f9x2ab:7,-", 2), Some(vec![Some(("k3f9x2ab", Offset(7))), None]));
        assert_eq!(read_event_id("x:007", 1), Some(vec![Some(("x", Offset(7)))]));
        for (text, topics) in [
            ("", 1),
            ("", 0),
            ("k3f9x2ab:7", 2),
            ("k3f9x2ab:7,-,-", 2),
            ("k3f9x2ab:7,", 2),
            ("k3f9x2ab", 1),
            ("k3f9x2ab:", 1),
            ("k3f9x2ab:+7", 1),
            ("k3f9x2ab:-7", 1),
            ("k3f9x2ab: 7", 1),
            ("k3f9x2ab:99999999999999999999", 1),
            (":7", 1),
            ("k3f9x2a\":7", 1),
            ("--", 1),
        ] {
            assert_eq!(read_event_id(text, topics), None, "{text:?} of {topics}");
        }
    }

    proptest! {
        /// A stream with another number of topics does not accept the `id`.
        #[test]
        fn a_written_id_is_parsed_to_its_positions(places in proptest::collection::vec(proptest::option::of(any::<u64>()), 1..STREAM_TOPICS_MAX)) {
            let name = |index: usize| TopicName::parse(&format!("t.{index}")).unwrap();
            let mut position = StreamPosition::new((0..places.len()).map(|index| Some(Pattern::from(name(index)))));
            for (index, offset) in places.iter().enumerate() {
                offset.iter().for_each(|&offset| position.advance(&name(index), at(offset)));
            }
            let text = spelt(&position);
            let expected = places.iter().map(|offset| offset.map(|offset| ("k3f9x2ab", Offset(offset)))).collect();
            prop_assert_eq!(read_event_id(&text, places.len()), Some(expected));
            prop_assert_eq!(read_event_id(&text, places.len() + 1), None);
            prop_assert_eq!(read_event_id(&text, places.len() - 1), None);
        }

        /// The exception is leading zeros of offsets.
        #[test]
        fn a_parsed_id_is_written_as_the_same_text(text in "[a-zA-Z0-9:,-]{0,40}", topics in 0_usize..4) {
            if let Some(places) = read_event_id(&text, topics) {
                let spelt = places.iter().map(|topic| topic.map_or("-".to_owned(), |(epoch, offset)| format!("{epoch}:{offset}")));
                let plain = |topic: &str| match topic.split_once(':') {
                    Some((epoch, offset)) => format!("{epoch}:{}", offset.parse::<u64>().unwrap()),
                    None => topic.to_owned(),
                };
                prop_assert_eq!(spelt.collect::<Vec<_>>(), text.split(',').map(plain).collect::<Vec<_>>());
            }
        }
    }
}
