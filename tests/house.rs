//! Holds the house's order to the code: floors, roofs, sizes, words, and the lists of the docs.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file, its tests not counted.
const FILE_LINES_MAX: usize = 500;

/// The most lines of a function that is not one `match`.
const FUNCTION_LINES_MAX: usize = 70;

/// The floor of the program itself, above all modules of the library.
const PROGRAM_FLOOR: u32 = 9;

/// One file of `src/`, with the module that it is.
struct Source {
    /// As in `src/hub/topic.rs`.
    path: String,
    /// As in `["hub", "topic"]`; nothing for `lib.rs` and `main.rs`.
    module: Vec<String>,
    text: String,
    /// The text with comments and the insides of literals blanked out, line for line.
    code: String,
    /// How many lines there are before the tests in the file.
    lines: usize,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` that is the project's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && ![".git", "target", "node_modules"].iter().any(|skipped| name == *skipped) {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn sources() -> Vec<Source> {
    let rust = files(&root().join("src")).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| Source::read(&path)).collect()
}

impl Source {
    fn read(file: &Path) -> Self {
        let path = relative(file);
        let text = fs::read_to_string(file).unwrap();
        let code = blanked(&text);
        let names = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        let module = names.filter(|name| !["mod", "lib", "main"].contains(name)).map(str::to_owned).collect();
        let is_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let tests_in_file = code
            .lines()
            .zip(code.lines().skip(1))
            .position(|(line, next)| line.trim() == "#[cfg(test)]" && next.contains("mod ") && next.contains('{'));
        let lines = if is_tests { 0 } else { tests_in_file.unwrap_or(code.lines().count()) };
        Self { path, module, text, code, lines }
    }

    /// The numbered lines that are not tests.
    fn own_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.lines).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Each path that a `use` outside of the tests brings in, whole (`crate::hub::Hub`), with its line.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut imports = Vec::new();
        let mut open: Option<(usize, String)> = None;
        for (number, line) in self.own_lines() {
            let line = line.trim();
            let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().find_map(|start| line.strip_prefix(start));
            match (&mut open, begins) {
                (Some((_, text)), _) => text.push_str(line),
                (None, Some(rest)) => open = Some((number, rest.to_owned())),
                (None, None) => continue,
            }
            if let Some((number, text)) = open.take_if(|(_, text)| text.ends_with(';')) {
                imports.extend(spelled_out(text.trim_end_matches(';')).into_iter().map(|path| (number, path)));
            }
        }
        imports
    }
}

/// `a::{b, c::{self, d as e}}` as `a::b`, `a::c`, `a::c::d`.
fn spelled_out(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        return vec![path.strip_suffix("::self").unwrap_or(path).to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inside.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(letter),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| spelled_out(&format!("{head}{}", part.trim()))).collect()
}

/// The same text with comments and the insides of literals as spaces, so that each line stays where it is.
fn blanked(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at).unwrap_or(at);
        if end == at {
            out.push(letters[at]);
            at += 1;
            continue;
        }
        letters[at..end].iter().for_each(|letter| out.push(if *letter == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// Where the comment or literal that begins here ends; nothing if none begins here.
fn literal_end(letters: &[char], at: usize) -> Option<usize> {
    let starts = |word: &str| letters[at..].iter().take(word.len()).copied().eq(word.chars());
    let find = |from: usize, word: &str| {
        let word: Vec<char> = word.chars().collect();
        (from..letters.len()).find(|index| letters[*index..].starts_with(&word)).map_or(letters.len(), |index| index + word.len())
    };
    let is_word = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    if starts("//") {
        return Some(find(at, "\n") - usize::from(letters[at..].contains(&'\n')));
    }
    if starts("/*") {
        return Some(find(at + 2, "*/"));
    }
    let begins_a_word = at == 0 || !is_word(&letters[at - 1]);
    if begins_a_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let hashes = letters[at..].iter().skip_while(|letter| is_word(letter)).take_while(|letter| **letter == '#').count();
        let quote = at + letters[at..].iter().take_while(|letter| is_word(letter)).count() + hashes;
        return (letters.get(quote) == Some(&'"')).then(|| find(quote + 1, &format!("\"{}", "#".repeat(hashes))));
    }
    match (letters[at], letters.get(at + 1), letters.get(at + 2)) {
        ('"', ..) => Some(quoted_end(letters, at)),
        ('\'', Some('\\'), _) => Some(quoted_end(letters, at)),
        ('\'', Some(_), Some('\'')) => Some(at + 3),
        _ => None,
    }
}

/// Where the literal ends whose quotation mark is here.
fn quoted_end(letters: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < letters.len() && letters[end] != letters[at] {
        end += if letters[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(letters.len())
}

/// The floor of each module, as the table of `lib.rs` has it.
fn floors() -> BTreeMap<String, u32> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once('|'));
    let floors = rows.filter_map(|(floor, modules)| Some((floor.trim().parse::<u32>().ok()?, modules)));
    floors.flat_map(|(floor, modules)| modules.split('`').skip(1).step_by(2).map(move |module| (module.to_owned(), floor))).collect()
}

/// The path from the crate's root that `import` means in `source`; nothing for what lies outside of the crate.
fn resolved(source: &Source, import: &str) -> Option<Vec<String>> {
    let mut base = source.module.clone();
    let mut parts: Vec<&str> = import.split("::").collect();
    match parts[0] {
        "crate" | "belfry" => base.clear(),
        "self" => {}
        "super" => drop(base.pop()),
        _ => return None,
    }
    parts.remove(0);
    while parts.first() == Some(&"super") {
        parts.remove(0);
        base.pop();
    }
    Some(base.into_iter().chain(parts.into_iter().map(str::to_owned)).collect())
}

/// The module that a resolved path leads to: its longest beginning that is one.
fn module_of(path: &[String], modules: &BTreeSet<Vec<String>>) -> Vec<String> {
    (0..=path.len())
        .rev()
        .map(|length| path[..length].to_vec())
        .find(|beginning| beginning.is_empty() || modules.contains(beginning))
        .unwrap_or_default()
}

/// The modules that there are, and those that their roof hands out whole (`pub mod`), as a part of itself.
struct Modules {
    all: BTreeSet<Vec<String>>,
    public: BTreeSet<Vec<String>>,
}

impl Modules {
    fn of(sources: &[Source]) -> Self {
        let all = sources.iter().map(|source| source.module.clone()).collect();
        let handed_out = |source: &Source| -> Vec<Vec<String>> {
            let names = source.own_lines().filter_map(|(_, line)| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
            names.map(|name| [&source.module[..], &[name.to_owned()]].concat()).collect()
        };
        Self { all, public: sources.iter().flat_map(handed_out).collect() }
    }
}

/// What is wrong with one import, if anything is.
fn misdeed(source: &Source, path: &[String], modules: &Modules, floors: &BTreeMap<String, u32>) -> Option<String> {
    let target = module_of(path, &modules.all);
    let floor = |module: &[String]| module.first().and_then(|top| floors.get(top)).copied().unwrap_or(PROGRAM_FLOOR);
    let (here, there) = (floor(&source.module), floor(&target));
    let [own, top] = [source.module.first(), target.first()];
    if target.is_empty() {
        return Some("imports from the root of the crate, which re-exports nothing".to_owned());
    }
    if own != top {
        return if there > here {
            Some(format!("goes up from floor {here} to floor {there}"))
        } else {
            let past_the_roof = (2..=target.len()).any(|length| !modules.public.contains(&target[..length]));
            past_the_roof.then(|| format!("reaches past the roof of `{}` to `{}`", target[0], target.join("::")))
        };
    }
    let is_roof_of_here = target.len() < source.module.len() && source.module.starts_with(&target);
    let names_a_module = path.len() == target.len();
    (is_roof_of_here && !names_a_module).then(|| format!("takes from its own roof `{}`", target.join("::")))
}

/// Fails with everything that was found.
#[track_caller]
fn expect_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// House 1: each module has its floor in the map.
#[test]
fn every_module_has_a_floor() {
    let floors = floors();
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<_> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    assert_eq!(declared, floors.into_keys().collect());
}

/// House 1: a file imports from lower floors or its own; no child imports its roof; outsiders import the roof only.
#[test]
fn no_arrow_goes_up() {
    let (sources, floors) = (sources(), floors());
    let modules = Modules::of(&sources);
    let mut found = Vec::new();
    for source in &sources {
        for (line, import) in source.imports() {
            let Some(path) = resolved(source, &import) else { continue };
            if let Some(misdeed) = misdeed(source, &path, &modules, &floors) {
                found.push(format!("{}:{line}: `use {import}` {misdeed}", source.path));
            }
        }
    }
    expect_none(&found, "a file imports from lower floors, or from siblings below it");
}

/// House 1: a path spelled out in the code goes no further up than a `use`.
#[test]
fn no_path_in_the_code_goes_up() {
    let (sources, floors) = (sources(), floors());
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.module.is_empty()) {
        let here = source.module.first().and_then(|top| floors.get(top)).copied().unwrap_or(PROGRAM_FLOOR);
        for (number, line) in source.own_lines() {
            let tops = line
                .split("crate::")
                .skip(1)
                .map(|rest| rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default());
            let up = tops.filter_map(|top| Some((top, *floors.get(top)?))).filter(|(_, there)| *there > here);
            found.extend(
                up.map(|(top, there)| format!("{}:{number}: `crate::{top}` goes up from floor {here} to floor {there}", source.path)),
            );
        }
    }
    expect_none(&found, "a file takes from lower floors");
}

/// House 1: neither modules of one floor nor siblings of one folder import each other in a ring.
#[test]
fn no_arrows_form_a_ring() {
    let sources = sources();
    let modules: BTreeSet<_> = sources.iter().map(|source| source.module.clone()).collect();
    let mut arrows: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in &sources {
        let paths = source.imports().into_iter().filter_map(|(_, import)| resolved(source, &import));
        for target in paths.map(|path| module_of(&path, &modules)) {
            let shared = source.module.iter().zip(&target).take_while(|(ours, theirs)| ours == theirs).count();
            if shared < source.module.len() && shared < target.len() {
                arrows.entry(source.module[..=shared].to_vec()).or_default().insert(target[..=shared].to_vec());
            }
        }
    }
    let mut rings = Vec::new();
    for start in arrows.keys() {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            next.extend(arrows.get(module).into_iter().flatten().filter(|target| seen.insert(*target)));
        }
        if seen.contains(start) {
            rings.push(format!("`{}` leads back to itself", start.join("::")));
        }
    }
    expect_none(&rings, "siblings import from siblings below them");
}

/// House 1: `lib.rs` re-exports nothing, so that each path says its floor.
#[test]
fn the_library_re_exports_nothing() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(!blanked(&library).contains("use "));
}

/// House 1: files have at most 500 lines without their tests.
#[test]
fn files_are_small() {
    let large = sources().into_iter().filter(|source| source.lines > FILE_LINES_MAX);
    let found: Vec<_> = large.map(|source| format!("{}: {} lines", source.path, source.lines)).collect();
    expect_none(&found, "a file has at most 500 lines without its tests");
}

/// The name of the function that a line begins, if it begins one.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start();
    while let Some(rest) =
        ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "].iter().find_map(|word| words.strip_prefix(word))
    {
        words = rest.trim_start();
    }
    words.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The lines of the function that begins at this line, to the one that closes its body.
fn function_lines<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let (mut depth, mut opened) = (0_i32, false);
    let mut taken = Vec::new();
    for line in lines {
        taken.push(*line);
        for letter in line.chars() {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            opened |= letter == '{';
        }
        if (opened && depth == 0) || (!opened && line.trim_end().ends_with(';')) {
            break;
        }
    }
    taken
}

/// Whether the body of a function is one `match` and nothing beside it.
fn is_one_match(function: &[&str]) -> bool {
    let body = function.join("\n");
    let body = body.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(body, _)| body.trim());
    let mut depth = 0_i32;
    let ends = body.char_indices().filter_map(|(index, letter)| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        (letter == '}' && depth == 0).then_some(index)
    });
    body.starts_with("match ") && ends.into_iter().next() == Some(body.len() - 1)
}

/// House 1: functions have at most 70 lines, those that are not one `match` over a closed set.
#[test]
fn functions_fit_a_screen() {
    let mut found = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.code.lines().take(source.lines).collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let function = function_lines(&lines[index..]);
            if function.len() > FUNCTION_LINES_MAX && !is_one_match(&function) {
                found.push(format!("{}:{}: `{name}` has {} lines", source.path, index + 1, function.len()));
            }
        }
    }
    expect_none(&found, "a function has at most 70 lines, or is one `match`");
}

/// House 5.1: each file says its subject in its first line.
#[test]
fn every_file_says_its_subject() {
    let silent = sources().into_iter().filter(|source| source.lines > 0 && !source.text.starts_with("//! "));
    expect_none(&silent.map(|source| source.path).collect::<Vec<_>>(), "a file's first line is `//! ` and its subject");
}

/// The project's own texts: sources, tests, docs and what lies beside them, but for this file.
fn texts() -> Vec<(String, String)> {
    let folders = ["src", "tests", "docs", "benches", "examples", "loadtest", "deploy", "grafana", "fuzz"];
    let below = folders.iter().flat_map(|folder| files(&root().join(folder)));
    let beside = fs::read_dir(root()).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_file() && !path.ends_with(".git"));
    let readable = below.chain(beside).filter_map(|path| Some((relative(&path), fs::read_to_string(&path).ok()?)));
    readable.filter(|(path, _)| path != "tests/house.rs" && !path.ends_with(".lock")).collect()
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

/// House: what is not done is not noted in the code but done, or told in the docs.
#[test]
fn nothing_is_left_for_later() {
    expect_no_word(&["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!("], "nothing is left for later");
}

/// House: no path of one machine is in a committed file.
#[test]
fn no_path_of_a_machine_is_told() {
    expect_no_word(&["/work/", "/home/", "/root/", "/Users/"], "a path is relative to the project");
}

/// Each spelling in the source of the closed sets: `Self::BadRequest => "bad_request"`, `Self::Normal => 1000`.
fn spellings(path: &str, keep: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let arms = text.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => "));
    arms.map(|(_, value)| value.trim_end_matches(',').trim_matches('"').to_owned()).filter(|value| keep(value)).collect()
}

/// Fails where a page of the docs, if it is there, lacks one of these in backticks or as a number of its own.
fn expect_in_page(page: &str, names: &BTreeSet<String>) {
    let Ok(text) = fs::read_to_string(root().join(page)) else { return };
    let words: BTreeSet<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let missing: Vec<_> = names.iter().filter(|name| !words.contains(name.as_str())).cloned().collect();
    expect_none(&missing, &format!("{page} lacks what the source has"));
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

/// House 5.14: no code of the docs is unknown to the source.
#[test]
fn the_docs_have_no_code_too_many() {
    let Ok(text) = fs::read_to_string(root().join("docs/protocol.md")) else { return };
    let known = spellings("src/codes.rs", |value| value.chars().all(|letter| letter.is_ascii_digit()));
    let told = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.len() == 4 && word.starts_with("40") && word.parse::<u16>().is_ok());
    let unknown: BTreeSet<_> = told.filter(|code| !known.contains(*code)).map(str::to_owned).collect();
    expect_none(&unknown.into_iter().collect::<Vec<_>>(), "docs/protocol.md has close codes that the source lacks");
}

/// House 5.14: every key of `[limits]` is in `docs/configuration.md`.
#[test]
fn the_docs_have_every_limit() {
    let text = fs::read_to_string(root().join("src/config/limits.rs")).unwrap();
    let of_struct = text.split_once("pub struct Limits {").unwrap().1.split_once("\n}").unwrap().0;
    let keys: BTreeSet<_> =
        of_struct.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()).map(str::to_owned).collect();
    assert!(keys.contains("message_bytes"), "this test reads the limits: {keys:?}");
    expect_in_page("docs/configuration.md", &keys);
}

/// House 5.14: every metric that the source names is in `docs/metrics.md`.
#[test]
fn the_docs_have_every_metric() {
    let metrics = sources().into_iter().filter(|source| source.module.first().is_some_and(|top| top == "metrics") && source.lines > 0);
    let names = metrics.flat_map(|source| source.text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let names = names.filter(|name| name.starts_with("belfry_") && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'));
    expect_in_page("docs/metrics.md", &names.collect());
}

/// House 5.14: each test that `docs/conformance.md` names is there.
#[test]
fn the_docs_name_tests_that_are_there() {
    let page = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit_once(" | ")?.1.strip_suffix(" |"));
    let named = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains(['/', '.', '-', ' ']));
    let code: String = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(&root().join(folder)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let missing: BTreeSet<_> = named.filter(|name| !code.contains(&format!("fn {name}("))).map(str::to_owned).collect();
    assert!(page.contains("`the_limit_is_exact`"), "this test reads the names of tests");
    expect_none(&missing.into_iter().collect::<Vec<_>>(), "docs/conformance.md names tests that are not there");
}

/// This file reads what it judges rightly: comments and literals are no code, and a tree of imports is spelled out.
#[test]
fn the_reader_of_code_reads_rightly() {
    let code = blanked("let a = \"}//\"; // {\nlet b = '{'; let c: &'static str = r#\"\"}\"#; /* } */ x('\\'', \"\\\"{\")");
    assert!(!code.contains(['{', '}', '/']) && code.contains("&'static str") && code.lines().count() == 2, "{code}");
    assert_eq!(spelled_out("a::{b, c::{self, d as e}, f::*}"), ["a::b", "a::c", "a::c::d", "a::f::*"]);
    assert_eq!(function_name("    pub(crate) const fn deep<T>(a: T) {"), Some("deep"));
    assert!(
        is_one_match(&["fn a() {", "match x {", "A => {}", "}", "}"]) && !is_one_match(&["fn a() {", "match x { A => {} }", "b();", "}"])
    );
}
