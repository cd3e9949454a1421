//! Holds the running gateway to its contract, clause by clause: a module for each of its sections.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

mod gateway;

mod accounts;
mod admission;
mod authentication;
mod closing;
mod command_line;
mod configuration;
mod deflate;
mod delivery;
mod drain;
mod http;
mod limits;
mod native;
mod presence;
mod raw;
mod recovery;
mod reload;
mod replay;
mod restart;
mod topics;
