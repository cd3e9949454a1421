//! `belfry serve`, from its configuration to its last session; `belfry check` is the same without the gateway.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use tracing_subscriber::EnvFilter;

use super::layers::ConfigArguments;
use crate::config::{Config, DEFAULT_FILE, Sources};
use crate::server;

/// `belfry serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// A file that gets the address, once the gateway listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// What is logged, as RUST_LOG writes it: warn, debug, belfry=trace
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
}

/// `belfry check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print the built-in configuration
    #[arg(long)]
    print_default: bool,
}

/// Runs the gateway until it is drained.
pub(super) fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    start_log(&arguments.log)?;
    let sources = Sources { listen: arguments.listen, ..arguments.config.into_sources()? };
    let config = load(&sources)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("belfry-front").enable_all().build().context("can't start the runtime")?;
    let outcome = runtime.block_on(async {
        let running = server::start(config, sources).await?;
        if let Some(file) = &arguments.port_file {
            write_port_file(file, running.address).with_context(|| format!("can't write the port file {}", file.display()))?;
        }
        // It holds the key of this run: it goes to the terminal, past every log filter.
        eprint!("{}", running.summary());
        running.run_until_drained().await;
        Ok(())
    });
    // Whoever still speaks HTTP has no session to wait for.
    runtime.shutdown_background();
    outcome
}

/// Checks a configuration, or prints the built-in one.
pub(super) fn check(arguments: CheckArguments) -> anyhow::Result<()> {
    if arguments.print_default {
        return match std::io::stdout().write_all(DEFAULT_FILE.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("can't write to standard output"),
            _ => Ok(()),
        };
    }
    for warning in load(&arguments.config.into_sources()?)?.warnings() {
        eprintln!("belfry: warning: {warning}");
    }
    Ok(())
}

/// The configuration, with all that it names tried; every problem but the last goes to standard error here, and the last is
/// the error itself, so that each has a line.
fn load(sources: &Sources) -> anyhow::Result<Arc<Config>> {
    let problems = match server::preflight(sources) {
        Ok((config, _)) => return Ok(config),
        Err(problems) => problems,
    };
    let Some((last, others)) = problems.split_last() else { bail!("the configuration can't be used") };
    for problem in others {
        eprintln!("belfry: {problem}");
    }
    bail!("{last}")
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("the log filter {filter:?} can't be read; write `info` or `belfry=debug`"))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    Ok(())
}

/// Writes `address` beside `file` first, then renames: whoever sees the file sees all of it.
fn write_port_file(file: &Path, address: SocketAddr) -> std::io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, address.to_string())?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_file_holds_the_address_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("port");
        std::fs::write(&file, "old").unwrap();
        write_port_file(&file, "127.0.0.1:40123".parse().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:40123");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
