//! The command line.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::baseline;
use crate::compare::{self, Contender};
use crate::diff;
use crate::named::Named;
use crate::plan::{Arguments, Scenario, Sends, Server, Settings, defaults};
use crate::report::{Comparison, Report, page, percentiles};
use crate::scenario;
use crate::wire::Dialect;

/// Offers load to a gateway at scheduled times, checks every delivery, and reports the cost
#[derive(Debug, Parser)]
#[command(name = "belfry-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One topic, many subscribers
    #[command(after_help = defaults(Scenario::Fanout))]
    Fanout(Run),
    /// Many topics of skewed popularity, ten of them for each subscriber
    #[command(after_help = defaults(Scenario::Market))]
    Market(Run),
    /// Many topics with members, each of which publishes
    #[command(after_help = defaults(Scenario::Chat))]
    Chat(Run),
    /// The memory of idle sessions
    #[command(after_help = defaults(Scenario::Idle))]
    Idle(Run),
    /// The cost of a new session
    #[command(after_help = defaults(Scenario::Handshake))]
    Handshake(Run),
    /// Nine in ten disconnect together, and resume together
    #[command(after_help = defaults(Scenario::Storm))]
    Storm(Run),
    /// One subscriber in ten stops reading, then reconnects
    #[command(after_help = defaults(Scenario::Slow))]
    Slow(Run),
    /// Subscriptions come and go
    #[command(after_help = defaults(Scenario::Churn))]
    Churn(Run),
    /// SIGTERM under load
    #[command(after_help = defaults(Scenario::Drain))]
    Drain(Run),
    /// Parts of a cluster fail under load; sessions reconnect to another gateway, and acknowledged messages must arrive
    #[command(after_help = defaults(Scenario::Failover))]
    Failover(Run),
    /// All scenarios but `failover`, one after the other; `drain` only with --start
    All(Run),
    /// The same fan-out by plain sends: the cost of the kernel on this machine
    #[command(after_help = defaults(Scenario::Fanout))]
    Baseline(Run),
    /// The same work on several servers, interleaved and repeated
    Compare(Compare),
    /// Compare two reports, made with --json
    Diff(Diff),
    #[command(hide = true)]
    BaselineServe {
        #[arg(long, value_enum)]
        sends: Sends,
        #[arg(long)]
        port_file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Compare {
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    output: Output,
    /// The servers to compare, each a name of --target, with `+deflate` or `+history` for compression; ratios are to the first server, or for a
    /// server with compression to the same one without
    #[arg(long, value_delimiter = ',', value_name = "SERVERS", default_value = "json,raw,baseline,node-ws,python-websockets")]
    with: Vec<Contender>,
    /// The scenario
    #[arg(long, value_enum, default_value = "fanout")]
    scenario: Scenario,
    /// Rounds; in each, every server runs once
    #[arg(long, value_name = "N", default_value_t = 5)]
    repeat: usize,
    /// Leave out servers that can't be started here, and continue after failed runs
    #[arg(long)]
    keep_going: bool,
}

#[derive(Debug, Args)]
struct Diff {
    /// The report before
    before: PathBuf,
    /// The report after
    after: PathBuf,
}

/// The outputs of the report.
#[derive(Debug, Clone, Args)]
struct Output {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report as one page, with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the latencies as a percentile distribution in HdrHistogram's format; several runs have numbered files
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
}

/// Runs the command line. Returns whether all checks held.
pub fn run() -> anyhow::Result<bool> {
    match Cli::parse().command {
        Command::Fanout(run) => run_scenario(Scenario::Fanout, &run),
        Command::Market(run) => run_scenario(Scenario::Market, &run),
        Command::Chat(run) => run_scenario(Scenario::Chat, &run),
        Command::Idle(run) => run_scenario(Scenario::Idle, &run),
        Command::Handshake(run) => run_scenario(Scenario::Handshake, &run),
        Command::Storm(run) => run_scenario(Scenario::Storm, &run),
        Command::Slow(run) => run_scenario(Scenario::Slow, &run),
        Command::Churn(run) => run_scenario(Scenario::Churn, &run),
        Command::Drain(run) => run_scenario(Scenario::Drain, &run),
        Command::Failover(run) => run_scenario(Scenario::Failover, &run),
        Command::All(run) => run_all(&run),
        Command::Baseline(run) => run_baseline(&run),
        Command::Compare(run) => run_compare(&run),
        Command::Diff(files) => run_diff(&files),
        Command::BaselineServe { sends, port_file } => {
            baseline::serve(sends, &port_file).context("the baseline server failed").map(|()| true)
        }
    }
}

fn run_scenario(scenario: Scenario, run: &Run) -> anyhow::Result<bool> {
    output(&[scenario::run(Settings::resolve(scenario, &run.arguments)?)?], &run.output)
}

fn run_all(run: &Run) -> anyhow::Result<bool> {
    let fits = |scenario: &&Scenario| match scenario {
        Scenario::Drain => run.arguments.start.is_some(),
        Scenario::Failover => false,
        _ => true,
    };
    let scenarios = Scenario::value_variants().iter().filter(fits);
    let reports = scenarios.map(|scenario| scenario::run(Settings::resolve(*scenario, &run.arguments)?));
    output(&reports.collect::<anyhow::Result<Vec<_>>>()?, &run.output)
}

/// Runs the baseline with one message for each write, and with both ways of coalescing if several messages are due together.
fn run_baseline(run: &Run) -> anyhow::Result<bool> {
    let settings = Settings::resolve(Scenario::Fanout, &run.arguments)?;
    let alone = settings.burst == 1 && settings.ahead.is_none_or(|ahead| ahead == 1);
    let kinds: &[Sends] = if alone { &[Sends::Single] } else { &[Sends::Single, Sends::Joined, Sends::Vectored] };
    let reports = kinds.iter().map(|sends| {
        scenario::run(settings.clone().with_server(format!("plain sends, {}", sends.name()), Server::Baseline(*sends), Dialect::Plain))
    });
    output(&reports.collect::<anyhow::Result<Vec<_>>>()?, &run.output)
}

fn run_compare(run: &Compare) -> anyhow::Result<bool> {
    let settings = Settings::resolve(run.scenario, &run.arguments)?;
    let mut contenders = compare::settings(&settings, &run.with, &run.arguments.peers)?;
    if run.keep_going {
        compare::leave_out_absent(&mut contenders)?;
    }
    let rounds = compare::run(contenders, run.repeat.max(1), run.keep_going)?;
    let (hold, comparison) = (rounds.hold(), rounds.comparison());
    let reports = rounds.into_reports();
    write_files(&reports, Some(&comparison), &run.output)?;
    if run.output.json {
        print_json(&reports)?
    } else {
        print(comparison)?
    }
    Ok(hold)
}

fn run_diff(files: &Diff) -> anyhow::Result<bool> {
    let read = |file: &PathBuf| -> anyhow::Result<diff::Reports> {
        let text = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
        diff::Reports::parse(&text).with_context(|| format!("{} is no report of --json", file.display()))
    };
    print(diff::table(&read(&files.before)?, &read(&files.after)?)?)?;
    Ok(true)
}

/// Writes and prints the reports. Returns whether all checks held.
fn output(reports: &[Report], output: &Output) -> anyhow::Result<bool> {
    write_files(reports, None, output)?;
    match reports {
        [report] if output.json => print_json(report)?,
        reports if output.json => print_json(reports)?,
        reports => print(reports.iter().map(Report::to_string).collect::<String>())?,
    }
    Ok(reports.iter().all(Report::holds))
}

/// Writes `text` to standard output. A reader that has gone, as `head` does, is no failure of the run.
fn print(text: impl Display) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("can't write to standard output"),
        _ => Ok(()),
    }
}

fn print_json(value: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    print(format_args!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes the page and the latencies, if they were asked for.
fn write_files(reports: &[Report], comparison: Option<&Comparison>, output: &Output) -> anyhow::Result<()> {
    if let Some(file) = &output.html {
        fs::write(file, page(reports, comparison)).with_context(|| format!("can't write the page {}", file.display()))?;
    }
    for (number, report) in (1..).zip(reports) {
        let Some(file) = &output.hdr else { break };
        let file = if reports.len() == 1 { file.clone() } else { PathBuf::from(format!("{}.{number}", file.display())) };
        fs::write(&file, percentiles(&report.histogram)).with_context(|| format!("can't write the latencies {}", file.display()))?;
    }
    Ok(())
}
