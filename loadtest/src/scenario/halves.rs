//! A run in two halves, without and with a disturbance, measured separately.

use super::bench::Bench;

/// Runs undisturbed for the settings' duration, then runs `troubled`. The report has the second half, and figures of
/// both.
pub(super) fn compare_halves(bench: &mut Bench, troubled: impl FnOnce(&mut Bench) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let start = bench.server_busy();
    bench.run()?;
    let (calm, middle) = (bench.latency(), bench.server_busy());
    bench.engine.measure();
    troubled(bench)?;
    let (after, end) = (bench.latency(), bench.server_busy());
    bench.note("calm_p99_us", calm.p99);
    bench.note("troubled_p99_us", after.p99);
    if let (Some(start), Some(middle), Some(end)) = (start, middle, end) {
        let cost = |from: (u64, u64), to: (u64, u64)| (to.0.saturating_sub(from.0)) as f64 / 1e3 / (to.1 - from.1).max(1) as f64;
        bench.note("calm_cpu_us_per_delivery", cost(start, middle));
        bench.note("troubled_cpu_us_per_delivery", cost(middle, end));
    }
    Ok(())
}
