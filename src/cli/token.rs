//! `belfry token`: prints a JWT.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};

use super::stdio::report;
use crate::auth::{SigningKey, mint};
use crate::clock::Clock;
use crate::config::{GrantLists, SECRET_BYTES_ADVISED, parse_duration};
use crate::topic_name::Scope;

/// `belfry token`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("signing key").required(true).args(["secret", "key"])))]
pub(super) struct TokenArguments {
    /// The shared secret that signs it (HS256)
    #[arg(long, value_name = "SECRET", env = "BELFRY_TOKEN_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The private key that signs it, PEM (RS256, ES256 or EdDSA)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The user, whom others see as `user`
    #[arg(long, value_name = "USER")]
    sub: String,
    /// Patterns that it may subscribe to
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = Scope::parse)]
    subscribe: Vec<Scope>,
    /// Patterns that it may publish to
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_parser = Scope::parse)]
    publish: Vec<Scope>,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,
}

/// Prints the token that `arguments` describe.
pub(super) fn print_token(arguments: TokenArguments) -> anyhow::Result<()> {
    let pem = match &arguments.key {
        Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("can't read the key {}", file.display()))?),
        None => None,
    };
    let key = match (&arguments.secret, &pem) {
        (_, Some(pem)) => SigningKey::Pem(pem),
        (Some(secret), None) => SigningKey::Secret(secret),
        (None, None) => bail!("a token needs --secret or --key"),
    };
    let grants = GrantLists { subscribe: arguments.subscribe, publish: arguments.publish };
    let token = mint(key, &arguments.sub, &grants, arguments.ttl, &Clock::machine())?;
    if let SigningKey::Secret(secret) = key
        && secret.len() < SECRET_BYTES_ADVISED
    {
        report(format_args!(
            "warning: the secret has {} bytes; one of fewer than {SECRET_BYTES_ADVISED} can be guessed from a single token",
            secret.len()
        ));
    }
    writeln!(std::io::stdout(), "{token}").context("can't write to standard output")
}

/// Reads a duration of at least a second, because the times of tokens are whole seconds.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text).map_err(|error| format!("{text:?} {error}"))?;
    if ttl < Duration::from_secs(1) {
        return Err(format!("{text:?} is less than a second, the unit of a token's times; write as in 90s or 1h"));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_of_a_token_is_parsed() {
        assert_eq!(parse_ttl("1h"), Ok(Duration::from_secs(3_600)));
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("1.5h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_ttl("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "h", "1", "-1h", "0s", "10ms", "1w", "99999999999999999999d"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
