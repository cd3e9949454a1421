//! The raw tree: the values in the sources of a configuration before they have types, and a reader for each table.

mod files;
mod raw;
mod report;
mod secrecy;
mod section;
mod value;

pub use files::{pem_file, refuse_unread, text_file};
pub use raw::{DEFAULT_FILE, Problem, Raw, Sources, misspelt_variables};
pub use report::Report;
pub use section::{Entry, Section, listed};
