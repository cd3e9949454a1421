//! `failover`: parts of a cluster fail under load. Sessions reconnect to another gateway, and acknowledged messages
//! must arrive.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use super::bench::{Bench, CONNECT_PATIENCE};
use crate::clock::nanoseconds;
use crate::engine::StreamOrder;
use crate::plan::Fault;
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    ensure!(bench.settings.urls.len() > 1, "failover goes on at another gateway: name several with --url");
    ensure!(!bench.settings.faults.is_empty(), "nothing is to fail: write what and when, as in --fault \"5s=kill -9 1234\"");
    let topics: Vec<u32> = (0..bench.settings.topics).map(|number| bench.topic(number)).collect();
    // Each gateway has a publisher, so that each fault affects one.
    bench.settings.publishers = bench.settings.publishers.max(bench.settings.urls.len());
    let publishers = bench.publishers()?;
    let streams = topics.iter().flat_map(|topic| publishers.iter().map(|publisher| (*topic, *publisher)));
    let streams: Vec<u32> = streams.map(|(topic, publisher)| bench.engine.stream(topic, publisher)).collect();
    let subscribers: Vec<usize> = (0..bench.settings.sessions).map(|_| bench.engine.add_subscriber(topics.clone())).collect();
    bench.engine.go_on_elsewhere(publishers.iter().chain(&subscribers).copied());
    bench.connect(&subscribers)?;
    bench.measure(bench.load(StreamOrder::RoundRobin(streams)), |bench| fail(bench, &subscribers))?;
    come_back(&mut bench, publishers.len() + subscribers.len())?;
    let (recovered, unrecovered) = bench.engine.verdict().findings.recovered;
    let answers = bench.engine.answers();
    bench.note("topics_recovered", recovered as f64);
    bench.note("topics_not_recovered", unrecovered as f64);
    bench.note("publishes_acknowledged", answers.acknowledged as f64);
    bench.note("publishes_refused", answers.refused as f64);
    bench.note("publishes_without_an_answer", answers.unanswered as f64);
    bench.finish()
}

/// Starts each fault at its time, and adds how long sessions received nothing after it.
fn fail(bench: &mut Bench, subscribers: &[usize]) -> anyhow::Result<()> {
    let mut faults = bench.settings.faults.clone();
    faults.sort_by_key(|fault| fault.after);
    let (began, duration) = (bench.engine.now(), bench.settings.duration());
    let mut commands = Vec::new();
    bench.engine.take_silences(subscribers);
    for (number, fault) in (1..).zip(&faults) {
        run_until(bench, began + nanoseconds(fault.after))?;
        note_silence(bench, subscribers, number - 1);
        commands.push((fault, begin(fault)?));
    }
    run_until(bench, began + nanoseconds(duration))?;
    note_silence(bench, subscribers, faults.len());
    for (fault, mut command) in commands {
        let status = command.wait().with_context(|| format!("{:?} was not waited for", fault.command))?;
        if !status.success() {
            bench.failures.push(format!("--fault {:?} ended with {status}", fault.command));
        }
    }
    Ok(())
}

fn run_until(bench: &mut Bench, moment: u64) -> anyhow::Result<()> {
    let left = moment.saturating_sub(bench.engine.now());
    bench.engine.run_for(std::time::Duration::from_nanos(left))
}

/// Starts the command of a fault, without waiting for its end.
fn begin(fault: &Fault) -> anyhow::Result<Child> {
    let command = Command::new("sh").arg("-c").arg(&fault.command).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    command.with_context(|| format!("can't run {:?}", fault.command))
}

/// Adds the longest time in which each of `subscribers` received nothing since fault `number`; 0 is the time before the
/// first.
fn note_silence(bench: &mut Bench, subscribers: &[usize], number: usize) {
    let mut silences = bench.engine.take_silences(subscribers);
    silences.sort_unstable();
    let seconds = |nanoseconds: Option<&u64>| nanoseconds.map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1e9);
    let (median, longest) = (seconds(silences.get(silences.len() / 2)), seconds(silences.last()));
    let when = if number == 0 { "before_the_first_fault".to_owned() } else { format!("after_fault_{number}") };
    bench.note(&format!("silence_{when}_median_s"), median);
    bench.note(&format!("silence_{when}_longest_s"), longest);
    let most = bench.figures.get("longest_silence_s").copied().unwrap_or(0.0).max(longest);
    bench.note("longest_silence_s", most);
}

/// Waits until all sessions are connected, once the faults are over.
fn come_back(bench: &mut Bench, wanted: usize) -> anyhow::Result<()> {
    let deadline = bench.engine.now() + nanoseconds(CONNECT_PATIENCE);
    while bench.engine.open_sessions() < wanted && bench.engine.now() < deadline {
        bench.engine.run_for(std::time::Duration::from_millis(20))?;
    }
    let open = bench.engine.open_sessions();
    if open < wanted {
        bench.failures.push(format!("{} of {wanted} sessions did not come back to any gateway", wanted - open));
    }
    Ok(())
}
