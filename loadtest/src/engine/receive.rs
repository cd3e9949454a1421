//! Handles the bytes of one read: the answer to the upgrade, then frames. Only frame heads are parsed; payloads are checked in place.

use super::ledger::Ledger;
use super::session::{Phase, Session};
use crate::wire::frame::push_masked;
use crate::wire::publish_http;
use crate::wire::upgrade::{self, Answer, Takeover};
use crate::wire::{Head, Opcode, Reply};

/// What the read changed for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// The session is subscribed.
    Opened,
    /// The session ended.
    Ended,
}

/// Handles `bytes` that were read at `now`, in nanoseconds of the run's clock.
pub(super) fn take(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> Progress {
    if session.rest.is_empty() {
        let (taken, progress) = walk(session, ledger, bytes, now);
        session.rest.extend_from_slice(&bytes[taken..]);
        return progress;
    }
    let mut joined = std::mem::take(&mut session.rest);
    joined.extend_from_slice(bytes);
    let (taken, progress) = walk(session, ledger, &joined, now);
    joined.drain(..taken);
    session.rest = joined;
    progress
}

/// Handles the whole frames of `bytes`; returns their length.
fn walk(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> (usize, Progress) {
    if session.posts {
        return (answers(ledger, bytes), Progress::Nothing);
    }
    let was_pending = session.is_pending();
    let mut taken = 0;
    if session.phase == Phase::Upgrading {
        match open(session, ledger, bytes) {
            Opening::Open(head_bytes) => taken = head_bytes,
            Opening::Partial => return (0, Progress::Nothing),
            Opening::Refused => return (0, Progress::Ended),
        }
    }
    loop {
        let head = match Head::read(&bytes[taken..]) {
            Ok(Some(head)) if taken + head.head_bytes + head.payload_bytes <= bytes.len() => head,
            Ok(_) => break,
            Err(error) => {
                ledger.counts.broken(&error);
                return (bytes.len(), Progress::Ended);
            }
        };
        let start = taken + head.head_bytes;
        taken = start + head.payload_bytes;
        frame(session, ledger, head, &bytes[start..taken], now);
    }
    let opened = was_pending && session.phase == Phase::Open;
    (taken, if opened { Progress::Opened } else { Progress::Nothing })
}

/// Handles the whole HTTP answers of `bytes`; returns their length.
fn answers(ledger: &mut Ledger, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while let publish_http::Answer::Whole { bytes, refused } = publish_http::answer(&bytes[taken..]) {
        if let Some((code, words)) = refused {
            ledger.counts.error(code, words);
        }
        taken += bytes;
    }
    taken
}

/// The outcome of an upgrade.
enum Opening {
    Partial,
    Refused,
    /// Accepted, by an answer of this many bytes.
    Open(usize),
}

fn open(session: &mut Session, ledger: &mut Ledger, bytes: &[u8]) -> Opening {
    let (head_bytes, deflate) = match upgrade::answer(bytes) {
        Answer::Partial => return Opening::Partial,
        Answer::Accepted { deflate: Some(Takeover::Yes), .. } => {
            ledger.counts.refuse("the server keeps its deflate window from message to message, though asked not to".to_owned());
            return Opening::Refused;
        }
        Answer::Accepted { head_bytes, deflate } => (head_bytes, deflate),
        Answer::Refused { status, reason } => {
            ledger.counts.refuse(format!("{status} {reason}"));
            return Opening::Refused;
        }
    };
    session.deflated = deflate.is_some();
    session.phase = Phase::Subscribing;
    if session.topics.is_empty() && !session.dialect.introduces_itself() || session.dialect.subscribes_by_path() {
        ledger.subscribed(session, &[]);
        return Opening::Open(head_bytes);
    }
    let names = ledger.names(&session.topics);
    let positions = session.topics.iter().zip(&session.offsets).map(|(topic, offset)| (&ledger.topics[*topic as usize], *offset));
    let since: Vec<_> = positions.map(|(topic, offset)| (topic.name.as_str(), topic.epoch.as_str(), offset)).collect();
    let since = if session.resumes { &since[..] } else { &[] };
    session.dialect.push_subscribe(&mut session.outgoing, &names, since);
    Opening::Open(head_bytes)
}

fn frame(session: &mut Session, ledger: &mut Ledger, head: Head, payload: &[u8], now: u64) {
    match head.opcode {
        Opcode::Text | Opcode::Binary if head.whole => message(session, ledger, head.deflated, payload, now),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            // Fragmented messages are never compressed here: RSV1 of the first frame would hold for all of them.
            session.fragments.extend_from_slice(payload);
            if head.whole {
                let whole = std::mem::take(&mut session.fragments);
                message(session, ledger, head.deflated, &whole, now);
            }
        }
        Opcode::Ping => push_masked(&mut session.outgoing, Opcode::Pong, payload),
        Opcode::Pong => {}
        Opcode::Close => {
            session.close_code = Some(match payload {
                [high, low, ..] => u16::from_be_bytes([*high, *low]),
                _ => 1005,
            });
            push_masked(&mut session.outgoing, Opcode::Close, payload);
        }
    }
}

fn message(session: &mut Session, ledger: &mut Ledger, deflated: bool, payload: &[u8], now: u64) {
    if !deflated {
        return plain(session, ledger, payload, now);
    }
    // The inflater lends its result while the ledger is borrowed as a whole.
    let mut inflater = std::mem::take(&mut ledger.inflater);
    match inflater.inflate(payload) {
        Ok(text) => plain(session, ledger, text, now),
        Err(error) => ledger.counts.broken(&error),
    }
    ledger.inflater = inflater;
}

fn plain(session: &mut Session, ledger: &mut Ledger, frame: &[u8], now: u64) {
    let bytes = ledger.stamper.bytes();
    let mut from = 0;
    while let Some(start) = session.dialect.find_payload(frame, from, bytes) {
        let offset = session.dialect.offset_before(frame, start);
        let end = (start + bytes).min(frame.len());
        ledger.deliver(session, &frame[start..end], offset, now);
        from = end;
    }
    if from == 0 || session.dialect.mixes_replies_with_messages() {
        session.dialect.replies(frame).for_each(|part| reply(session, ledger, part));
    }
}

fn reply(session: &mut Session, ledger: &mut Ledger, part: &[u8]) {
    match session.dialect.reply(part) {
        Reply::Subscribed(topics_told) => ledger.subscribed(session, &topics_told),
        Reply::Gap { dropped } => ledger.counts.gaps += dropped,
        Reply::Draining => ledger.counts.draining += 1,
        Reply::Error { code, message } => ledger.counts.error(code, message),
        Reply::Acknowledged => ledger.acknowledge(session),
        Reply::Ping(answer) => push_masked(&mut session.outgoing, session.dialect.opcode(), answer),
        Reply::Other if session.dialect.sends_other_events() => {}
        Reply::Other => ledger.counts.foreign += 1,
    }
}
