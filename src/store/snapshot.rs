//! Writes and reads all topics as one file: a head, each topic with its messages, and a seal. A file that is not
//! complete is refused.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read, Write};

use super::damage::Damage;
use super::record::{HEAD_BYTES, Record};
use crate::clock::Timestamp;
use crate::hub::TopicState;

/// The first bytes of a file. The last of them is the version of the format.
const HEAD: [u8; 8] = *b"belfry\0\x01";

/// The size of the write buffer, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// The size of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The number of topics.
    pub topics: u32,
    /// The number of messages.
    pub messages: u64,
    /// The file's length.
    pub bytes: u64,
}

/// Writes `topics` to `out`, sealed.
pub fn write(mut out: impl Write, topics: impl Iterator<Item = TopicState>, written_at: Timestamp) -> io::Result<Totals> {
    let mut totals = Totals { bytes: HEAD.len() as u64, ..Totals::default() };
    let mut buffer = HEAD.to_vec();
    let mut flush = |buffer: &mut Vec<u8>, at_least: usize| -> io::Result<()> {
        if buffer.len() >= at_least {
            out.write_all(buffer)?;
            buffer.clear();
        }
        Ok(())
    };
    for TopicState { name, epoch, newest, rule, messages } in topics {
        let topic = totals.topics;
        put(&Record::Topic { id: topic, epoch, newest, name, rule: &rule }, &mut buffer, &mut totals);
        for message in &messages {
            put(&Record::Message { topic, message: Cow::Borrowed(message) }, &mut buffer, &mut totals);
            flush(&mut buffer, WRITE_BYTES)?;
        }
        totals.topics += 1;
        totals.messages += messages.len() as u64;
        flush(&mut buffer, WRITE_BYTES)?;
    }
    let seal = Record::Seal { topics: totals.topics, messages: totals.messages, written_at };
    put(&seal, &mut buffer, &mut totals);
    flush(&mut buffer, 0)?;
    Ok(totals)
}

fn put(record: &Record<'_>, buffer: &mut Vec<u8>, totals: &mut Totals) {
    let before = buffer.len();
    record.encode(buffer);
    totals.bytes += (buffer.len() - before) as u64;
}

/// Reads a file, and passes each topic to `found`. Only after it has returned `Ok` is the file known to be complete.
pub fn read(mut source: impl Read, mut found: impl FnMut(TopicState)) -> Result<Totals, Damage> {
    let mut head = [0; HEAD.len()];
    read_whole(&mut source, &mut head)?;
    if head != HEAD {
        return Err(Damage::Format);
    }
    let mut totals = Totals { bytes: HEAD.len() as u64, ..Totals::default() };
    let (mut names, mut content) = (HashSet::new(), Vec::new());
    let mut open: Option<TopicState> = None;
    loop {
        let mut head = [0; HEAD_BYTES];
        read_whole(&mut source, &mut head)?;
        let [.., l0, l1, l2, l3] = head;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        content.clear();
        // The buffer grows with the bytes of the file, so a wrong length allocates no more than the file has.
        if source.by_ref().take(length).read_to_end(&mut content)? as u64 != length {
            return Err(Damage::Short);
        }
        totals.bytes += HEAD_BYTES as u64 + length;
        match Record::decode(head, &content)? {
            Record::Topic { id, epoch, newest, name, rule } => {
                if id != totals.topics || !names.insert(name.clone()) {
                    return Err(Damage::Order("a topic in it is missing or doubled"));
                }
                totals.topics = id.checked_add(1).ok_or(Damage::Malformed("the number of topics"))?;
                let next = TopicState { name, epoch, newest, rule: rule.into(), messages: Vec::new() };
                close(open.replace(next), &mut found)?;
            }
            Record::Message { topic, message } => {
                let Some(owner) = open.as_mut().filter(|_| topic.checked_add(1) == Some(totals.topics)) else {
                    return Err(Damage::Order("a message in it is behind another topic"));
                };
                if owner.messages.last().is_some_and(|before| before.offset.0.checked_add(1) != Some(message.offset.0)) {
                    return Err(Damage::Order("a history in it has a hole"));
                }
                owner.messages.push(message.into_owned());
                totals.messages += 1;
            }
            Record::Seal { topics, messages, .. } => {
                close(open.take(), &mut found)?;
                if (topics, messages) != (totals.topics, totals.messages) {
                    return Err(Damage::Order("its seal counts other topics or messages than it holds"));
                }
                if source.read(&mut [0])? != 0 {
                    return Err(Damage::Order("something follows its seal"));
                }
                return Ok(totals);
            }
        }
    }
}

/// Ends a topic. Its history must reach its newest offset, or `since` would be answered with a hole.
fn close(topic: Option<TopicState>, found: &mut impl FnMut(TopicState)) -> Result<(), Damage> {
    let Some(topic) = topic else { return Ok(()) };
    if topic.messages.last().is_some_and(|last| last.offset != topic.newest)
        || topic.messages.first().is_some_and(|first| first.offset.0 == 0)
    {
        return Err(Damage::Order("a history in it does not reach its topic's newest offset"));
    }
    found(topic);
    Ok(())
}

fn read_whole(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), Damage> {
    source.read_exact(bytes).map_err(|error| if error.kind() == io::ErrorKind::UnexpectedEof { Damage::Short } else { error.into() })
}

#[cfg(test)]
mod tests;
