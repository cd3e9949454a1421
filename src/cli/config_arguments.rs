//! The arguments that name the layers of a configuration.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Problem, Sources};

/// The layers of the configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    /// The configuration, TOML; it replaces the built-in one
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The value of one key, TOML or else a string; it overrides the file and the environment
    #[arg(long = "set", short, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl ConfigArguments {
    /// The layers: the file, the environment, and the command line.
    pub(super) fn into_sources(self) -> Result<Sources, Problem> {
        let mut sources = Sources { file: self.config, ..Sources::default() }.with_environment();
        self.settings.iter().try_for_each(|assignment| sources.set(assignment))?;
        Ok(sources)
    }
}
