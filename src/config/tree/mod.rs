//! The raw tree: what the sources of a configuration say, read table by table before it is typed.

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
