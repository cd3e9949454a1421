//! Reading: the sockets that are ready, and what a reader has not used yet.

use std::task::Poll;

use super::reading::Reading;
use super::shard_sessions::Sessions;
use crate::metrics::{CloseReason, Counter};
use crate::shard::slot::{Connection, InputWait};
use crate::shard::state::ShardState;
use crate::shard::unused_input::UnusedInput;

/// The most reads of one socket in a turn. Under TLS, one read returns one record of at most 16 KiB.
const READS_PER_TURN: usize = 4;

/// The result of one read of a socket.
enum ReadOn {
    /// The socket may have more bytes.
    More,
    /// The socket has filled the buffer.
    Full,
    /// The socket has no more bytes now, or the session does not read on.
    Enough,
}

impl Sessions {
    /// Reads the sockets of scheduled and woken slots, one turn after the other, for a bounded time.
    pub fn read_ready(&mut self, buffer: &mut [u8]) {
        self.state.table.begin_turns();
        while let Some(slot) = self.state.next_turn() {
            // Answers are written before the session's next commands are read, so the commands cannot grow its chain.
            // A fresh socket is written to before it is read, because the first read registers the socket.
            let ShardState { table, delivery, .. } = &mut self.state;
            if table.get(slot).is_some_and(Connection::is_fresh) && !delivery.owes_nothing(slot) || delivery.owes_answers(slot) {
                table.schedule(slot);
                continue;
            }
            self.read(slot, buffer);
            // If the write batch has frames for the session, the flush writes these before the outbox.
            if self.state.delivery.owes_nothing(slot) {
                self.state.write_outbox(slot);
            }
        }
    }

    /// Reads one session's socket, with a few reads of at most a buffer each.
    fn read(&mut self, slot: u32, buffer: &mut [u8]) {
        self.state.delivery.begin_reading();
        let is_bulk = self.read_socket(slot, buffer);
        self.state.table.get_mut(slot).into_iter().for_each(|connection| connection.end_turn(is_bulk));
        self.meet_deadline(slot);
        self.count_input(slot);
    }

    /// Returns whether the client may have sent more than was used. Under TLS that holds after the last read of a turn.
    fn read_socket(&mut self, slot: u32, buffer: &mut [u8]) -> bool {
        if !self.read_unread(slot) {
            return self.has_unused(slot);
        }
        // A short read tells the runtime that the socket is empty. The next poll needs no system call to register the
        // waker.
        for _ in 0..READS_PER_TURN {
            match self.read_once(slot, buffer) {
                ReadOn::Enough => return self.has_unused(slot),
                ReadOn::More if !self.state.is_turn_over() => {}
                ReadOn::More | ReadOn::Full => break,
            }
        }
        self.state.table.schedule(slot);
        true
    }

    /// Whether bytes that were read, or commands of the reader, are left for another turn. A command that waits for
    /// anything else does not count.
    fn has_unused(&mut self, slot: u32) -> bool {
        self.reading(slot).is_some_and(|reading| reading.waits >= InputWait::Turn || !reading.unread.is_empty())
    }

    /// Calls the reader with the bytes that it has not used. Returns `false` if the socket is not to be read now.
    fn read_unread(&mut self, slot: u32) -> bool {
        if !self.state.table.is_open(slot) {
            return true;
        }
        let is_called = |reading: &&mut Reading| reading.waits != InputWait::Nothing || reading.awaits_engine || !reading.unread.is_empty();
        let Some(reading) = self.reading(slot).filter(is_called) else { return true };
        let mut unread = std::mem::take(&mut reading.unread);
        let used = self.read_input(slot, unread.bytes_mut());
        unread.skip(used);
        self.keep_unread(slot, unread)
    }

    /// Keeps the bytes that a session's reader did not use. Returns `true` if none are left and no command waits.
    pub(super) fn keep_unread(&mut self, slot: u32, unread: UnusedInput) -> bool {
        let now = self.state.env.now;
        if !self.state.table.is_open(slot) {
            return false;
        }
        let Some(reading) = self.reading(slot) else { return false };
        let wait = reading.waits.with_unused(!unread.is_empty());
        reading.unread = unread;
        self.state.table.get_mut(slot).into_iter().for_each(|connection| connection.set_input_wait(wait, now));
        wait == InputWait::Nothing
    }

    fn read_once(&mut self, slot: u32, buffer: &mut [u8]) -> ReadOn {
        let now = self.state.env.now;
        let Some(connection) = self.state.table.get_mut(slot) else { return ReadOn::Enough };
        let read = match connection.poll_read(buffer) {
            Poll::Pending => return ReadOn::Enough,
            Poll::Ready(Ok(0) | Err(_)) => {
                self.state.end(slot, CloseReason::Gone);
                return ReadOn::Enough;
            }
            Poll::Ready(Ok(read)) => read,
        };
        connection.liveness().note_activity(now);
        let is_open = connection.is_open();
        self.state.env.tally.count(Counter::ReceivedBytes, read as u64);
        if !is_open {
            return ReadOn::More; // input after our Close is discarded
        }
        let used = self.read_input(slot, &mut buffer[..read]);
        let waits = self.reading(slot).is_some_and(|reading| reading.waits != InputWait::Nothing);
        if (used < read || waits) && self.state.table.is_open(slot) {
            self.keep_unread(slot, buffer[used..read].into());
            return ReadOn::Enough;
        }
        if read == buffer.len() { ReadOn::Full } else { ReadOn::More }
    }

    fn read_input(&mut self, slot: u32, input: &mut [u8]) -> usize {
        if let Some(reading) = self.reading(slot) {
            (reading.waits, reading.awaits_engine) = (InputWait::Nothing, false); // the reader repeats what waits
        }
        self.call(slot, |reader, context, inflater| reader.read(input, inflater, context)).unwrap_or(input.len())
    }
}
