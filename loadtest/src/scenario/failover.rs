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
    let topics = bench.add_topics();
    // Each gateway has a publisher, so that each fault affects one.
    bench.settings.publishers = bench.settings.publishers.max(bench.settings.urls.len());
    let publishers = bench.connect_publishers()?;
    let streams = topics.iter().flat_map(|topic| publishers.iter().map(|publisher| (*topic, *publisher)));
    let streams: Vec<u32> = streams.map(|(topic, publisher)| bench.engine.add_stream(topic, publisher)).collect();
    let subscribers = bench.add_subscribers(|_| topics.clone());
    bench.engine.enable_failover(publishers.iter().chain(&subscribers).copied());
    bench.connect(&subscribers)?;
    bench.measure(bench.load(StreamOrder::RoundRobin(streams)), |bench| run_faults(bench, &subscribers))?;
    await_reconnects(&mut bench, publishers.len() + subscribers.len())?;
    let (recovered, unrecovered) = bench.engine.counts().findings.recovered;
    let publishes = bench.engine.publish_counts();
    bench.add_figure("topics_recovered", recovered as f64);
    bench.add_figure("topics_not_recovered", unrecovered as f64);
    bench.add_figure("publishes_acknowledged", publishes.acknowledged as f64);
    bench.add_figure("publishes_refused", publishes.refused as f64);
    bench.add_figure("publishes_without_an_answer", publishes.unanswered as f64);
    bench.finish()
}

/// Starts each fault at its time, and adds how long sessions received nothing after it.
fn run_faults(bench: &mut Bench, subscribers: &[usize]) -> anyhow::Result<()> {
    let mut faults = bench.settings.faults.clone();
    faults.sort_by_key(|fault| fault.after);
    let (began, duration) = (bench.engine.now(), bench.settings.duration());
    let mut commands = Vec::new();
    bench.engine.take_longest_silences(subscribers);
    for (number, fault) in (1..).zip(&faults) {
        run_until(bench, began + nanoseconds(fault.after))?;
        add_silence(bench, subscribers, number - 1);
        commands.push((fault, start(fault)?));
    }
    run_until(bench, began + nanoseconds(duration))?;
    add_silence(bench, subscribers, faults.len());
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
fn start(fault: &Fault) -> anyhow::Result<Child> {
    let command = Command::new("sh").arg("-c").arg(&fault.command).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    command.with_context(|| format!("can't run {:?}", fault.command))
}

/// Adds the longest time in which each of `subscribers` received nothing since fault `number`; 0 is the time before the
/// first.
fn add_silence(bench: &mut Bench, subscribers: &[usize], number: usize) {
    let mut silences = bench.engine.take_longest_silences(subscribers);
    silences.sort_unstable();
    let seconds = |nanoseconds: Option<&u64>| nanoseconds.map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1e9);
    let (median, longest) = (seconds(silences.get(silences.len() / 2)), seconds(silences.last()));
    let when = if number == 0 { "before_the_first_fault".to_owned() } else { format!("after_fault_{number}") };
    bench.add_figure(&format!("silence_{when}_median_s"), median);
    bench.add_figure(&format!("silence_{when}_longest_s"), longest);
    let most = bench.figures.get("longest_silence_s").copied().unwrap_or(0.0).max(longest);
    bench.add_figure("longest_silence_s", most);
}

/// Waits until all sessions are connected, once the faults are over.
fn await_reconnects(bench: &mut Bench, wanted: usize) -> anyhow::Result<()> {
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
