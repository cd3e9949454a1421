//! Handles the bytes of one read: the answer to the upgrade, then frames or chunks. Only frame heads are parsed, and
//! payloads are checked in place.

use super::accounting::Ledger;
use super::chunks;
use super::message;
use super::session::{Phase, Session};
use crate::wire::frame::push_masked;
use crate::wire::http::upgrade::Answer;
use crate::wire::http::{publish, stream, upgrade};
use crate::wire::{Head, Opcode};

/// Handles `bytes` that were read at `now`, in nanoseconds of the run's clock. Returns whether the session has ended.
pub(super) fn receive(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> bool {
    let joined = session.incomplete.join(bytes);
    let (taken, ended) = parse(session, ledger, &joined, now);
    session.incomplete.keep(joined, taken);
    ended
}

/// Handles what is complete at the start of `bytes`. Returns its length, and whether the session has ended.
fn parse(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> (usize, bool) {
    if session.http_batch.is_some() {
        return (answers(ledger, bytes), false);
    }
    let mut head_bytes = 0;
    if session.connection.phase() == Phase::Upgrading {
        match open(session, ledger, bytes) {
            Ok(bytes) => head_bytes = bytes,
            Err(refused) => return (0, refused),
        }
    }
    let bytes = &bytes[head_bytes..];
    let (taken, ended) =
        if session.dialect.is_stream() { chunks::receive(session, ledger, bytes, now) } else { frames(session, ledger, bytes, now) };
    (head_bytes + taken, ended)
}

/// Handles the complete HTTP answers of `bytes`. Returns their length.
fn answers(ledger: &mut Ledger, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while let publish::Answer::Whole { bytes, refused } = publish::answer(&bytes[taken..]) {
        if let Some((code, words)) = refused {
            ledger.counts.findings.count_error(code, words);
        }
        taken += bytes;
    }
    taken
}

/// Handles the answer to the upgrade. Returns the size of its head in bytes. Without a complete answer that accepts, the
/// error is whether the upgrade was refused.
fn open(session: &mut Session, ledger: &mut Ledger, bytes: &[u8]) -> Result<usize, bool> {
    let answer = if session.dialect.is_stream() { stream::answer(bytes) } else { upgrade::answer(bytes) };
    let (head_bytes, deflate) = match answer {
        Answer::Partial => return Err(false),
        Answer::Accepted { head_bytes, deflate } => (head_bytes, deflate),
        Answer::Refused { status, reason } => {
            ledger.counts.findings.count_refusal(format!("{status} {reason}"));
            return Err(true);
        }
    };
    if let Err(error) = session.compression.agree(deflate) {
        ledger.counts.findings.count_refusal(error.to_owned());
        return Err(true);
    }
    let Session { dialect, connection, subscriptions, .. } = session;
    connection.reach(Phase::Subscribing);
    if subscriptions.topics().is_empty() && !dialect.introduces_itself() || dialect.subscribes_by_path() {
        ledger.subscribed(session, &[]);
        return Ok(head_bytes);
    }
    dialect.push_connect(connection.outgoing());
    subscriptions.push_subscribe(*dialect, connection.outgoing(), &ledger.topics);
    Ok(head_bytes)
}

/// Handles the complete frames of `bytes`. Returns their length, and whether a wrong frame ends the session.
fn frames(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> (usize, bool) {
    let mut taken = 0;
    loop {
        let head = match Head::read(&bytes[taken..]) {
            Ok(Some(head)) if taken + head.head_bytes + head.payload_bytes <= bytes.len() => head,
            Ok(_) => return (taken, false),
            Err(error) => {
                ledger.counts.findings.count_fault(&error);
                return (bytes.len(), true);
            }
        };
        let start = taken + head.head_bytes;
        taken = start + head.payload_bytes;
        frame(session, ledger, head, &bytes[start..taken], now);
    }
}

fn frame(session: &mut Session, ledger: &mut Ledger, head: Head, payload: &[u8], now: u64) {
    match head.opcode {
        Opcode::Text | Opcode::Binary if head.fin => data(session, ledger, head.compressed, payload, now),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            // Fragmented messages are never compressed here. (RSV1 of the first frame would apply to all fragments.)
            let joined = session.fragments.join(payload);
            if head.fin {
                data(session, ledger, head.compressed, &joined, now);
            } else {
                session.fragments.keep(joined, 0);
            }
        }
        Opcode::Ping => push_masked(session.connection.outgoing(), Opcode::Pong, payload),
        Opcode::Pong => {}
        Opcode::Close => {
            session.connection.close(match payload {
                [high, low, ..] => u16::from_be_bytes([*high, *low]),
                _ => 1005,
            });
            push_masked(session.connection.outgoing(), Opcode::Close, payload);
        }
    }
}

fn data(session: &mut Session, ledger: &mut Ledger, compressed: bool, payload: &[u8], now: u64) {
    if !compressed {
        return message::receive(session, ledger, payload, payload.len(), now);
    }
    // The result borrows the inflater while the ledger is borrowed mutably, so the ledger lends the inflater.
    let Some(mut inflater) = ledger.inflater.take() else { return };
    match session.compression.inflate(payload, &mut inflater) {
        Ok(text) => message::receive(session, ledger, text, payload.len(), now),
        Err(error) => ledger.counts.findings.count_fault(&error),
    }
    ledger.inflater = Some(inflater);
}
