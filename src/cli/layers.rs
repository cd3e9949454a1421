//! The arguments that say where a configuration comes from.

use std::path::PathBuf;

use clap::Args;

use crate::config::Sources;

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    /// The configuration, TOML; it stands in place of the built-in one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key's value, over the file's and the environment's: TOML, else a string
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
}

impl ConfigArguments {
    /// The layers: the file, the environment, then what the command line says.
    pub(super) fn into_sources(self) -> Sources {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value)))
            .filter(|(key, _)| key.starts_with("BELFRY__"))
            .map(|(key, value)| (key, value.to_string_lossy().into_owned()))
            .collect();
        Sources { file: self.config, environment, settings: self.settings, listen: None }
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no setting; write KEY=VALUE, as in limits.sessions=50000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settings_value_may_hold_an_equals_sign() {
        assert_eq!(parse_setting("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(parse_setting("=d").is_err());
    }
}
