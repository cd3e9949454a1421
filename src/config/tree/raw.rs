//! The layers of a configuration, merged into one raw tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::value::Value;

/// The built-in file, used without `--config`. It has every key, and `belfry check --print-default` prints it.
pub const DEFAULT_FILE: &str = include_str!("../default.toml");

/// The prefix of the gateway's environment variables; two underscores also separate the levels of a key.
const PREFIX: &str = "BELFRY__";
/// The name of [`DEFAULT_FILE`] in problems.
const BUILT_IN: &str = "the built-in file";

/// One problem of a configuration: the layer, the key, the value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

/// The layers of a configuration. Later fields override earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`; without it, [`DEFAULT_FILE`].
    pub file: Option<PathBuf>,
    /// Environment variables. Those that do not begin with `BELFRY__` are skipped.
    pub environment: Vec<(String, String)>,
    /// The names of variables that begin with `BELFRY` and are no part of the configuration.
    pub unread: Vec<String>,
    /// `--set KEY=VALUE`; the last one of a key wins.
    pub settings: Vec<(String, String)>,
    /// Each `--listen ADDR`. They override all other layers, `--set server.listen` included.
    pub listen: Vec<String>,
}

impl Sources {
    /// Adds the environment variables of this process.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        self.environment.extend(std::env::vars_os().map(|(name, value)| (text(name), text(value))));
        self.unread = self
            .environment
            .iter()
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("BELFRY_") && !name.starts_with(PREFIX))
            .cloned()
            .collect();
        self.environment.retain(|(name, _)| name.starts_with(PREFIX));
        self
    }

    /// Adds one `KEY=VALUE` of `--set`. The key ends at the first `=` outside of quotes.
    pub fn set(&mut self, assignment: &str) -> Result<(), Problem> {
        let mut quote = None;
        let end = assignment.find(|character| match (quote, character) {
            (None, '"' | '\'') => {
                quote = Some(character);
                false
            }
            (Some(open), _) => {
                quote = quote.filter(|_| open != character);
                false
            }
            (None, _) => character == '=',
        });
        let Some(end) = end else {
            // The text is not repeated, because it may be a secret.
            let number = self.settings.len() + 1;
            return Err(Problem(format!("--set number {number} has no \"=\"; write KEY=VALUE, as in limits.sessions=1000")));
        };
        self.settings.push((assignment[..end].trim().to_owned(), assignment[end + 1..].trim().to_owned()));
        Ok(())
    }

    /// Merges all layers into one tree, in which every value has its origin. The error names the layers that can't be
    /// read.
    pub fn merged(&self) -> Result<Raw, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut layers = Vec::new();
        let mut keep = |layer: Result<Layer, Problem>| match layer {
            Ok(layer) => layers.push(layer),
            Err(problem) => problems.push(problem),
        };
        keep(self.base());
        let variables = self.environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
        for (name, key, value) in variables {
            let path = key.split("__").map(str::to_ascii_lowercase).collect();
            keep(Ok(Layer { origin: name.clone(), path, value: value_of(value) }));
        }
        for (key, value) in &self.settings {
            keep(path_of(key).map(|path| Layer { origin: "--set".into(), path, value: value_of(value) }));
        }
        if !self.listen.is_empty() {
            let path = ["server", "listen"].map(str::to_owned).to_vec();
            let value = match &self.listen[..] {
                [only] => toml::Value::String(only.clone()),
                all => all.iter().cloned().map(toml::Value::String).collect::<Vec<_>>().into(),
            };
            keep(Ok(Layer { origin: "--listen".into(), path, value }));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut root = Value::new(&BUILT_IN.into(), toml::Value::Table(toml::Table::new()));
        layers.into_iter().for_each(|Layer { origin, path, value }| root.put(&path, Value::new(&origin.into(), value)));
        Ok(Raw { root, file: self.file.clone() })
    }

    fn base(&self) -> Result<Layer, Problem> {
        let (origin, text) = match &self.file {
            Some(file) => (file.display().to_string(), read(file)?),
            None => (BUILT_IN.to_owned(), DEFAULT_FILE.to_owned()),
        };
        let table = text.parse::<toml::Table>().map_err(|error| {
            // The parser's reason is reported without the text of the line, which may be a secret.
            let line = line_at(text.as_bytes(), error.span().map_or(0, |span| span.start));
            Problem(format!("{origin}, line {line}: not TOML: {}", error.message().replace('\n', ", ")))
        })?;
        Ok(Layer { origin, path: Vec::new(), value: toml::Value::Table(table) })
    }
}

/// Reports each of the variables `unread` that names one of `keys` with single underscores.
pub fn misspelt_variables(unread: &[String], keys: &[String]) -> Vec<Problem> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['.', '_'], "");
    let problem = |name: &String| {
        let meant = plain(name.strip_prefix("BELFRY_")?);
        let key = keys.iter().find(|key| key.contains('.') && plain(key) == meant)?;
        let right = format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
        Some(Problem(format!("{name} is not read; write {right} for {key}, with two underscores between its names")))
    };
    unread.iter().filter_map(problem).collect()
}

/// All layers as one tree.
pub struct Raw {
    /// A table.
    pub root: Value,
    file: Option<PathBuf>,
}

impl Raw {
    /// The tree of one file, without other layers.
    pub fn of(text: &str) -> Self {
        let value = text.parse::<toml::Table>().map(toml::Value::Table).unwrap_or_else(|_| toml::Value::Table(toml::Table::new()));
        Self { root: Value::new(&Arc::from(""), value), file: None }
    }

    /// Resolves `path`, a value from `origin`. In the configuration file it is relative to the file's folder, elsewhere
    /// to the working directory.
    pub fn resolve(&self, path: &str, origin: &str) -> PathBuf {
        let folder = self.file_of(origin).and_then(Path::parent);
        folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    /// The configuration file, if `origin` is in it.
    pub fn file_of(&self, origin: &str) -> Option<&Path> {
        self.file.as_deref().filter(|file| origin == file.display().to_string())
    }
}

/// One value and its path in the tree.
struct Layer {
    origin: String,
    path: Vec<String>,
    value: toml::Value,
}

/// PROTOCOL 8: a value of `--set` or the environment is TOML, else a string.
fn value_of(text: &str) -> toml::Value {
    text.parse().unwrap_or_else(|_| toml::Value::String(text.to_owned()))
}

/// Splits a dotted key of TOML: `server.listen`, `endpoints."/rooms/a.b"`.
fn path_of(key: &str) -> Result<Vec<String>, Problem> {
    let wrong = || Problem(format!("--set {key:?} is not a key; write its names joined by dots, as in limits.sessions=1000"));
    let mut path = Vec::new();
    let mut value = format!("{key} = 0").parse::<toml::Table>().map(toml::Value::Table).map_err(|_| wrong())?;
    loop {
        match value {
            toml::Value::Integer(_) => return Ok(path),
            toml::Value::Table(table) if table.len() == 1 => {
                let (name, below) = table.into_iter().next().ok_or_else(wrong)?;
                path.push(name);
                value = below;
            }
            _ => return Err(wrong()),
        }
    }
}

fn read(file: &Path) -> Result<String, Problem> {
    let bytes = std::fs::read(file).map_err(|error| Problem(format!("can't read {}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = line_at(error.as_bytes(), error.utf8_error().valid_up_to());
        Problem(format!("{}, line {line}: not TOML: the text is not UTF-8", file.display()))
    })
}

/// The line of the byte at `position`, counted from 1.
fn line_at(bytes: &[u8], position: usize) -> usize {
    1 + bytes.iter().take(position).filter(|byte| **byte == b'\n').count()
}
