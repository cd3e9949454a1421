//! Handles one message of the server: its deliveries and its replies.

use super::accounting::Ledger;
use super::publish_results::PublishResult;
use super::session::Session;
use crate::wire::Reply;
use crate::wire::frame::push_masked;

/// Handles a message, which took `wire_bytes` on the wire. These count if it has deliveries.
pub(super) fn receive(session: &mut Session, ledger: &mut Ledger, text: &[u8], wire_bytes: usize, now: u64) {
    let before = ledger.counts.deliveries;
    deliver(session, ledger, text, now);
    if ledger.counts.deliveries > before {
        ledger.counts.message_bytes += wire_bytes as u64;
        ledger.counts.text_bytes += text.len() as u64;
    }
}

fn deliver(session: &mut Session, ledger: &mut Ledger, frame: &[u8], now: u64) {
    let bytes = ledger.stamper.bytes();
    let mut from = 0;
    // Replies of Centrifugo may share a frame with messages. The reply to a subscribe comes before the messages of its
    // topic.
    let replies_first = session.dialect.is_centrifugo();
    if replies_first {
        replies(session, ledger, frame);
    }
    while let Some(start) = session.dialect.find_payload(frame, from, bytes) {
        let end = (start + bytes).min(frame.len());
        ledger.deliver(session, frame, start..end, now);
        from = end;
    }
    if from == 0 && !replies_first {
        replies(session, ledger, frame);
    }
}

fn replies(session: &mut Session, ledger: &mut Ledger, frame: &[u8]) {
    session.dialect.replies(frame).for_each(|part| reply(session, ledger, part));
}

fn reply(session: &mut Session, ledger: &mut Ledger, part: &[u8]) {
    match session.dialect.reply(part) {
        Reply::Subscribed(topics) => ledger.subscribed(session, &topics),
        Reply::Gap { topic, dropped, begins_anew } => {
            ledger.counts.findings.gaps += dropped;
            if session.failover.is_enabled() {
                ledger.gap(session, &topic, begins_anew);
            }
        }
        Reply::Draining => {
            session.connection.announce_drain();
            ledger.counts.findings.draining += 1;
        }
        Reply::Published { id } => ledger.answer(id, PublishResult::Acknowledged),
        Reply::Error { id, code, message } => {
            id.into_iter().for_each(|id| ledger.answer(id, PublishResult::Refused));
            ledger.counts.findings.count_error(code, message);
        }
        Reply::Acknowledged => ledger.acknowledged(session),
        Reply::TopicSubscribed { id, position, recovered } => ledger.topic_subscribed(session, id, position, recovered),
        Reply::Ending(code) => session.connection.close(code),
        Reply::Ping(pong) => push_masked(session.connection.outgoing(), session.dialect.opcode(), pong),
        Reply::Other if session.dialect.sends_other_events() => {}
        Reply::Other => ledger.counts.findings.foreign += 1,
    }
}
