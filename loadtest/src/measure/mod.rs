//! Measurements: latency, the cost of processes, the machine, the gateway's own figures.

pub mod latency;
pub mod machine;
pub mod process;
pub mod scrape;

pub use latency::{Latency, Quantiles, Slice};
pub use machine::Machine;
pub use process::{Cost, Usage};
pub use scrape::Scrape;
