//! The values of topics and sessions could be exported to another process: no time comes without its clock, and no state is
//! global.

use crate::lexer::{is_word, item_lines};
use crate::project::expect_none;
use crate::source::{CRATES, sources};

/// The folders whose values live as long as a topic or a session.
const FOLDERS: [&str; 5] = ["src/hub/", "src/shard/", "src/session/", "src/dialect/", "src/frame/"];

/// Words that no file in these folders may have: times of the machine's clock, which mean nothing in another process, and global
/// variables.
const WORDS: [&str; 6] = ["Instant", "SystemTime", "static", "thread_local", "LazyLock", "OnceCell"];

/// House 5.7: times come from a `Clock` that is a parameter, and no state is outside of a value.
#[test]
fn values_of_topics_and_sessions_use_no_machine_clock_or_global() {
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
    expect_none(&found, "topics and sessions use neither the machine's clock nor global variables");
}
