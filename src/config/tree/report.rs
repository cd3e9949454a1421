//! The problems that the reading of a configuration finds, and the keys that exist.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::raw::Problem;

/// The longest prefix of an unknown key that is compared with the known keys, in characters.
const KEY_MAX: usize = 256;

/// The findings of one reading; the sections add to them.
#[derive(Default)]
pub struct Report {
    problems: RefCell<Vec<Problem>>,
    unknown: RefCell<Vec<Unknown>>,
    /// Every key that a reader has asked for, without indices of lists.
    asked: RefCell<BTreeSet<String>>,
    /// The files, variables and options that have secrets.
    secrets: RefCell<BTreeSet<Arc<str>>>,
}

/// A key that no reader has asked for.
struct Unknown {
    key: String,
    told: String,
}

impl Report {
    /// Adds a problem. Control characters are escaped, because the problem may quote the file, and is shown on a
    /// terminal.
    pub fn tell(&self, problem: String) {
        let escaped = |text: char| if text.is_control() { text.escape_default().to_string() } else { text.to_string() };
        self.problems.borrow_mut().push(Problem(problem.chars().map(escaped).collect()));
    }

    /// The number of problems, without unknown keys.
    pub fn told(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Notes that `key` exists.
    pub fn ask(&self, key: String) {
        self.asked.borrow_mut().insert(key);
    }

    /// Notes that `origin` has a secret.
    pub fn found_secret(&self, origin: Arc<str>) {
        self.secrets.borrow_mut().insert(origin);
    }

    /// The files, variables and options that have secrets.
    pub fn origins_of_secrets(&self) -> Vec<Arc<str>> {
        self.secrets.borrow().iter().cloned().collect()
    }

    /// Notes an unknown `key` (without indices), which the configuration writes as `told`.
    pub fn unknown(&self, key: String, told: String) {
        self.unknown.borrow_mut().push(Unknown { key, told });
    }

    /// Every key that was asked for.
    pub fn into_asked(self) -> BTreeSet<String> {
        self.asked.into_inner()
    }

    /// All problems. Each unknown key is reported with the nearest of `keys`, which is only called if needed.
    pub fn into_problems(self, keys: impl FnOnce() -> Vec<String>) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let unknown = self.unknown.into_inner();
        let keys = if unknown.is_empty() { Vec::new() } else { keys() };
        problems.extend(unknown.into_iter().map(|unknown| {
            let advice = match nearest(&unknown.key, &keys) {
                Some(key) => format!("did you mean {key}"),
                None => "take it out, or see docs/configuration.md for the keys that there are".to_owned(),
            };
            Problem(format!("{} is not a key; {advice}", unknown.told))
        }));
        problems
    }
}

/// The key that was probably meant: the same name in another table, or else the one with the fewest edits.
fn nearest<'k>(key: &str, keys: &'k [String]) -> Option<&'k String> {
    let own = |key: &'k str| key.rsplit('.').next().unwrap_or(key);
    let name = key.rsplit('.').next().unwrap_or(key);
    let near = |known: &&'k String| edits(key, known).min(edits(name, own(known)) + 1);
    keys.iter().min_by_key(near).filter(|known| near(known) <= 1 + name.chars().count() / 3)
}

/// The Levenshtein distance.
fn edits(source: &str, target: &str) -> usize {
    let target: Vec<char> = target.chars().collect();
    let mut row: Vec<usize> = (0..=target.len()).collect();
    for (line, from) in source.chars().take(KEY_MAX).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, to) in target.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[target.len()]
}
