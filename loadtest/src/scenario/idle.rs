//! `idle`: the cost of sessions without messages, in the server and in the kernel. At the end each must receive one.

use std::time::Duration;

use super::bench::Bench;
use crate::engine::{Load, Pace, StreamOrder};
use crate::measure::process::{Usage, kernel_socket_bytes};
use crate::report::Report;

pub(super) fn run(mut bench: Bench) -> anyhow::Result<Report> {
    let topic = bench.add_topic();
    let publishers = bench.connect_publishers()?;
    let stream = bench.engine.add_stream(topic, publishers[0]);
    let subscribers = bench.add_subscribers(|_| vec![topic]);
    let sessions = subscribers.len();
    let usage = |bench: &Bench| Usage::of(*bench.server_pids.first()?);
    let (before, kernel_before) = (usage(&bench), kernel_socket_bytes());
    bench.connect(&subscribers)?;
    let (connected, began) = (usage(&bench), bench.engine.now());
    bench.run()?;
    if let (Some(before), Some(connected), Some(after)) = (before, connected, usage(&bench)) {
        let each = |total: u64| total as f64 / sessions as f64;
        let seconds = (bench.engine.now() - began) as f64 / 1e9;
        bench.add_figure("resident_bytes_per_session", each(after.resident_bytes.saturating_sub(before.resident_bytes)));
        bench.add_figure("idle_cpu_us_per_session_and_second", each(after.busy.saturating_sub(connected.busy)) / 1e3 / seconds);
    }
    if let (Some(before), Some(after)) = (kernel_before, kernel_socket_bytes()) {
        bench.add_figure("kernel_buffer_bytes_per_session", after.saturating_sub(before) as f64 / sessions as f64);
    }
    // Two messages a second, so that one is due within the second.
    let pace = Pace::OpenLoop { rate: 2.0, burst: 1 };
    bench.measure(Load::new(pace, StreamOrder::RoundRobin(vec![stream])), |bench| bench.engine.run_for(Duration::from_secs(1)))?;
    bench.finish()
}
