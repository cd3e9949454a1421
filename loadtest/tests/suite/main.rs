//! The load test against gateways that keep their word, and against servers that lie.

mod liar;
mod program;
mod scenarios;
mod verdicts;
