//! The problems that the reading of a configuration finds, and the keys that exist.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use strsim::levenshtein;

use super::raw::Problem;

/// The longest prefix of an unknown key that is compared with the known keys, in characters.
const KEY_MAX: usize = 256;

/// The findings of one reading; the sections add to them.
#[derive(Default)]
pub struct Report {
    problems: RefCell<Vec<Problem>>,
    /// The keys that no reader has read, without indices and as problems show them.
    unknown: RefCell<Vec<(String, String)>>,
    /// Every key that exists, without indices of lists.
    known_keys: RefCell<BTreeSet<String>>,
    /// The files, variables and options that have secrets.
    secrets: RefCell<BTreeSet<Arc<str>>>,
}

impl Report {
    /// Adds a problem. Control characters are escaped, because the problem may quote the file, and is shown on a
    /// terminal.
    pub fn add(&self, problem: String) {
        let escaped = |text: char| if text.is_control() { text.escape_default().to_string() } else { text.to_string() };
        self.problems.borrow_mut().push(Problem(problem.chars().map(escaped).collect()));
    }

    /// The number of problems, without unknown keys.
    pub fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Notes that `key` exists.
    pub fn note_key(&self, key: String) {
        self.known_keys.borrow_mut().insert(key);
    }

    /// Notes that the file, variable or option `origin` has a secret.
    pub fn note_secret(&self, origin: Arc<str>) {
        self.secrets.borrow_mut().insert(origin);
    }

    /// The files, variables and options that have secrets.
    pub fn origins_of_secrets(&self) -> Vec<Arc<str>> {
        self.secrets.borrow().iter().cloned().collect()
    }

    /// Notes an unknown `key` (without indices), which problems show as `shown`.
    pub fn unknown(&self, key: String, shown: String) {
        self.unknown.borrow_mut().push((key, shown));
    }

    /// Every key that exists.
    pub fn into_known_keys(self) -> BTreeSet<String> {
        self.known_keys.into_inner()
    }

    /// All problems. Each unknown key is reported with the nearest of `keys`, which is only called if needed.
    pub fn into_problems(self, keys: impl FnOnce() -> Vec<String>) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let unknown = self.unknown.into_inner();
        let keys = if unknown.is_empty() { Vec::new() } else { keys() };
        problems.extend(unknown.into_iter().map(|(key, shown)| {
            let advice = match nearest(&key, &keys) {
                Some(key) => format!("did you mean {key}"),
                None => "remove it; docs/configuration.md has all keys".to_owned(),
            };
            Problem(format!("{shown} is not a key; {advice}"))
        }));
        problems
    }
}

/// The key that was probably meant: the same name in another table, or else the one with the fewest edits.
fn nearest<'k>(key: &str, keys: &'k [String]) -> Option<&'k String> {
    fn own(key: &str) -> &str {
        key.rsplit('.').next().unwrap_or(key)
    }
    let key: String = key.chars().take(KEY_MAX).collect();
    let name = own(&key);
    let near = |known: &&'k String| levenshtein(&key, known).min(levenshtein(name, own(known)) + 1);
    keys.iter().min_by_key(near).filter(|known| near(known) <= 1 + name.chars().count() / 3)
}
