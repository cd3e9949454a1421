//! The load test against correct gateways, and against servers with faults.

mod deployment;
mod failover;
mod fake_server;
mod faulty_server;
mod peers;
mod program;
mod scenarios;
mod verdicts;
