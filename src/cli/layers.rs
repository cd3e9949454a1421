//! The arguments that say where a configuration comes from.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Problem, Sources};

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    /// The configuration, TOML; it stands in place of the built-in one
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key's value, over the file's and the environment's: TOML, else a string
    #[arg(long = "set", short, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl ConfigArguments {
    /// The layers: the file, the environment, then what the command line says.
    pub(super) fn into_sources(self) -> Result<Sources, Problem> {
        let mut sources = Sources { file: self.config, ..Sources::default() }.with_environment();
        self.settings.iter().try_for_each(|assignment| sources.set(assignment))?;
        Ok(sources)
    }
}
