//! The command line.

use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::scenario::{Arguments, Scenario};

/// Offers load to a gateway at scheduled times, checks every delivery, and tells what it cost
#[derive(Debug, Parser)]
#[command(name = "belfry-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One topic, many subscribers
    Fanout(Run),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    output: Output,
}

/// Where the report goes besides standard output.
#[derive(Debug, Clone, Args)]
struct Output {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs what the command line says; whether all checks held.
pub fn run() -> anyhow::Result<bool> {
    match Cli::parse().command {
        Command::Fanout(run) => run_scenario(Scenario::Fanout, &run),
    }
}

fn run_scenario(scenario: Scenario, run: &Run) -> anyhow::Result<bool> {
    let report = scenario.run(&run.arguments)?;
    tell(&report, &run.output)
}

fn tell(report: &Report, output: &Output) -> anyhow::Result<bool> {
    if output.json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{report}");
    }
    Ok(report.holds())
}
