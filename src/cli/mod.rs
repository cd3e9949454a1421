//! The command line: the arguments, and the function of each subcommand (PROTOCOL section 8).

mod check;
mod config_arguments;
mod gateway;
mod publish;
mod serve;
mod shell;
mod stdio;
mod subscribe;
mod token;
mod top;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(name = "belfry", version, about = "A push gateway: every message published on a topic reaches all of its subscribers at once")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    #[command(after_help = "Example:\n  belfry serve --listen 0.0.0.0:8765 --set limits.sessions=50000")]
    Serve(serve::ServeArguments),
    /// Print the messages of topics, one a line
    #[command(after_help = "Example:\n  belfry sub quotes.AAPL 'chat.>' --last 5 --count 100")]
    Sub(subscribe::SubArguments),
    /// Publish a message, or one per line of standard input
    #[command(after_help = "Example:\n  belfry pub chat.lobby '{\"text\":\"hi\"}'\n  tail -F ticks.jsonl | belfry pub chat.ticks")]
    Pub(publish::PubArguments),
    /// Check a configuration, and print every problem
    #[command(after_help = "Example:\n  belfry check --config belfry.toml\n  belfry check --print-default > belfry.toml")]
    Check(check::CheckArguments),
    /// Print a token (JWT) that a gateway with the same key accepts
    #[command(
        after_help = "Example:\n  belfry token --secret \"$SECRET\" --sub ann --subscribe 'chat.>' --publish chat.lobby --ttl 1h\n\nA secret on the command line can be seen by other users of the machine; BELFRY_TOKEN_SECRET keeps it from there."
    )]
    Token(token::TokenArguments),
    /// Watch a gateway's rates, and with an admin key its slowest sessions and busiest topics
    #[command(after_help = "Example:\n  belfry top --token \"$ADMIN_KEY\"")]
    Top(top::TopArguments),
    /// Print the completions of a shell
    #[command(after_help = "Example:\n  belfry completions bash > /etc/bash_completion.d/belfry")]
    Completions(shell::CompletionsArguments),
    /// Print a manual page
    #[command(after_help = "Example:\n  belfry man sub | man -l -")]
    Man(shell::ManArguments),
}

/// Runs the subcommand, and prints its error on one line.
pub fn run() -> ExitCode {
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            stdio::report(joined_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes. A cause that an earlier text repeats is left out.
fn joined_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |joined, cause| match joined.contains(&cause) {
        _ if joined.is_empty() => cause,
        true => joined,
        false => format!("{joined}: {cause}"),
    })
}

fn run_command() -> anyhow::Result<()> {
    // The signal handlers are installed before anything else, because SIGHUP ends a process without a handler.
    let is_gateway = std::env::args_os().nth(1).is_some_and(|word| word == "serve");
    let standby = is_gateway.then(serve::Standby::begin).transpose()?;
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => return Err(anyhow!(one_line(&with_tip(error)))),
    };
    match arguments.command {
        Command::Serve(arguments) => serve::serve(arguments, standby.map_or_else(serve::Standby::begin, Ok)?),
        Command::Check(arguments) => on_runtime(check::check(arguments)),
        Command::Token(arguments) => token::print_token(arguments),
        Command::Sub(arguments) => on_runtime(until_interrupted(subscribe::subscribe(arguments))),
        Command::Pub(arguments) => on_runtime(publish::publish(arguments)),
        Command::Top(arguments) => on_runtime(until_interrupted(top::watch(arguments))),
        Command::Completions(arguments) => shell::print_completions(&arguments, Arguments::command()),
        Command::Man(arguments) => shell::print_manual(&arguments, Arguments::command()),
    }
}

/// The paragraphs of an error in the arguments, without the pointer to `--help` that ends most of them.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given; 'belfry --help' lists them".to_owned();
    }
    let text = error.to_string();
    let paragraphs = text.trim_start_matches("error: ").split("\n\n").filter(|paragraph| !paragraph.starts_with("For more information"));
    let lines = paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("; ").replacen("; Usage: ", "; usage: ", 1)
}

/// Adds what was probably meant, where clap does not know it.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let wrong = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    let (argument, subcommand) = (wrong(ContextKind::InvalidArg), wrong(ContextKind::InvalidSubcommand));
    let tip = match error.kind() {
        ErrorKind::UnknownArgument if argument.ends_with(".toml") && takes_configuration(&error) => {
            format!("'--config {argument}' names the configuration")
        }
        ErrorKind::InvalidSubcommand if subcommand == "version" => "'belfry --version' prints the version".to_owned(),
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// Whether the usage that `error` shows is that of a subcommand with `--config`.
fn takes_configuration(error: &clap::Error) -> bool {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let arguments = Arguments::command();
    let mut with_config =
        arguments.get_subcommands().filter(|command| command.get_arguments().any(|argument| argument.get_long() == Some("config")));
    with_config.any(|command| usage.contains(&format!("belfry {}", command.get_name())))
}

/// Runs `program` on the current thread until it is done.
fn on_runtime(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start the runtime")?;
    let outcome = runtime.block_on(program);
    // A thread that reads standard input can't be woken. It ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Runs `program` until it is done, or Ctrl-C ends it without a message. The signal is polled first, because a program
/// that always has work takes all of the runtime's budget, and the signal would then never be ready.
async fn until_interrupted(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ok(()),
        outcome = program => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn the_definition_of_the_arguments_is_valid() {
        Arguments::command().debug_assert();
    }

    /// PROTOCOL 8: the contract's command lines are accepted.
    #[test]
    fn the_command_lines_of_the_contract_are_accepted() {
        for line in [
            "belfry serve",
            "belfry serve --config a.toml --listen 127.0.0.1:0 --set limits.sessions=5 --set a.b=c=d --port-file p",
            "belfry sub quotes.AAPL chat.> --url ws://[::1]:1/ws --token t --last 3 --count 2 --json",
            "belfry sub a -u localhost:8765 -t t -l 3 -n 2 -f raw",
            "belfry pub chat.lobby",
            "belfry pub chat.lobby -",
            "belfry pub chat.lobby {\"a\":1} --token t",
            "belfry check --config a.toml",
            "belfry check --print-default",
            "belfry top --url wss://a.example/ws",
            "belfry token --secret s --sub ann --subscribe a b.> --subscribe c --publish d --ttl 1h",
            "belfry token --key f.pem --sub ann",
            "belfry completions zsh",
            "belfry man",
            "belfry man sub",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn contradictory_arguments_are_refused() {
        for line in [
            "belfry",
            "belfry sub",
            "belfry sub a..b",
            "belfry pub chat.*",
            "belfry sub a --url http://x/",
            "belfry sub a --count 0",
            "belfry sub a --json --format raw",
            "belfry sub a --cacert f --insecure",
            "belfry token --sub ann",
            "belfry token --secret s --key f --sub ann",
            "belfry token --secret s --sub ann --ttl soon",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest() {
        for (line, hint) in [("belfry serv", "serve"), ("belfry sub a --jsn", "--json")] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains("similar") && error.contains(hint), "{error}");
        }
    }

    /// Other servers accept a configuration file behind `serve`.
    #[test]
    fn arguments_of_other_programs_are_answered_with_a_tip() {
        for (line, tip) in [
            ("belfry serve belfry.toml", "'--config belfry.toml' names"),
            ("belfry check belfry.toml", "'--config belfry.toml' names"),
            ("belfry version", "belfry --version"),
        ] {
            let error = with_tip(parse(line).unwrap_err()).to_string();
            assert!(error.contains("tip: ") && error.contains(tip), "{error}");
        }
        let error = with_tip(parse("belfry pub chat.a 1 belfry.toml").unwrap_err()).to_string();
        assert!(!error.contains("--config"), "{error}");
    }

    /// The bug: an error of NATS repeated its cause three times.
    #[test]
    fn a_repeated_cause_is_printed_once() {
        let cause = anyhow::anyhow!("refused").context("IO error: refused").context("can't connect: IO error: refused; is it there?");
        assert_eq!(joined_causes(&cause.context("no cluster")), "no cluster: can't connect: IO error: refused; is it there?");
    }

    /// The bug: a program that takes all of the runtime's budget was never interrupted.
    #[test]
    fn a_busy_program_is_interrupted() {
        let busy = async {
            let (mut turns, pid) = (0_u32, rustix::process::getpid());
            loop {
                tokio::task::consume_budget().await;
                turns += 1;
                // The handler was installed at the first poll.
                if turns == 1_000 {
                    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
                }
            }
        };
        on_runtime(until_interrupted(async { tokio::time::timeout(std::time::Duration::from_secs(20), busy).await? })).unwrap();
    }

    /// Each subcommand's help ends with an example.
    #[test]
    fn every_help_has_an_example() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("belfry {}", command.get_name())), "{}", command.get_name());
        }
    }
}
