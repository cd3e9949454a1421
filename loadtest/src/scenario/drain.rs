//! `drain`: SIGTERM under load. Every session must receive its announcement, if its dialect has one, and all messages
//! before its close. Closes must be spread.

use std::time::Duration;

use anyhow::Context;

use super::bench::Bench;
use crate::launch::terminate;
use crate::report::Report;
use crate::wire::Dialect;

/// The longest time of a drain.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let pid = *bench.server_pids.first().context("drain ends the server: name it with --server-pid, or let --start start one")?;
    let topic = bench.add_topic();
    let (streams, _) = bench.connect_all(topic)?;
    bench.measure(bench.load(streams.clone()), Bench::run)?;
    bench.engine.publish(bench.load(streams));
    terminate(pid)?;
    await_closes(&mut bench)?;
    check_closes(&mut bench)?;
    bench.finish()
}

/// Runs until no session is left, and adds figures about the spread of closes.
fn await_closes(bench: &mut Bench) -> anyhow::Result<()> {
    let (began, total) = (bench.engine.now(), bench.engine.open_sessions());
    let seconds = |now: u64| (now - began) as f64 / 1e9;
    let (mut first, mut last, mut most, mut open) = (None, 0.0, 0, total);
    while open > 0 && seconds(bench.engine.now()) < PATIENCE.as_secs_f64() {
        bench.engine.run_for(STEP)?;
        let left = bench.engine.open_sessions();
        if left < open {
            last = seconds(bench.engine.now());
            first.get_or_insert(last);
            most = most.max(open - left);
        }
        open = left;
    }
    bench.engine.stop_publishing();
    bench.add_figure("first_close_s", first.unwrap_or(0.0));
    bench.add_figure("last_close_s", last);
    bench.add_figure("most_closes_in_20_ms", most as f64);
    if open > 0 {
        bench.failures.push(format!("{open} of {total} sessions were still there {} s after SIGTERM", PATIENCE.as_secs()));
    }
    Ok(())
}

fn check_closes(bench: &mut Bench) -> anyhow::Result<()> {
    let verdict = bench.engine.verdict();
    bench.add_figure("messages_behind_at_close_most", verdict.findings.behind_at_close as f64);
    let (subscribers, publishers) = (bench.settings.dialect, bench.settings.dialect.of_publishers());
    let codes = [subscribers.drain_code(), publishers.drain_code()];
    let others: u64 = verdict.findings.closes.iter().filter(|(code, _)| !codes.contains(code)).map(|(_, count)| count).sum();
    if others > 0 {
        bench.failures.push(format!("{others} sessions were closed, but not with {}", codes[0]));
    }
    let announcements = |dialect: Dialect, sessions: usize| if dialect.announces_drains() { sessions as u64 } else { 0 };
    let due = announcements(subscribers, bench.settings.sessions) + announcements(publishers, bench.settings.publishers);
    if verdict.findings.draining < due {
        bench.failures.push(format!("{} of {due} sessions were told of the drain", verdict.findings.draining));
    }
    let Some(started) = &mut bench.started else { return Ok(()) };
    for _ in 0..100 {
        match started.ended() {
            Some(true) => return Ok(()),
            Some(false) => break,
            None => std::thread::sleep(STEP),
        }
    }
    bench.failures.push("the server did not exit with status 0 within 2 s after its last session".to_owned());
    Ok(())
}
