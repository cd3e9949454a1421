use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::hub::{Extra, KeptMessage, PayloadKind};
use crate::position::{Epoch, Offset};
use crate::session_id::{Member, MemberInfo, SessionId};
use crate::topic_name::TopicName;

/// The parts of a message beside its payload.
fn extra() -> impl Strategy<Value = Option<Arc<Extra>>> {
    let text = || prop::option::of(any::<String>());
    let publisher = prop::option::of((any::<u64>(), text(), text(), text()));
    let tags = prop::collection::vec((any::<String>(), any::<String>()), 0..3);
    prop::option::of((publisher, tags)).prop_map(|extra| {
        let (publisher, tags) = extra?;
        let publisher = publisher.map(|(session, user, of_session, of_topic)| {
            let info = MemberInfo::of(of_session.as_deref(), of_topic.as_deref());
            Member { session: SessionId::from_number(session), user: user.map(Into::into), info }
        });
        let tags = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Some(Arc::new(Extra { publisher, tags }))
    })
}

/// The payload, kind, time, excepted session and further parts of a message.
type MessageParts = (Vec<u8>, u8, u64, Option<u64>, Option<Arc<Extra>>);

/// A topic whose history ends at its newest offset, as in the hub.
fn topic() -> impl Strategy<Value = TopicState> {
    let message = (any::<Vec<u8>>(), 0..3_u8, any::<u64>(), any::<Option<u64>>(), extra());
    ("[a-z]{1,8}(\\.[a-zÀ-ÿ0-9]{1,8}){0,3}", 0..5_u64, prop::collection::vec(message, 0..6)).prop_map(|(name, before, messages)| {
        let newest = Offset(before + messages.len() as u64);
        let message = |(index, message): (usize, MessageParts)| {
            let (payload, kind, published_at, except, extra) = message;
            KeptMessage {
                offset: Offset(before + 1 + index as u64),
                published_at: Timestamp(published_at),
                kind: [PayloadKind::Json, PayloadKind::Text, PayloadKind::Binary][usize::from(kind)],
                except: except.map(SessionId::from_number),
                extra,
                payload: payload.into(),
            }
        };
        let messages = messages.into_iter().enumerate().map(message).collect();
        TopicState { name: TopicName::parse(&name).unwrap(), epoch: Epoch::random(), newest, rule: "a.*".into(), messages }
    })
}

fn topics() -> impl Strategy<Value = Vec<TopicState>> {
    prop::collection::vec(topic(), 0..5).prop_map(|mut topics| {
        let mut names = HashSet::new();
        topics.retain(|topic| names.insert(topic.name.clone()));
        topics
    })
}

fn written(topics: &[TopicState]) -> Vec<u8> {
    let mut file = Vec::new();
    let totals = write(&mut file, topics.iter().cloned(), Timestamp(1)).unwrap();
    assert_eq!(totals.bytes, file.len() as u64);
    file
}

fn read_back(file: &[u8]) -> Result<Vec<TopicState>, Damage> {
    let mut found = Vec::new();
    let totals = read(file, |topic| found.push(topic))?;
    assert_eq!((totals.topics as usize, totals.bytes), (found.len(), file.len() as u64));
    Ok(found)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn written_topics_are_read_back(topics in topics()) {
        prop_assert_eq!(read_back(&written(&topics)).unwrap(), topics);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused(topics in topics()) {
        let file = written(&topics);
        for length in 0..file.len() {
            prop_assert!(read_back(&file[..length]).is_err(), "cut at {} of {}", length, file.len());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_detected(topics in topics()) {
        let mut file = written(&topics);
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read_back(&file).is_err(), "bit {}", bit);
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }

    /// Lost, duplicated and moved records are detected, although each record is valid.
    #[test]
    fn records_out_of_place_are_detected(topics in topics(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let file = written(&topics);
        let records = records(&file);
        let (from, to) = (from.index(records.len()), to.index(records.len()));
        let altered = |edit: &dyn Fn(&mut Vec<&[u8]>)| {
            let mut altered = records.clone();
            edit(&mut altered);
            let bytes: Vec<u8> = HEAD.iter().copied().chain(altered.concat()).collect();
            (bytes != file).then(|| read_back(&bytes))
        };
        let lost = altered(&|records| {
            records.remove(from);
        });
        let doubled = altered(&|records| records.insert(to, records[from]));
        let swapped = altered(&|records| records.swap(from, to));
        for outcome in [lost, doubled].into_iter().flatten() {
            prop_assert!(outcome.is_err());
        }
        // Even a swap of two topics without messages is detected, by their numbers.
        prop_assert!(swapped.is_none_or(|outcome| outcome.is_err()));
    }
}

/// The records of a file.
fn records(file: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut records) = (&file[HEAD.len()..], Vec::new());
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        let (record, others) = rest.split_at(HEAD_BYTES + length);
        records.push(record);
        rest = others;
    }
    records
}

/// A length of 4 GiB in a short file allocates little memory.
#[test]
fn a_false_length_is_a_short_file() {
    let mut file = HEAD.to_vec();
    file.extend_from_slice(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 2]);
    assert!(matches!(read_back(&file), Err(Damage::Short)));
}

#[test]
fn another_version_has_its_own_error() {
    let mut file = written(&[]);
    file[HEAD.len() - 1] += 1;
    assert!(matches!(read_back(&file), Err(Damage::Format)));
}

/// A file of format 1. Later versions read it, and write the same.
const FORMAT_1: &[u8] = b"belfry\x00\x01\xbe\x96\xabd'\x00\x00\x00\x01\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\
    \x08\x00k3f9x2k3\x06\x00chat.a\x06\x00chat.>\
    \x0b\xe03\xe8=\x00\x00\x00\x02\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00h\xe5\xcf\x8b\x01\x00\x00\x00\x03\
    \x01\x00\x00\x00\x00\x00\x00\x00\x03\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00ann\x01\x00\x01\x00\x00\x00k\x01\x00\x00\x00v{}\
    `\x8aY{\x18\x00\x00\x00\x02\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00h\xe5\xcf\x8b\x01\x00\x00\x02\x00\xff\
    Lo\x9d\xba\x15\x00\x00\x00\x03\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";

#[test]
fn format_1_stays_as_it_is() {
    let member = Member { session: SessionId::from_number(2), user: Some("ann".into()), info: None };
    let extra = Extra { publisher: Some(member), tags: [("k".into(), "v".into())].into_iter().collect() };
    let message = |offset, kind, payload: &'static [u8]| KeptMessage {
        offset: Offset(offset),
        published_at: Timestamp(1_700_000_000_000),
        kind,
        except: None,
        extra: None,
        payload: payload.into(),
    };
    let full =
        KeptMessage { except: Some(SessionId::from_number(1)), extra: Some(Arc::new(extra)), ..message(6, PayloadKind::Json, b"{}") };
    let topic = TopicState {
        name: TopicName::parse("chat.a").unwrap(),
        epoch: Epoch::parse("k3f9x2k3").unwrap(),
        newest: Offset(7),
        rule: "chat.>".into(),
        messages: vec![full, message(7, PayloadKind::Binary, &[0xff])],
    };
    let file = written(std::slice::from_ref(&topic));
    assert_eq!(file.escape_ascii().to_string(), FORMAT_1.escape_ascii().to_string());
    assert_eq!(read_back(&file).unwrap(), [topic]);
}
