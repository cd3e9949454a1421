//! `belfry check`: checks a configuration without starting the gateway.

use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::config_arguments::ConfigArguments;
use super::stdio::{print, report};
use crate::config::{Config, DEFAULT_FILE, Sources};
use crate::{cluster, server};

/// `belfry check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print the built-in configuration: every key with its default and its meaning
    #[arg(long)]
    print_default: bool,
    /// Also connect to the NATS servers of `[cluster]`, and make missing streams
    #[arg(long)]
    online: bool,
}

/// Checks a configuration, or prints the built-in one.
pub(super) async fn check(arguments: CheckArguments) -> anyhow::Result<()> {
    if arguments.print_default {
        return print(DEFAULT_FILE.as_bytes()).map(drop);
    }
    let sources = arguments.config.into_sources()?;
    let config = load(&sources)?;
    for warning in config.warnings() {
        report(format_args!("warning: {warning}"));
    }
    if let Some(settings) = config.cluster.as_ref().filter(|_| arguments.online) {
        cluster::check_servers(settings, &config).await?;
    }
    // A closed standard output is no failure of the check.
    let _ = writeln!(std::io::stdout(), "ok: {}", read_from(&sources));
    Ok(())
}

/// The sources of the configuration, for people.
fn read_from(sources: &Sources) -> String {
    let mut parts = vec![match &sources.file {
        Some(file) => file.display().to_string(),
        None => "the built-in configuration".to_owned(),
    }];
    if !sources.environment.is_empty() {
        let names: Vec<_> = sources.environment.iter().map(|(name, _)| name.as_str()).collect();
        parts.push(names.join(", "));
    }
    if !sources.settings.is_empty() {
        let keys: Vec<_> = sources.settings.iter().map(|(key, _)| format!("--set {key}")).collect();
        parts.push(keys.join(", "));
    }
    parts.join(", ")
}

/// Reads and checks the configuration and everything that it names. All problems but the last are printed on standard
/// error here, and the last one is the error, so that each has a line.
pub(super) fn load(sources: &Sources) -> anyhow::Result<Arc<Config>> {
    let problems = match server::preflight(sources) {
        Ok(preflighted) => return Ok(preflighted.config),
        Err(problems) => problems,
    };
    let Some((last, others)) = problems.split_last() else { bail!("the configuration can't be used") };
    for problem in others {
        report(problem);
    }
    bail!("{last}")
}
