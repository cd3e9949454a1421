//! What a running program could write down of its topics and sessions and go on with elsewhere: no time without its clock, and
//! nothing that lies outside of the values themselves.

use crate::lexer::{is_word, item_lines};
use crate::project::expect_none;
use crate::source::{CRATES, sources};

/// The folders whose values live as long as a topic or a session.
const FOLDERS: [&str; 5] = ["src/hub/", "src/shard/", "src/session/", "src/dialect/", "src/frame/"];

/// What none of them may name: times of the machine's own clock, which mean nothing in another process, and global variables.
const WORDS: [&str; 6] = ["Instant", "SystemTime", "static", "thread_local", "LazyLock", "OnceCell"];

/// House 5.7: times come from the `Clock` that was handed in, and a value has all that belongs to it.
#[test]
fn topics_and_sessions_could_be_written_down() {
    let mut found = Vec::new();
    for source in sources(CRATES[0]) {
        if !FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
            continue;
        }
        let lines: Vec<&str> = source.own_lines().map(|(_, line)| line).collect();
        let mut index = 0;
        while let Some(line) = lines.get(index) {
            if line.trim() == "#[cfg(test)]" {
                index += 1 + item_lines(&lines[index + 1..]).len();
                continue;
            }
            let words = line.split(|letter: char| !is_word(letter) && letter != '\'');
            found.extend(words.filter(|word| WORDS.contains(word)).map(|word| format!("{}:{}: {word}", source.path, index + 1)));
            index += 1;
        }
    }
    expect_none(&found, "a topic and a session could be written down: no time without its clock, no globals");
}
