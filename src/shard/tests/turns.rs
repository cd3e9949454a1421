//! Tests of the turns in which sessions are read.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::bench::{Bench, TIME_PER_TICK as TICK, arrived_with, new_session};
use crate::clock::Clock;
use crate::frame::Inflater;
use crate::shard::context::SessionContext;
use crate::shard::intake::NewSession;
use crate::shard::reader::Reader;
use crate::shard::slot::Metered;

/// The size of the buffer that sockets are read with.
const BUFFER: usize = 64;

/// A reader of commands of one byte. Each takes some time.
struct Busy {
    name: char,
    takes: Duration,
    clock: Clock,
    /// The names of the readers whose commands were carried out, in order.
    done: Arc<Mutex<String>>,
}

impl Reader for Busy {
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let mut used = 0;
        while used < input.len() {
            self.done.lock().push(self.name);
            self.clock.advance(self.takes);
            context.set_deadline(None);
            used += 1;
            if context.is_turn_over() {
                break;
            }
        }
        used
    }
    fn on_deadline(&mut self, _: &mut SessionContext<'_>) {
        self.done.lock().push('!');
    }
}

/// A reader with one command of several parts. Each part takes the time of one of the commands of `busy`.
struct Long {
    busy: Busy,
    parts: usize,
}

impl Reader for Long {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        if context.begins_late() {
            let _ = context.wait_for_turn();
        } else {
            self.read(&mut [], &mut Inflater::default(), context);
        }
    }
    fn read(&mut self, input: &mut [u8], inflater: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        while self.parts > 0 {
            self.busy.read(&mut [0], inflater, context);
            self.parts -= 1;
            if self.parts > 0 && context.is_turn_over() {
                let _ = context.wait_for_turn();
                return 0;
            }
        }
        input.len()
    }
}

/// A bench with sessions whose commands take some time.
struct SlowShard {
    bench: Bench,
    done: Arc<Mutex<String>>,
}

impl SlowShard {
    fn new() -> Self {
        Self { bench: Bench::new(), done: Arc::default() }
    }

    /// Adds the session `name`, whose client has sent `commands` commands. Each takes the time `takes`.
    fn add(&mut self, name: char, commands: usize, takes: Duration) -> Metered {
        let reader = self.reader(name, takes);
        self.bench.replace(reader);
        let socket = self.bench.arrive_with(&vec![b'c'; commands]);
        self.bench.flush(); // the 101 goes out before the session is read
        socket
    }

    fn reader(&mut self, name: char, takes: Duration) -> Busy {
        Busy { name, takes, clock: self.bench.state().env.clock(), done: Arc::clone(&self.done) }
    }

    /// Has `socket`, that of the session in `slot`, receive `commands` commands.
    fn receive(&mut self, slot: u32, socket: &Metered, commands: usize) {
        socket.meter().received.resize(commands, b'c');
        self.bench.state().table.schedule(slot);
    }

    /// The commands that a tick carries out.
    fn tick(&mut self) -> String {
        self.bench.state().begin_tick();
        self.bench.sessions.read_ready(&mut [0; BUFFER]);
        self.bench.flush();
        std::mem::take(&mut self.done.lock())
    }

    fn sweep_after(&mut self, time: Duration) {
        let state = self.bench.state();
        state.env.clock().advance(time);
        state.begin_tick();
        self.bench.sessions.sweep();
        self.bench.flush();
    }
}

/// A tick reads for a bounded time. The sessions that it did not read keep their order, before one that is woken later,
/// and the shard does not sleep until all is done. (A tick read all sockets and carried out all commands.)
#[test]
fn a_tick_leaves_the_rest_to_the_next() {
    let mut shard = SlowShard::new();
    ['a', 'b', 'c'].into_iter().for_each(|name| _ = shard.add(name, 2, TICK));
    assert_eq!(shard.tick(), "a");
    shard.add('d', 1, TICK);
    let mut done = String::new();
    while shard.bench.state().table.has_more() {
        let one = shard.tick();
        assert_eq!(one.len(), 1, "each tick has time for one command");
        done += &one;
    }
    assert_eq!(done, "bacbdc", "sessions with a rest go behind those that had no turn yet, and have every second tick");
}

/// A session alone is read for as long as a tick may read. Sessions that wait for each other have short turns.
#[test]
fn the_time_of_a_tick_is_shared() {
    let mut shard = SlowShard::new();
    shard.add('a', 8, TICK / 5);
    assert_eq!([shard.tick(), shard.tick()], ["aaaaa", "aaa"]);
    ['a', 'b'].into_iter().for_each(|name| _ = shard.add(name, 4, TICK / 8));
    assert_eq!([shard.tick(), shard.tick()], ["aaaabbbb", ""]);
    ('a'..='j').for_each(|name| _ = shard.add(name, 2, TICK / 8));
    assert_eq!([shard.tick(), shard.tick(), shard.tick()], ["abcdefgh", "ijabcdef", "ghij"]);
}

/// A session whose turn ended before all was used goes behind the others: it has sent more than a buffer holds, or a
/// command that took all the time. (It went before those that came later.)
#[test]
fn a_session_that_needs_more_than_its_turn_goes_behind() {
    for (commands, takes, first) in [(2 * BUFFER, Duration::ZERO, BUFFER), (1, TICK, 1)] {
        let mut shard = SlowShard::new();
        let slot = shard.bench.state().table.end();
        let socket = shard.add('a', 0, takes);
        shard.receive(slot, &socket, commands);
        assert_eq!(shard.tick(), "a".repeat(first));
        shard.receive(slot, &socket, 1);
        shard.add('b', 1, Duration::ZERO);
        assert_eq!(shard.tick(), "ba");
        shard.tick();
        shard.receive(slot, &socket, 1);
        shard.add('c', 1, Duration::ZERO);
        assert!(shard.tick().starts_with('a'), "it had used all it had sent");
    }
}

/// A session with a long command takes turns like one with many commands: those that have sent less go before it. (Long
/// commands had a queue of their own, beside that of the turns.)
#[test]
fn a_long_command_takes_several_turns() {
    let mut shard = SlowShard::new();
    let reader = shard.reader('a', TICK / 2);
    shard.bench.replace(Long { busy: reader, parts: 5 });
    shard.bench.arrive_with(b"c");
    shard.bench.flush();
    assert_eq!(shard.tick(), "aa");
    shard.add('b', 1, TICK / 4);
    assert_eq!([shard.tick(), shard.tick(), shard.tick()], ["baa", "a", ""]);
}

/// Sessions that begin with long subscribes share a bounded time of each tick: the rest of them leave their subscribes to
/// their first turns, behind sessions with short commands. (All that were in a share of the inbox began at once.)
#[test]
fn many_sessions_that_begin_share_the_time_of_a_tick() {
    let mut shard = SlowShard::new();
    shard.bench.state().begin_tick();
    for name in ['a', 'b', 'c', 'd'] {
        let reader = Long { busy: shard.reader(name, TICK / 4), parts: 1 };
        shard.bench.replace(reader);
    }
    assert_eq!(std::mem::take(&mut *shard.done.lock()), "ab");
    shard.add('e', 1, Duration::ZERO);
    assert_eq!(shard.tick(), "ecd");
}

/// What a client sends behind its request does not make its session wait behind bursts. (A session that began with its
/// socket did.)
#[test]
fn input_read_ahead_goes_before_bursts() {
    let mut shard = SlowShard::new();
    shard.add('a', 3, TICK);
    assert_eq!(shard.tick(), "a");
    let reader = Box::new(shard.reader('b', TICK));
    shard.bench.sessions.begin(NewSession { reader, ..new_session() }, arrived_with(b"c").1);
    shard.bench.flush();
    assert_eq!([shard.tick(), shard.tick()], ["b", "a"]);
}

/// A time-out does not end a session while what it waits for may be in its unread input. Once that is read, it does.
/// (Each sweep did.)
#[test]
fn a_deadline_waits_for_the_turn() {
    for (commands, done) in [(1, "a"), (0, "!")] {
        let mut shard = SlowShard::new();
        let slot = shard.bench.state().table.end();
        let socket = shard.add('a', 0, TICK);
        shard.tick();
        shard.receive(slot, &socket, commands);
        let state = shard.bench.state();
        let now = state.env.now;
        state.table.get_mut(slot).unwrap().liveness().set_deadline(Some(now));
        state.table.begin_turns();
        shard.sweep_after(TICK);
        assert_eq!([shard.tick().as_str(), shard.tick().as_str()], [done, ""]);
    }
}

/// PROTOCOL 5: a session is not closed as silent while what it has sent waits for its turn. Later it is.
#[test]
fn a_session_that_waits_for_its_turn_is_not_silent() {
    let mut shard = SlowShard::new();
    let slot = shard.bench.state().table.end();
    shard.add('a', 0, TICK);
    shard.tick();
    let (interval, timeout) = {
        let limits = &shard.bench.state().env.config.limits;
        (limits.ping_interval, limits.pong_timeout)
    };
    for waits in [true, false] {
        shard.sweep_after(interval); // sends a Ping
        if waits {
            shard.bench.state().table.schedule(slot);
            shard.bench.state().table.begin_turns();
        }
        shard.sweep_after(timeout);
        assert_eq!(shard.bench.state().table.is_open(slot), waits);
        shard.tick();
    }
}
