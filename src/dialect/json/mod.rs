//! JSON text: values are found in it without being parsed, and strings and numbers are written to it.

mod decimal;
mod items;
mod scan;
mod string;

pub use decimal::number;
pub use items::{Elements, Members};
pub use scan::{Fault, is_json_text, unescape};
pub use string::string;
