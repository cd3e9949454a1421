//! Holds the running gateway to its contract, clause by clause: a module for each of its sections.

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
mod topics;
