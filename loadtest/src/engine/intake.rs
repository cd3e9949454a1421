//! What one read brought: the answer to the upgrade, then frames. Heads alone are parsed, and payloads looked into where they lie.

use super::desk::Desk;
use super::session::{Phase, Session};
use crate::wire::head::push_masked;
use crate::wire::post;
use crate::wire::upgrade::{self, Answer, Takeover};
use crate::wire::{Head, Opcode, Said};

/// What became of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// It has its subscriptions.
    Opened,
    /// It is over.
    Ended,
}

/// Takes the `bytes` that were read at `now`.
pub(super) fn take(session: &mut Session, desk: &mut Desk, bytes: &[u8], now: u64) -> Progress {
    if session.rest.is_empty() {
        let (taken, progress) = walk(session, desk, bytes, now);
        session.rest.extend_from_slice(&bytes[taken..]);
        return progress;
    }
    let mut joined = std::mem::take(&mut session.rest);
    joined.extend_from_slice(bytes);
    let (taken, progress) = walk(session, desk, &joined, now);
    joined.drain(..taken);
    session.rest = joined;
    progress
}

/// Takes what is whole of `bytes`; how much that was.
fn walk(session: &mut Session, desk: &mut Desk, bytes: &[u8], now: u64) -> (usize, Progress) {
    if session.posts {
        return (answers(desk, bytes), Progress::Nothing);
    }
    let was_pending = session.is_pending();
    let mut taken = 0;
    if session.phase == Phase::Upgrading {
        match open(session, desk, bytes) {
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
                desk.tally.broken(&error);
                return (bytes.len(), Progress::Ended);
            }
        };
        let start = taken + head.head_bytes;
        taken = start + head.payload_bytes;
        frame(session, desk, head, &bytes[start..taken], now);
    }
    let opened = was_pending && session.phase == Phase::Open;
    (taken, if opened { Progress::Opened } else { Progress::Nothing })
}

/// Takes the whole answers to what was posted; how much that was.
fn answers(desk: &mut Desk, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while let post::Answer::Whole { bytes, refused } = post::answer(&bytes[taken..]) {
        if let Some((code, words)) = refused {
            desk.tally.error(code, words);
        }
        taken += bytes;
    }
    taken
}

/// How the upgrade went.
enum Opening {
    Partial,
    Refused,
    /// The answer had so many bytes.
    Open(usize),
}

fn open(session: &mut Session, desk: &mut Desk, bytes: &[u8]) -> Opening {
    let (head_bytes, deflate) = match upgrade::answer(bytes) {
        Answer::Partial => return Opening::Partial,
        Answer::Accepted { deflate: Some(Takeover::Yes), .. } => {
            desk.tally.refuse("the server keeps its deflate window from message to message, though asked not to".to_owned());
            return Opening::Refused;
        }
        Answer::Accepted { head_bytes, deflate } => (head_bytes, deflate),
        Answer::Refused { status, reason } => {
            desk.tally.refuse(format!("{status} {reason}"));
            return Opening::Refused;
        }
    };
    session.deflated = deflate.is_some();
    session.phase = Phase::Subscribing;
    if session.topics.is_empty() && !session.dialect.introduces_itself() || session.dialect.subscribes_by_path() {
        desk.admit(session, &[]);
        return Opening::Open(head_bytes);
    }
    let names = desk.names(&session.topics);
    let positions = session.topics.iter().zip(&session.offsets).map(|(topic, offset)| (&desk.topics[*topic as usize], *offset));
    let since: Vec<_> = positions.map(|(topic, offset)| (topic.name.as_str(), topic.epoch.as_str(), offset)).collect();
    let since = if session.resumes { &since[..] } else { &[] };
    session.dialect.push_subscribe(&mut session.outgoing, &names, since);
    Opening::Open(head_bytes)
}

fn frame(session: &mut Session, desk: &mut Desk, head: Head, payload: &[u8], now: u64) {
    match head.opcode {
        Opcode::Text | Opcode::Binary if head.whole => message(session, desk, head.deflated, payload, now),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            // RSV1 of the first frame holds for the whole message; fragmented and compressed together is not spoken here.
            session.fragments.extend_from_slice(payload);
            if head.whole {
                let whole = std::mem::take(&mut session.fragments);
                message(session, desk, head.deflated, &whole, now);
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

fn message(session: &mut Session, desk: &mut Desk, deflated: bool, payload: &[u8], now: u64) {
    if !deflated {
        return plain(session, desk, payload, now);
    }
    // The inflater lends its result, and the desk is needed whole meanwhile.
    let mut inflater = std::mem::take(&mut desk.inflater);
    match inflater.inflate(payload) {
        Ok(text) => plain(session, desk, text, now),
        Err(error) => desk.tally.broken(&error),
    }
    desk.inflater = inflater;
}

fn plain(session: &mut Session, desk: &mut Desk, frame: &[u8], now: u64) {
    let bytes = desk.stamper.bytes();
    let mut from = 0;
    while let Some(start) = session.dialect.find_payload(frame, from, bytes) {
        let offset = session.dialect.offset_before(frame, start);
        let end = (start + bytes).min(frame.len());
        desk.deliver(session, &frame[start..end], offset, now);
        from = end;
    }
    if from == 0 || session.dialect.mixes_words_with_messages() {
        session.dialect.words(frame).for_each(|words| said(session, desk, words));
    }
}

fn said(session: &mut Session, desk: &mut Desk, words: &[u8]) {
    match session.dialect.said(words) {
        Said::Subscribed(standings) => desk.admit(session, &standings),
        Said::Gap { dropped } => desk.tally.gaps += dropped,
        Said::Draining => desk.tally.draining += 1,
        Said::Error { code, message } => desk.tally.error(code, message),
        Said::Acknowledged => desk.acknowledge(session),
        Said::Ask(answer) => push_masked(&mut session.outgoing, session.dialect.opcode(), answer),
        Said::Other if session.dialect.is_talkative() => {}
        Said::Other => desk.tally.foreign += 1,
    }
}
