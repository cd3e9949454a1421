//! Holds delivery to a simple model: random publishers, subscribers and slow readers against real shards, and one race by itself.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

mod case;
mod gateway;
mod judge;
mod race;
mod run;
mod session;

use std::sync::Mutex;

use proptest::test_runner::{Config, TestRunner};

/// Runs that every CI does; `PROPTEST_CASES` asks for more.
const CASES: u32 = 2_000;

/// Gateways that run side by side: a case mostly waits.
const GATEWAYS: u32 = 2;

/// PROTOCOL 3, 7 and 9: whatever publishers, subscribers, slow readers, disconnects and recoveries do, each session hears
/// each topic in order, no message twice, no hole that nothing explains; and each rule's accounts close.
#[test]
fn delivery_is_as_the_model_says() {
    let mut config = Config { failure_persistence: None, max_shrink_time: 20_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config.cases = config.cases.div_ceil(GATEWAYS);
    std::thread::scope(|scope| (0..GATEWAYS).for_each(|_| _ = scope.spawn(|| run_cases(config.clone()))));
}

/// Runs cases on a gateway of their own.
fn run_cases(config: Config) {
    let gateway = Mutex::new(gateway::Gateway::start());
    let mut runner = TestRunner::new(config);
    if let Err(failure) =
        runner.run(&case::cases(), |case| run::run(&mut gateway.lock().unwrap(), &case).inspect_err(|why| eprintln!("{why}")))
    {
        panic!("{failure}\n{runner}");
    }
}
