//! The plan of a run: scenario, server, and load.

mod arguments;
mod expectation;
mod fault;
mod preset;
mod scenario;
mod server;
mod settings;

pub use arguments::{Arguments, PublishBy};
pub use expectation::{Expectation, Figure};
pub use fault::Fault;
pub use preset::Preset;
pub use scenario::Scenario;
pub use server::{Sends, Server};
pub use settings::{Settings, defaults};
