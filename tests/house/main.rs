//! Checks the rules for the structure of the project: layers, sizes, types, words, and the lists in the docs.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

mod docs;
mod export;
mod layers;
mod lexer;
mod project;
mod sizes;
mod source;
mod types;
mod words;
