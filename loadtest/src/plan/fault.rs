//! The faults of `--fault`, such as `5s=kill -9 1234`.

use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use serde::{Serialize, Serializer};

/// A command that breaks or repairs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its time, since the measurement began.
    pub after: Duration,
    /// The command for the shell.
    pub command: String,
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let right = "write when in seconds of the measurement, and what, as in \"5s=kill -9 1234\"";
        let bad = || anyhow!("{text:?} is no TIME=COMMAND: {right}");
        let (after, command) = text.split_once('=').ok_or_else(bad)?;
        let seconds: f64 = after.strip_suffix('s').unwrap_or(after).parse().map_err(|_| bad())?;
        let command = command.trim();
        if !(0.0..=86_400.0).contains(&seconds) || command.is_empty() {
            return Err(bad());
        }
        Ok(Self { after: Duration::from_secs_f64(seconds), command: command.to_owned() })
    }
}

/// As on the command line.
impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s={}", self.after.as_secs_f64(), self.command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_a_time_and_a_command() {
        let fault: Fault = "2.5s=kill -9 $(pidof belfry); test a=b".parse().unwrap();
        assert_eq!((fault.after, &*fault.command), (Duration::from_millis(2_500), "kill -9 $(pidof belfry); test a=b"));
        assert_eq!(serde_json::to_value(&fault).unwrap().as_str().unwrap().parse::<Fault>().unwrap(), fault);
        for text in ["kill -9 1", "5s=", "=kill", "-1s=true", "soon=true", "1e9s=true"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
