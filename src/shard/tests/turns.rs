//! Tests of the turns in which sessions are read.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::bench::Bench;
use crate::clock::Clock;
use crate::frame::Inflater;
use crate::shard::context::SessionContext;
use crate::shard::reader::Reader;

/// The time for reading in a tick.
const TICK: Duration = Duration::from_micros(512);

/// A reader of commands of one byte. Each takes some time.
struct Busy {
    name: char,
    takes: Duration,
    clock: Clock,
    /// The names of the readers whose commands were carried out, in order.
    done: Arc<Mutex<String>>,
}

impl Reader for Busy {
    fn on_open(&mut self, _: &mut SessionContext<'_>) {}
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, context: &mut SessionContext<'_>) -> usize {
        let mut used = 0;
        while used < input.len() {
            self.done.lock().push(self.name);
            self.clock.advance(self.takes);
            used += 1;
            if context.is_turn_over() {
                break;
            }
        }
        used
    }
}

/// A bench with sessions whose commands take some time.
struct House {
    bench: Bench,
    done: Arc<Mutex<String>>,
}

impl House {
    fn new() -> Self {
        Self { bench: Bench::new(), done: Arc::default() }
    }

    /// Adds the session `name`, whose client has sent `commands` commands. Each takes the time `takes`.
    fn add(&mut self, name: char, commands: usize, takes: Duration) {
        let (clock, done) = (self.bench.state().env.clock(), Arc::clone(&self.done));
        self.bench.replace(Busy { name, takes, clock, done });
        self.bench.arrive_with(&vec![b'c'; commands]);
        self.bench.flush(); // the 101 goes out before the session is read
    }

    /// The commands that a tick carries out.
    fn tick(&mut self) -> String {
        self.bench.state().begin_tick();
        self.bench.sessions.read_ready(&mut [0; 64]);
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
    let mut house = House::new();
    ['a', 'b', 'c'].into_iter().for_each(|name| house.add(name, 2, TICK));
    assert_eq!(house.tick(), "a");
    house.add('d', 1, TICK);
    let mut done = String::new();
    while house.bench.state().table.has_more() {
        let one = house.tick();
        assert_eq!(one.len(), 1, "each tick has time for one command");
        done += &one;
    }
    assert_eq!(done, "bcdabc", "sessions with a rest go behind those that had no turn yet");
}

/// A session alone goes on for as long as a tick may read. Sessions that wait for each other have short turns.
#[test]
fn the_time_of_a_tick_is_shared() {
    let mut house = House::new();
    house.add('a', 8, TICK / 5);
    assert_eq!([house.tick(), house.tick()], ["aaaaa", "aaa"]);
    ['a', 'b'].into_iter().for_each(|name| house.add(name, 4, TICK / 8));
    assert_eq!([house.tick(), house.tick()], ["aaaabbbb", ""]);
    ('a'..='j').for_each(|name| house.add(name, 2, TICK / 8));
    assert_eq!([house.tick(), house.tick(), house.tick()], ["abcdefgh", "ijabcdef", "ghij"]);
}

/// PROTOCOL 5: a session is not closed as silent while what it has sent waits for its turn. Later it is.
#[test]
fn a_session_that_waits_for_its_turn_is_not_silent() {
    let mut house = House::new();
    let slot = house.bench.state().table.end();
    house.add('a', 0, TICK);
    house.tick();
    let (interval, timeout) = {
        let limits = &house.bench.state().env.config.limits;
        (limits.ping_interval, limits.pong_timeout)
    };
    for waits in [true, false] {
        house.sweep_after(interval); // sends a Ping
        if waits {
            let now = house.bench.state().env.now;
            house.bench.state().table.schedule(slot);
            house.bench.state().table.begin_turns(now);
        }
        house.sweep_after(timeout);
        assert_eq!(house.bench.state().table.is_open(slot), waits);
        house.tick();
    }
}
