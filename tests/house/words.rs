//! Checks for words that no committed text may have.

use std::fs;

use crate::project::{expect_none, files, relative, root};

/// The texts of the project: sources, tests, docs, and files of the root. This folder has the words, and is left out.
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

/// House: open work is described in the docs, and not marked in the code.
#[test]
fn no_text_has_a_mark_for_later_work() {
    expect_no_word(&["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!("], "no text has a mark for later work");
}

/// House: no committed file names a path of one machine.
#[test]
fn no_text_has_a_path_of_one_machine() {
    expect_no_word(&["/work/", "/home/", "/root/", "/Users/"], "a path is relative to the project");
}
