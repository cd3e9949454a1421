//! `belfry completions` and `belfry man`.

use anyhow::{Context, anyhow};
use clap::{Args, Command};
use clap_complete::Shell;

use super::stdio::print;

/// `belfry completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// `belfry man`.
#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// A subcommand; without one, the page of the program
    #[arg(value_name = "COMMAND")]
    subcommand: Option<String>,
}

/// Prints the completions of a shell for `program`.
pub(super) fn print_completions(arguments: &CompletionsArguments, mut program: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "belfry", &mut script);
    print(&script).map(drop)
}

/// Prints the manual page of `program`, or of one of its subcommands, in roff.
pub(super) fn print_manual(arguments: &ManArguments, mut program: Command) -> anyhow::Result<()> {
    program.build();
    let command = match &arguments.subcommand {
        None => program,
        Some(name) => {
            let known: Vec<_> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
            let found = program.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| anyhow!("belfry has no command {name:?}; it has {}", known.join(", ")))?;
            found.display_name(format!("belfry-{name}"))
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("the manual page can't be made")?;
    print(&page).map(drop)
}
