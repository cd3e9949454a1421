//! Tests of reloads, which readers follow over several ticks.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::bench::Bench;
use super::{name, pattern};
use crate::clock::Clock;
use crate::codes::CloseCode;
use crate::config::{Config, Rule, Rules};
use crate::metrics::CloseReason;
use crate::shard::admin_command::UserSessions;
use crate::shard::context::SessionContext;
use crate::shard::reader::Reader;

/// A reader for which following a configuration takes long.
struct Slow {
    name: char,
    closes: bool,
    has_followed: bool,
    clock: Clock,
    /// The names of readers that have followed, in order.
    followed: Arc<Mutex<String>>,
}

impl Reader for Slow {
    fn on_reload(&mut self, context: &mut SessionContext<'_>) {
        self.followed.lock().push(self.name);
        self.has_followed = true;
        self.clock.advance(Duration::from_millis(1));
        if self.closes {
            context.close(CloseCode::TokenInvalid, "its API key is gone", CloseReason::TokenInvalid);
        }
    }
    /// Its name, once it has followed.
    fn user(&self) -> Option<Arc<str>> {
        self.has_followed.then(|| self.name.to_string().into())
    }
}

/// A bench with sessions that follow slowly. Their slots begin at 1.
fn slow_sessions(names: &str) -> (Bench, Arc<Mutex<String>>) {
    let (mut bench, followed) = (Bench::new(), Arc::<Mutex<String>>::default());
    for name in names.chars() {
        let clock = bench.state().env.clock();
        bench.replace(Slow { name, closes: name == 'x', has_followed: false, clock, followed: Arc::clone(&followed) });
    }
    (bench, followed)
}

fn tick(bench: &mut Bench) {
    bench.state().begin_tick();
    bench.sessions.follow_config();
}

/// Readers follow a reload over several ticks, each once. A reader that is called before follows first. (All readers
/// followed in one tick.)
#[test]
fn readers_follow_a_reload_over_several_ticks() {
    let (mut bench, followed) = slow_sessions("abcd");
    bench.live.replace(&Config::default());
    tick(&mut bench);
    assert_eq!(*followed.lock(), "a");
    assert_eq!(bench.sessions.call(3, |_, _, _| followed.lock().clone()).unwrap(), "ac");
    while bench.sessions.are_following() {
        tick(&mut bench);
    }
    assert_eq!(*followed.lock(), "acbd");
    tick(&mut bench);
    assert_eq!(*followed.lock(), "acbd");
}

/// A second reload before all have followed the first reaches all sessions, and not those that open later. It begins
/// where the first was. (It began with the first session, so the last ones followed no reload if reloads came often.)
#[test]
fn a_second_reload_reaches_all() {
    let (mut bench, followed) = slow_sessions("abc");
    for _ in 0..2 {
        bench.live.replace(&Config::default());
        tick(&mut bench);
    }
    let clock = bench.state().env.clock();
    bench.replace(Slow { name: 'd', closes: false, has_followed: false, clock, followed: Arc::clone(&followed) });
    while bench.sessions.are_following() {
        tick(&mut bench);
    }
    assert_eq!(*followed.lock(), "abca");
}

/// A session that a reload closes carries out nothing behind it.
#[test]
fn a_session_that_a_reload_closes_is_not_called() {
    let (mut bench, followed) = slow_sessions("ax");
    bench.live.replace(&Config::default());
    tick(&mut bench);
    assert_eq!(bench.sessions.call(2, |_, _, _| ()), None);
    assert_eq!((&**followed.lock(), bench.state().table.is_open(2)), ("ax", false));
}

/// PROTOCOL 3: a reload that turns presence on makes sessions members, even if another reload follows before all have
/// followed.
#[test]
fn a_second_reload_leaves_nobody_out_of_presence() {
    let (mut bench, _) = slow_sessions("ab");
    bench.subscribe_with(2, "h.a", 0);
    let members = |bench: &mut Bench| bench.state().env.hub().presence(&name("h.a")).map(|members| members.len());
    assert!(members(&mut bench).is_err());
    let rule = Rule { presence: true, ..Rule::plain(Some(pattern("h.>").into())) };
    let config = Config { rules: Rules::new(vec![rule]), ..Config::default() };
    for followed in 0..2 {
        bench.live.replace(&config);
        tick(&mut bench);
        assert_eq!(members(&mut bench), Ok(followed));
    }
}

/// PROTOCOL 3: a reload leaves members as they are. (It gave each the user and `info` of its session, and told nobody.)
#[test]
fn a_reload_changes_no_member() {
    let (mut bench, _) = slow_sessions("a");
    let rule = |text| Rule { presence: true, ..Rule::plain(Some(pattern(text).into())) };
    bench.live.replace(&Config { rules: Rules::new(vec![rule("h.>")]), ..Config::default() });
    tick(&mut bench);
    bench.subscribe_with(1, "h.a", 0);
    bench.live.replace(&Config { rules: Rules::new(vec![rule("h.>"), rule("x.>")]), ..Config::default() });
    tick(&mut bench);
    assert_eq!(bench.sessions.user(1).as_deref(), Some("a"));
    let members = bench.state().env.hub().presence(&name("h.a")).unwrap();
    assert_eq!(members.into_iter().map(|member| member.user).collect::<Vec<_>>(), [None]);
}

/// An administrator's command finds a user whom only the new configuration knows. (The sessions that had not followed
/// yet were left out.)
#[test]
fn a_command_finds_sessions_by_their_new_user() {
    let (mut bench, _) = slow_sessions("abx");
    bench.live.replace(&Config::default());
    tick(&mut bench);
    let sessions_of = |user: &str| UserSessions { user: user.into(), only: None, spared: Vec::new() };
    assert_eq!(["b", "x"].map(|user| bench.sessions.close_user(&sessions_of(user))), [1, 0]);
}
