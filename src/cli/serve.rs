//! `belfry serve`: the gateway, from its configuration to its last session.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use tracing_subscriber::EnvFilter;

use super::check::load;
use super::layers::ConfigArguments;
use crate::config::Sources;
use crate::server;

/// `belfry serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Where to listen; port 0 picks one
    #[arg(long, short, value_name = "ADDR")]
    listen: Option<String>,
    /// A file that gets the address, once the gateway listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// What is logged, as RUST_LOG writes it: warn, debug, belfry=trace
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
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
        let running = server::start(config, sources).await.map_err(told_once)?;
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

/// An error whose text holds its source already, without the source.
fn told_once(error: server::StartError) -> anyhow::Error {
    match error {
        server::StartError::Listen { .. } => anyhow!("{error}"),
        error => error.into(),
    }
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    // The error's own text repeats its source, so the chain is not printed behind it.
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow!("the log filter {filter:?} can't be read: {error}; write as in `info` or `belfry=debug`"))?;
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
