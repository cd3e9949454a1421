//! Words that no committed text may have.

use std::fs;

use crate::project::{expect_none, files, relative, root};

/// The project's own texts: sources, tests, docs and what lies beside them, except this folder, which spells the words.
fn texts() -> Vec<(String, String)> {
    let folders = ["src", "tests", "docs", "benches", "examples", "loadtest", "deploy", "grafana", "fuzz"];
    let below = folders.iter().flat_map(|folder| files(&root().join(folder)));
    let beside = fs::read_dir(root()).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_file() && !path.ends_with(".git"));
    let readable = below.chain(beside).filter_map(|path| Some((relative(&path), fs::read_to_string(&path).ok()?)));
    readable.filter(|(path, _)| !path.starts_with("tests/house/") && !path.ends_with(".lock")).collect()
}

fn expect_no_word(words: &[&str], rule: &str) {
    let mut found = Vec::new();
    for (path, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            found.extend(words.iter().filter(|word| line.contains(**word)).map(|word| format!("{path}:{}: {word}", index + 1)));
        }
    }
    expect_none(&found, rule);
}

/// House: work that is not done is told in the docs, not noted in the code.
#[test]
fn nothing_is_left_for_later() {
    expect_no_word(&["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!("], "nothing is left for later");
}

/// House: no committed file names a path of one machine.
#[test]
fn no_path_of_a_machine_is_told() {
    expect_no_word(&["/work/", "/home/", "/root/", "/Users/"], "a path is relative to the project");
}
