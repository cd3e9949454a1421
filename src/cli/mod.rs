//! The command line: arguments, `serve`, `check`, `token` (PROTOCOL section 8).

/// Parses the arguments and does what they say.
pub fn run() -> anyhow::Result<()> {
    Ok(())
}
