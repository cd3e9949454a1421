//! The command line: what can be asked, and whom it is handed to (PROTOCOL section 8).

mod client;
mod layers;
mod serve;
mod token;
mod top;

use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

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
    Sub(client::SubArguments),
    /// Publish a message, or one per line of standard input
    #[command(after_help = "Example:\n  belfry pub chat.lobby '{\"text\":\"hi\"}'\n  tail -F ticks.jsonl | belfry pub chat.ticks")]
    Pub(client::PubArguments),
    /// Check a configuration and tell everything that is wrong with it
    #[command(after_help = "Example:\n  belfry check --config belfry.toml\n  belfry check --print-default > belfry.toml")]
    Check(serve::CheckArguments),
    /// Print a token (JWT) that a gateway with the same key accepts
    #[command(
        after_help = "Example:\n  belfry token --secret \"$SECRET\" --sub ann --subscribe 'chat.>' --publish chat.lobby --ttl 1h\n\nA secret on the command line can be seen by other users of the machine; BELFRY_TOKEN_SECRET keeps it from there."
    )]
    Token(token::TokenArguments),
    /// Watch a gateway's rates, and with an admin key its slowest sessions and busiest topics
    #[command(after_help = "Example:\n  belfry top --token \"$ADMIN_KEY\"")]
    Top(top::TopArguments),
}

/// Parses the arguments and does what they say.
pub fn run() -> anyhow::Result<()> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Err(anyhow!(one_line(&error.to_string())));
        }
        Err(error) => {
            let status = i32::from(error.use_stderr());
            // With nobody left to read the help, there is nobody to tell.
            let _ = error.print();
            std::process::exit(status)
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Check(arguments) => serve::check(arguments),
        Command::Token(arguments) => token::print_token(arguments),
        Command::Sub(arguments) => on_runtime(client::subscribe(arguments)),
        Command::Pub(arguments) => on_runtime(client::publish(arguments)),
        Command::Top(arguments) => on_runtime(top::watch(arguments)),
    }
}

/// Runs a program of one thread until it is done or Ctrl-C ends it quietly.
fn on_runtime(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start the runtime")?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = program => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    // A thread that waits for standard input can't be woken; it ends with the process.
    runtime.shutdown_background();
    outcome
}

/// What clap says in a paragraph, without its usage, as the contract wants errors: on one line.
fn one_line(error: &str) -> String {
    let said = error.split("\n\nUsage:").next().unwrap_or(error).split("\n\nFor more").next().unwrap_or(error);
    let words: Vec<&str> = said.trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; `belfry --help` tells more", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn the_arguments_hang_together() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    /// PROTOCOL 8: each subcommand as it is written there.
    #[test]
    fn the_contracts_lines_are_taken() {
        for line in [
            "belfry serve",
            "belfry serve --config a.toml --listen 127.0.0.1:0 --set limits.sessions=5 --set a.b=c=d --port-file p",
            "belfry sub quotes.AAPL chat.> --url ws://[::1]:1/ws --token t --last 3 --count 2 --json",
            "belfry pub chat.lobby",
            "belfry pub chat.lobby -",
            "belfry pub chat.lobby {\"a\":1} --token t",
            "belfry check --config a.toml",
            "belfry check --print-default",
            "belfry top --url wss://a.example/ws",
            "belfry token --secret s --sub ann --subscribe a b.> --subscribe c --publish d --ttl 1h",
            "belfry token --key f.pem --sub ann",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "belfry",
            "belfry sub",
            "belfry sub a..b",
            "belfry pub chat.*",
            "belfry serve --set nothing",
            "belfry sub a --url http://x/",
            "belfry sub a --count 0",
            "belfry token --sub ann",
            "belfry token --secret s --key f --sub ann",
            "belfry token --secret s --sub ann --ttl soon",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_wrong_argument_is_told_on_one_line() {
        let line = one_line(&parse("belfry serve --colour").unwrap_err().to_string());
        assert!(line.contains("--colour") && !line.contains('\n') && !line.contains("Usage"), "{line}");
    }

    /// Each subcommand's help ends with an example.
    #[test]
    fn every_help_has_an_example() {
        use clap::CommandFactory;
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("belfry {}", command.get_name())), "{}", command.get_name());
        }
    }
}
