//! The load test against gateways that keep their word, and against servers that lie.

mod deployment;
mod failover;
mod fake;
mod liar;
mod peers;
mod program;
mod scenarios;
mod verdicts;
