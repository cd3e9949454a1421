//! `belfry serve`: runs the gateway.

mod log;
mod log_writer;
mod standby;

pub(super) use standby::Standby;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use self::log::Log;
use super::check::load;
use super::config_arguments::ConfigArguments;
use crate::config::{ListenAddress, Sources};
use crate::server;

/// `belfry serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// An address to listen on: HOST:PORT (port 0 takes a free one), unix:/PATH or systemd; may be given several times
    #[arg(long, short, value_name = "ADDR")]
    listen: Vec<String>,
    /// A file to which the addresses are written, one on each line, once the gateway listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// The filter of the log, as in RUST_LOG: warn, debug, belfry=trace
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
}

/// Runs the gateway until it is drained.
pub(super) fn serve(arguments: ServeArguments, standby: Standby) -> anyhow::Result<()> {
    let Standby { runtime, signals, supervisor } = standby;
    let outcome = runtime.block_on(run(arguments, signals, supervisor));
    // Open HTTP connections are dropped, because the drain has ended.
    runtime.shutdown_background();
    outcome
}

async fn run(arguments: ServeArguments, mut signals: server::Signals, supervisor: server::Supervisor) -> anyhow::Result<()> {
    let filter = log::filter(&arguments.log)?;
    let sources = Sources { listen: arguments.listen, ..arguments.config.into_sources()? };
    let read = sources.clone();
    let config = tokio::select! {
        config = tokio::task::spawn_blocking(move || load(&read)) => config.context("the configuration could not be read")??,
        _ = signals.next_end() => return Ok(()),
    };
    let log = Log::start(filter, config.log.format)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let running = server::start(config, sources, signals, supervisor).await?;
    running.count_suppressed(log.suppressed());
    let (addresses, summary) = (running.addresses.clone(), running.summary().to_owned());
    let announce = async {
        if let Some(file) = arguments.port_file {
            write_port_file_aside(file, addresses).await?;
        }
        // The summary may have the admin key of this run, which is for the operator, whatever the filter is.
        log.write(&summary);
        anyhow::Ok(())
    };
    let mut drained = std::pin::pin!(running.run_until_drained());
    tokio::select! {
        biased;
        announced = announce => announced?,
        () = &mut drained => return Ok(()),
    }
    drained.await;
    Ok(())
}

/// Writes the port file on a thread of its own, because a pipe without a reader blocks its writer.
async fn write_port_file_aside(file: PathBuf, addresses: Vec<ListenAddress>) -> anyhow::Result<()> {
    let context = format!("can't write the port file {}", file.display());
    let written = tokio::task::spawn_blocking(move || write_port_file(&file, &addresses)).await;
    written.map_err(anyhow::Error::from).and_then(|written| Ok(written?)).context(context)
}

/// Writes the addresses, one on each line, to a file beside `file`, and renames it. So a reader never sees a part of
/// the file. Everything that is not a plain file, such as a pipe, a device or a link, is written to, because a rename
/// would replace it.
fn write_port_file(file: &Path, addresses: &[ListenAddress]) -> std::io::Result<()> {
    let lines = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    if std::fs::symlink_metadata(file).is_ok_and(|found| !found.is_file()) {
        // Behind `/dev/stdout` is an open file, which may have lines of others.
        let is_open = ["/dev", "/proc"].iter().any(|folder| file.starts_with(folder));
        let mut target = std::fs::File::options().create(true).write(true).append(is_open).truncate(!is_open).open(file)?;
        return target.write_all((lines + "\n").as_bytes());
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, lines)?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_file_has_only_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("port");
        std::fs::write(&file, "old").unwrap();
        let network = ListenAddress::Network("127.0.0.1:40123".parse().unwrap());
        write_port_file(&file, std::slice::from_ref(&network)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:40123");
        write_port_file(&file, &[network, ListenAddress::Unix("/run/a".into())]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:40123\nunix:/run/a");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// The bug: a rename put a file in the place of a pipe, and for root in that of `/dev/stdout`.
    #[test]
    fn a_pipe_is_a_port_file() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0)
            .unwrap();
        let reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap(); // Writing too, so that no open waits.
        write_port_file(&pipe, &[ListenAddress::Network("127.0.0.1:40123".parse().unwrap())]).unwrap();
        let mut written = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut written).unwrap();
        assert_eq!(written, "127.0.0.1:40123\n");
    }

    /// The bug: a rename replaced the link that `/dev/stdout` is, if standard output was a file.
    #[test]
    fn a_link_is_followed_to_the_port_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("port"), folder.path().join("link"));
        std::fs::write(&file, "an earlier run's, which was longer than this").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_port_file(&link, &[ListenAddress::Network("127.0.0.1:40123".parse().unwrap())]).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "127.0.0.1:40123\n");
    }
}
