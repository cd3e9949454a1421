//! Handles the chunks of a stream. An event or line may span several chunks.

use super::accounting::Ledger;
use super::message;
use super::session::Session;
use crate::wire::http::stream::Chunk;

/// Handles the complete chunks of `bytes`, read at `now`. Returns their length, and whether the stream has ended.
pub(super) fn receive(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> (usize, bool) {
    let mut taken = 0;
    loop {
        match Chunk::read(&bytes[taken..]) {
            Ok(Some(chunk)) if chunk.data.is_empty() => {
                session.connection.end_stream(session.dialect.drain_code());
                return (taken + chunk.bytes, true);
            }
            Ok(Some(chunk)) => {
                taken += chunk.bytes;
                data(session, ledger, chunk.data, now);
            }
            Ok(None) => return (taken, false),
            Err(error) => {
                ledger.counts.findings.count_fault(&error);
                return (bytes.len(), true);
            }
        }
    }
}

/// Handles the complete events of a chunk, and keeps an incomplete one.
fn data(session: &mut Session, ledger: &mut Ledger, data: &[u8], now: u64) {
    let joined = session.fragments.join(data);
    let taken = events(session, ledger, &joined, now);
    session.fragments.keep(joined, taken);
}

/// Handles the complete events of `bytes`. Returns their length.
fn events(session: &mut Session, ledger: &mut Ledger, bytes: &[u8], now: u64) -> usize {
    let mut taken = 0;
    while let Some((event, length)) = session.dialect.first_of_stream(&bytes[taken..]) {
        taken += length;
        message::receive(session, ledger, event, length, now);
    }
    taken
}
