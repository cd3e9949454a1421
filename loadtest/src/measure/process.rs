//! The CPU time and memory of a process, from `/proc`.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The totals of a process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The CPU time of all threads, in nanoseconds.
    pub busy: u64,
    /// The time in which threads were ready but had no CPU, in nanoseconds.
    pub waited: u64,
    pub resident_bytes: u64,
}

/// The cost of a process between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time divided by wall time; 1 is one core.
    pub cpu_share: f64,
    /// CPU time per delivered message, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// The share of the time in which a thread was ready but had no CPU.
    pub waited_share: f64,
    /// Resident memory before and after, in bytes.
    pub resident_bytes: (u64, u64),
}

impl Usage {
    /// The totals of the process `pid`; `None` if it does not exist.
    pub fn of(pid: u32) -> Option<Self> {
        let folder = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let resident_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let (busy, waited) = threads(Path::new(&folder).join("task").as_path())?;
        Some(Self { busy, waited, resident_bytes: resident_kib.unwrap_or(0) * 1024 })
    }

    /// The sums over the processes `pids`; `None` if the list is empty, or one does not exist.
    pub fn of_all(pids: &[u32]) -> Option<Self> {
        let plus = |sum: Self, more: Self| Self {
            busy: sum.busy + more.busy,
            waited: sum.waited + more.waited,
            resident_bytes: sum.resident_bytes + more.resident_bytes,
        };
        pids.iter().map(|pid| Self::of(*pid)).reduce(|sum, more| Some(plus(sum?, more?))).flatten()
    }

    pub fn own() -> Self {
        Self::of(std::process::id()).unwrap_or_default()
    }

    /// The cost since `before`, over `nanoseconds` and `deliveries`.
    pub fn since(&self, before: &Self, nanoseconds: u64, deliveries: u64) -> Cost {
        // The sum may shrink, because it excludes threads that have ended.
        let busy = self.busy.saturating_sub(before.busy) as f64;
        let waited = self.waited.saturating_sub(before.waited) as f64;
        Cost {
            cpu_share: busy / nanoseconds.max(1) as f64,
            cpu_us_per_delivery: if deliveries == 0 { 0.0 } else { busy / 1e3 / deliveries as f64 },
            waited_share: waited / nanoseconds.max(1) as f64,
            resident_bytes: (before.resident_bytes, self.resident_bytes),
        }
    }
}

/// `schedstat` counts nanoseconds where `stat` counts ticks of 10 ms.
fn threads(folder: &Path) -> Option<(u64, u64)> {
    let mut sum = (0, 0);
    for thread in fs::read_dir(folder).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
        let mut numbers = text.split_ascii_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        sum.0 += numbers.next().unwrap_or(0);
        sum.1 += numbers.next().unwrap_or(0);
    }
    Some(sum)
}

/// The memory of the buffers of all TCP sockets in the kernel, in bytes.
pub fn kernel_socket_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "mem")?;
    Some(words.next()?.parse::<u64>().ok()? * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_grows_with_work() {
        let before = Usage::own();
        let mut sum = 0_u64;
        // Threads of other tests may end, which lowers the sum. So the test repeats its work.
        let after = loop {
            let now = Usage::own();
            if now.busy >= before.busy + 20_000_000 {
                break now;
            }
            sum = (0..100_000).fold(sum, |sum, number| sum ^ number);
        };
        let cost = after.since(&before, 40_000_000, 1_000);
        assert!(cost.cpu_us_per_delivery >= 20.0, "{cost:?} {sum}");
        assert!(after.resident_bytes > 100_000);
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_usage() {
        assert_eq!(Usage::of(u32::MAX), None);
        assert_eq!(Usage::of_all(&[std::process::id(), u32::MAX]), None);
    }
}
