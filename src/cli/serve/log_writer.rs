//! Writes the log to standard error with a bounded queue and a thread, so that no other thread waits for a write.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// The largest number of queued lines. Further lines are dropped.
const LINES_MAX: usize = 4_096;
/// The largest size of the queue, in bytes. Further lines are dropped.
const BYTES_MAX: usize = 1 << 20;
/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Queues lines without waiting. A line without room, or that standard error does not accept, is dropped and counted.
#[derive(Clone)]
pub(super) struct LogWriter {
    queue: SyncSender<Item>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    /// Lines that were dropped since the last call of [`LogWriter::take_suppressed`].
    suppressed: AtomicU64,
}

enum Item {
    Line(Vec<u8>),
    /// Answered once all earlier items are written.
    Written(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        Self::writing_to(io::stderr().as_fd().try_clone_to_owned()?)
    }

    fn writing_to(output: OwnedFd) -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        std::thread::Builder::new().name("belfry-log".to_owned()).spawn(move || write_each(&lines, &output, &shared))?;
        Ok(Self { queue, counts })
    }

    /// Queues whole lines.
    pub(super) fn put(&self, lines: &[u8]) {
        let Counts { waiting_bytes, suppressed } = &*self.counts;
        if waiting_bytes.fetch_add(lines.len(), Ordering::Relaxed) + lines.len() > BYTES_MAX
            || self.queue.try_send(Item::Line(lines.to_vec())).is_err()
        {
            waiting_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
            suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of lines that were dropped since the last call.
    pub(super) fn take_suppressed(&self) -> u64 {
        self.counts.suppressed.swap(0, Ordering::Relaxed)
    }

    /// Waits until the queue is written, for at most a second.
    pub(super) fn finish(&self) {
        let (answer, written) = sync_channel(1);
        match self.queue.try_send(Item::Written(answer)) {
            // The thread has ended, or standard error accepts nothing.
            Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) => {}
            Ok(()) => drop(written.recv_timeout(LAST_LINES)),
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.put(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes queued items in order, until no sender is left.
fn write_each(queue: &Receiver<Item>, output: &OwnedFd, counts: &Counts) {
    for item in queue {
        match item {
            Item::Line(line) => {
                if write_whole(output, &line).is_err() {
                    counts.suppressed.fetch_add(1, Ordering::Relaxed);
                }
                counts.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            // The caller may have stopped waiting.
            Item::Written(answer) => drop(answer.send(())),
        }
    }
}

/// Writes to the descriptor without the lock of std's standard error. A panicking thread takes that lock, and must not
/// wait for this thread.
fn write_whole(output: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process has set the descriptor to non-blocking.
            Err(Errno::AGAIN) => drop(poll(&mut [PollFd::new(output, PollFlags::OUT)], None)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A full pipe without a reader blocks no caller and takes a bounded amount of memory. Each line without room is
    /// counted.
    #[test]
    fn lines_without_room_are_dropped_and_counted() {
        let (mut reader, output) = io::pipe().unwrap();
        let writer = LogWriter::writing_to(output.into()).unwrap();
        let line = [b'x'; 1_024];
        (0..2_000).for_each(|_| writer.put(&line));
        let suppressed = writer.take_suppressed();
        assert!(suppressed > 0 && writer.counts.waiting_bytes.load(Ordering::Relaxed) <= BYTES_MAX, "{suppressed}");
        let written = usize::try_from(2_000 - suppressed).unwrap() * line.len();
        reader.read_exact(&mut vec![0; written]).unwrap();
        writer.finish();
        assert_eq!((writer.take_suppressed(), writer.counts.waiting_bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (reader, output) = io::pipe().unwrap();
        drop(reader);
        let writer = LogWriter::writing_to(output.into()).unwrap();
        (0..3).for_each(|_| writer.put(b"a line\n"));
        writer.finish();
        assert_eq!(writer.take_suppressed(), 3);
    }
}
