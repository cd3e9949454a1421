//! Holds the running gateway to its contract, clause by clause: a module for each of its sections.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

mod gateway;

mod accounts;
mod admission;
mod authentication;
mod centrifugo;
mod centrifugo_tokens;
mod closing;
mod command_line;
mod configuration;
mod deflate;
mod delivery;
mod drain;
mod emulation;
mod http;
mod limits;
mod listening;
mod log;
mod native;
mod presence;
mod proxy_protocol;
mod publishers;
mod raw;
mod recovery;
mod reload;
mod replay;
mod restart;
mod signals;
mod streaming;
mod streaming_limits;
mod terminal;
mod topics;
