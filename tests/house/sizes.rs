//! Checks the sizes of files and functions, and the first line of each file.

use crate::lexer::{function_name, is_one_match, item_lines};
use crate::project::expect_none;
use crate::source::all_sources;

/// The most lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 400;

/// The most lines of a function that is not one `match`.
const FUNCTION_LINES_MAX: usize = 70;

/// House 1: a file has a bounded number of lines, without its tests.
#[test]
fn files_are_small() {
    let large = all_sources().into_iter().filter(|source| source.lines > FILE_LINES_MAX);
    let found: Vec<_> = large.map(|source| format!("{}: {} lines", source.path, source.lines)).collect();
    expect_none(&found, &format!("a file has at most {FILE_LINES_MAX} lines without its tests"));
}

/// House 1: functions that are not one `match` over a closed set fit a screen.
#[test]
fn functions_fit_a_screen() {
    let mut found = Vec::new();
    for source in all_sources() {
        let lines: Vec<&str> = source.code.lines().take(source.lines).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let function = item_lines(&lines[index..]);
            if function.len() > FUNCTION_LINES_MAX && !is_one_match(&function) {
                found.push(format!("{}:{}: `{name}` has {} lines", source.path, index + 1, function.len()));
            }
        }
    }
    expect_none(&found, &format!("a function has at most {FUNCTION_LINES_MAX} lines, or is one `match`"));
}

/// House 5.1: the first line of each file is a comment with its subject.
#[test]
fn the_first_line_of_a_file_is_its_subject() {
    let silent = all_sources().into_iter().filter(|source| source.lines > 0 && !source.text.starts_with("//! "));
    expect_none(&silent.map(|source| source.path).collect::<Vec<_>>(), "a file's first line is `//! ` and its subject");
}
