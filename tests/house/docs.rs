//! Compares the lists in the docs with the source.

use std::collections::BTreeSet;

use crate::project::{expect_none, files, read, relative, root, rust_files};

/// The most columns of a line of prose.
const PROSE_COLUMNS_MAX: usize = 120;

/// The most columns of a row of a table.
const TABLE_COLUMNS_MAX: usize = 200;

/// The values of the closed sets in a file, as in `BadRequest = "bad_request",`, `Topics = "topics": "Topics …",` and
/// `Normal = 1000,`, that `keep` selects.
fn spellings(path: &str, keep: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = read(path);
    let arms = text.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    let values = arms.filter_map(|(_, value)| value.split('"').find(|part| !part.is_empty()));
    values.map(str::to_owned).filter(|value| keep(value)).collect()
}

/// Fails if a page of the docs lacks one of `names` as a word.
fn expect_in_page(page: &str, names: &BTreeSet<String>) {
    let text = read(page);
    let words: BTreeSet<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).cloned().collect();
    expect_none(&missing, &format!("{page} lacks names of the source"));
}

/// House 5.14: the codes of errors and closes are those of `docs/protocol.md`.
#[test]
fn the_docs_have_every_code() {
    let errors = spellings("src/codes.rs", |value| value.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
    let closes = spellings("src/codes.rs", |value| value.chars().all(|letter| letter.is_ascii_digit()));
    assert!(errors.contains("bad_request") && closes.contains("4009"), "this test reads the codes: {errors:?} {closes:?}");
    expect_in_page("docs/protocol.md", &errors);
    expect_in_page("docs/protocol.md", &closes);
}

/// House 5.14: the source has every close code of the docs.
#[test]
fn the_docs_have_only_known_close_codes() {
    let text = read("docs/protocol.md");
    let known = spellings("src/codes.rs", |value| value.chars().all(|letter| letter.is_ascii_digit()));
    let named = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.len() == 4 && word.starts_with("40") && word.parse::<u16>().is_ok());
    let unknown: BTreeSet<_> = named.filter(|code| !known.contains(*code)).map(str::to_owned).collect();
    expect_none(&unknown.into_iter().collect::<Vec<_>>(), "docs/protocol.md has close codes that the source lacks");
}

/// House 5.14: every key of `[limits]` is in `docs/configuration.md`.
#[test]
fn the_docs_have_every_limit() {
    let text = read("src/config/limits.rs");
    let declared = text.split_once("\nlimits! {").unwrap().1.split_once("\n}").unwrap().0;
    let keys: BTreeSet<_> = declared.lines().filter_map(|line| line.trim().split_once(": ")).map(|(key, _)| key.to_owned()).collect();
    assert!(keys.contains("message_bytes"), "this test reads the limits: {keys:?}");
    expect_in_page("docs/configuration.md", &keys);
}

/// House 5.14: every metric that the source names is in `docs/metrics.md`.
#[test]
fn the_docs_have_every_metric() {
    let families = read("src/metrics/families.rs");
    let labelled = families.split("make.").skip(1).filter_map(|call| call.split('"').nth(1)).map(str::to_owned);
    let counters = read("src/metrics/counters.rs");
    let counters = counters.split('"').skip(1).step_by(2).filter(|word| word.ends_with("_total")).map(str::to_owned);
    let names = labelled.chain(counters).chain(spellings("src/metrics/unlabelled.rs", |_| true));
    let names: BTreeSet<_> = names.map(|name| format!("belfry_{name}")).collect();
    let known = ["belfry_sessions", "belfry_commands_total", "belfry_addresses"].map(str::to_owned);
    assert!(known.iter().all(|name| names.contains(name)), "this test reads the metrics: {names:?}");
    expect_in_page("docs/metrics.md", &names);
}

/// House 5.14: each test that `docs/conformance.md` names exists.
#[test]
fn the_tests_that_the_docs_name_exist() {
    let page = read("docs/conformance.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit_once(" | ")?.1.strip_suffix(" |"));
    let named = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains(['/', '.', '-', ' ']));
    let files = ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(folder));
    let code: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let missing: BTreeSet<_> = named.filter(|name| !code.contains(&format!("fn {name}("))).map(str::to_owned).collect();
    assert!(page.contains("`the_limit_is_exact`"), "this test reads the names of tests");
    expect_none(&missing.into_iter().collect::<Vec<_>>(), "docs/conformance.md names tests that do not exist");
}

/// The pages of the docs, with their paths.
fn pages() -> Vec<(String, String)> {
    let in_docs = files(&root().join("docs")).into_iter().map(|path| relative(&path)).filter(|path| path.ends_with(".md"));
    let beside = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned);
    beside.into_iter().chain(in_docs).map(|path| (path.clone(), read(&path))).collect()
}

/// House 3: lines of the docs can be read in a diff. A line of code or a figure's command may be longer.
#[test]
fn lines_of_the_docs_are_short() {
    let mut found = Vec::new();
    for (path, text) in pages() {
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            is_code ^= line.starts_with("```");
            let most = if line.starts_with('|') { TABLE_COLUMNS_MAX } else { PROSE_COLUMNS_MAX };
            let columns = line.chars().count();
            if columns > most && !is_code && !line.starts_with("    ") {
                found.push(format!("{path}:{}: {columns} columns, {most} at most", index + 1));
            }
        }
    }
    expect_none(&found, "lines of the docs are short");
}

/// Links between the pages lead to files that exist.
#[test]
fn links_lead_to_existing_files() {
    let mut found = Vec::new();
    for (path, text) in pages() {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
        let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
        let missing = files.filter(|target| !folder.join(target.split('#').next().unwrap()).exists());
        found.extend(missing.map(|target| format!("{path}: {target}")));
    }
    expect_none(&found, "a link leads to a file that exists");
}

/// House 13: each path that ARCHITECTURE.md names exists, from the root or from `src/`.
#[test]
fn the_files_that_the_architecture_names_exist() {
    let page = read("ARCHITECTURE.md");
    let named: BTreeSet<_> =
        page.split('`').skip(1).step_by(2).filter(|name| name.ends_with('/') || name.ends_with(".rs") && *name != "mod.rs").collect();
    let is_there = |name: &str| [root().join(name), root().join("src").join(name)].iter().any(|path| path.exists());
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).map(|name| (*name).to_owned()).collect();
    assert!(named.contains("hub/topic/mod.rs"), "this test reads the page: {named:?}");
    expect_none(&missing, "ARCHITECTURE.md names files that do not exist");
    let layers: Vec<_> =
        read("src/lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned)).collect();
    let absent: Vec<_> =
        layers.into_iter().filter(|module| !page.contains(&format!("`{module}/`")) && !page.contains(&format!("`{module}`"))).collect();
    expect_none(&absent, "ARCHITECTURE.md has a layer for each module");
}

/// Each name in `clustered.txt` is that of a test of the contract.
#[test]
fn the_tests_left_out_on_an_engine_exist() {
    let list = read("tests/contract/clustered.txt");
    let named = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_there = |name: &&str| {
        let (module, test) = name.split_once("::").unwrap_or_default();
        read(&format!("tests/contract/{module}.rs")).contains(&format!("fn {test}()"))
    };
    expect_none(&named.filter(|name| !is_there(name)).map(str::to_owned).collect::<Vec<_>>(), "a test of the contract has this name");
}
