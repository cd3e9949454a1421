//! Compares the delivery of real shards with a simple model under random steps, and tests one race.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

mod case;
mod checker;
mod gateway;
mod race;
mod run;
mod session;

use std::sync::Mutex;

use proptest::test_runner::{Config, TestRunner};

/// The number of cases, unless `PROPTEST_CASES` sets another.
const CASES: u32 = 2_000;

/// The number of gateways that run cases concurrently. A case spends most of its time in waits.
const GATEWAYS: u32 = 2;

/// PROTOCOL 3, 7 and 9: each session gets the messages of a topic in order, none twice, and none is missing without a
/// gap, an interval or conflation. Each rule's accounts close.
#[test]
fn delivery_agrees_with_the_model() {
    let mut config = Config { failure_persistence: None, max_shrink_time: 20_000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config.cases = config.cases.div_ceil(GATEWAYS);
    std::thread::scope(|scope| (0..GATEWAYS).for_each(|_| _ = scope.spawn(|| run_cases(config.clone()))));
}

/// Runs cases on a gateway.
fn run_cases(config: Config) {
    let gateway = Mutex::new(gateway::Gateway::start());
    let mut runner = TestRunner::new(config);
    if let Err(failure) =
        runner.run(&case::cases(), |case| run::run(&mut gateway.lock().unwrap(), &case).inspect_err(|why| eprintln!("{why}")))
    {
        panic!("{failure}\n{runner}");
    }
}
