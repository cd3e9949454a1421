//! Compares the configuration with its reference, `docs/configuration.md`: keys, defaults, ranges, and the errors of
//! wrong values.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use belfry::config::{Config, DEFAULT_FILE, Problem, Sources, keys};

const REFERENCE: &str = include_str!("../docs/configuration.md");
/// The built-in file of PROTOCOL 8. It has only the keys that the contract names.
const CONTRACT: &str = include_str!("vectors/built-in.toml");

/// One row of the reference.
struct Row {
    key: &'static str,
    kind: &'static str,
    /// The default as TOML, if the key has one.
    default: Option<&'static str>,
    /// Both bounds as TOML.
    range: Option<(&'static str, &'static str)>,
    meaning: &'static str,
}

fn rows() -> Vec<Row> {
    REFERENCE.lines().filter_map(row).collect()
}

/// A row of a table of keys. Rows of tables of values begin with a quote.
fn row(line: &'static str) -> Option<Row> {
    let line = Some(line).filter(|line| !line.starts_with("| `\""))?;
    let cells: Vec<_> = line.strip_prefix("| `")?.strip_suffix(" |")?.split('|').map(str::trim).collect();
    let [key, kind, default, range, meaning] = cells[..] else { panic!("{line} has {} cells", cells.len()) };
    let literal = |cell: &'static str| cell.strip_prefix('`')?.strip_suffix('`');
    let range = range.split_once(" to ").map(|(least, most)| (literal(least).unwrap(), literal(most).unwrap()));
    Some(Row { key: key.strip_suffix('`')?, kind, default: literal(default), range, meaning })
}

/// A folder with the files that the configurations below name.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ticks.csv"), "timestamp,symbol\n").unwrap();
        Self(folder)
    }

    fn load(&self, text: &str) -> Result<Arc<Config>, Vec<Problem>> {
        let file: PathBuf = self.0.path().join("belfry.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&Sources { file: Some(file), ..Sources::default() })
    }
}

/// The other keys that a table with `key` needs.
fn siblings(key: &str) -> &'static str {
    match key {
        "auth.keys[].public_key" | "auth.keys[].jwks" => "",
        key if key.starts_with("auth.keys[]") => "secret = '0123456789abcdef0123456789abcdef'",
        key if key.starts_with("auth.api_keys[]") => "name = 'feed'\nkey = 'k'",
        key if key.starts_with("topics[]") => "match = 't.>'",
        key if key.starts_with("feed.replay[]") => "file = 'ticks.csv'\ntopic = 'quotes.{symbol}'",
        key if key.starts_with("cluster.streams[]") => "name = 'S'\nmatch = 't.>'",
        "feed.simulator.enabled" => "",
        key if key.starts_with("feed.simulator.") => "enabled = true",
        _ => "",
    }
}

/// A file with `key = value` and the other keys that the table needs. Without a value, the file has the other keys
/// alone.
fn file_with(key: &str, value: Option<&str>) -> String {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let own = format!("{name} = ");
    let lines = siblings(key).lines().filter(|line| value.is_none() || !line.starts_with(&own)).map(str::to_owned);
    let body = lines.chain(value.map(|value| own.clone() + value)).collect::<Vec<_>>().join("\n");
    match table.strip_suffix("[]") {
        _ if table.is_empty() => body,
        Some(list @ "cluster.streams") => format!("[[topics]]\nmatch = 't.>'\n[cluster]\nurls = ['nats://h:4222']\n[[{list}]]\n{body}"),
        Some(list) => format!("[[{list}]]\n{body}"),
        None => format!("[{table}]\n{body}"),
    }
}

fn text_of(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// PROTOCOL 8: the reference has each key once, and no others.
#[test]
fn every_key_is_in_the_reference() {
    let documented: BTreeSet<_> = rows().iter().map(|row| row.key.to_owned()).collect();
    assert_eq!(documented, keys().into_iter().collect());
    assert_eq!(documented.len(), rows().len(), "a key is there twice");
}

/// PROTOCOL 8: a key that is left out has the default of the reference.
#[test]
fn every_default_is_as_documented() {
    let folder = Folder::new();
    for row in rows() {
        let Some(default) = row.default else { continue };
        let (left_out, written) = (file_with(row.key, None), file_with(row.key, Some(default)));
        let left_out = folder.load(&left_out).unwrap_or_else(|problems| panic!("{left_out}\n{}", text_of(&problems)));
        let written = folder.load(&written).unwrap_or_else(|problems| panic!("{written}\n{}", text_of(&problems)));
        assert_eq!(left_out, written, "{} = {default}", row.key);
    }
}

/// PROTOCOL 8: the bounds of each documented range are valid, and values past them are not.
#[test]
fn every_range_is_as_documented() {
    let folder = Folder::new();
    for row in rows() {
        let Some((least, most)) = row.range else { continue };
        for end in [least, most] {
            let file = file_with(row.key, Some(end));
            assert!(folder.load(&file).is_ok(), "{} = {end} is within its range", row.key);
        }
        let beyond = match row.kind {
            "duration" => vec!["\"4000d\"".to_owned(), "\"0.5us\"".to_owned()],
            _ => [least.parse::<i128>().unwrap() - 1, most.parse::<i128>().unwrap() + 1].map(|end| end.to_string()).into(),
        };
        for value in beyond {
            // Some bounds are those of TOML's integers, and 0.5us is in a range that begins at 0.
            let is_testable = value.parse::<toml::Value>().is_ok() && !(least == "\"0s\"" && value == "\"0.5us\"");
            if is_testable {
                let problems = folder.load(&file_with(row.key, Some(&value))).expect_err(&format!("{} = {value}", row.key));
                assert!(text_of(&problems).contains("is out of range; write "), "{}", text_of(&problems));
            }
        }
    }
}

/// Values that are wrong for each key of `kind`.
fn wrong_values(kind: &str) -> &'static [&'static str] {
    match kind {
        "whole number" => &["\"1\"", "\"\"", "1.5", "true", "[]", "{}", "-1", "\"64K\""],
        "duration" => &["10", "\"10\"", "\"\"", "\"ten\"", "\"-1s\"", "\"10 s\"", "\"1 parsec\"", "1.5", "true", "[]", "{}", "\"99999d\""],
        "true or false" => &["\"true\"", "\"\"", "1", "[]", "{}"],
        "number" => &["\"1\"", "\"\"", "true", "-1", "-0.5", "[]", "{}"],
        "address or list" => &[
            "8765",
            "true",
            "[]",
            "{}",
            "\"localhost\"",
            "\":8765\"",
            "\"127.0.0.1:x\"",
            "\"127.0.0.1:65536\"",
            "\"1.2.3:4\"",
            "[5]",
            "[\"localhost\"]",
            "\"unix:\"",
            "\"unix:run/belfry.sock\"",
            "\"systemd:\"",
        ],
        "mode" => &["660", "true", "[]", "{}", "\"\"", "\"rw\"", "\"0888\"", "\"1777\""],
        "file" => &["5", "true", "[]", "{}", "\"absent.pem\""],
        "text or list" => &["5", "true", "[]", "{}", "\"\"", "[5]", "[\"\"]"],
        "text" | "folder" => &["5", "true", "[]", "{}"],
        "pattern" => &["5", "true", "[]", "{}", "\"a.>.b\"", "\"a b\"", "\"a..b\""],
        "list of patterns" => &["\"a\"", "5", "{}", "[5]", "[\"\"]", "[\"a.>.b\"]", "[\"a b\"]", "[\"chat*\"]", "[\"a.b:*\"]"],
        "list of origins" => &["\"a\"", "5", "{}", "[5]", "[\"\"]", "[\"*\"]", "[\"null\"]", "[\"https://a/b\"]", "[\"https://*\"]"],
        "list of hosts" => &["\"a\"", "5", "{}", "[5]", "[\"\"]", "[\"a:1\"]", "[\"http://a\"]", "[\"a/b\"]"],
        "list of networks" => &["\"a\"", "5", "{}", "[5]", "[\"\"]", "[\"10.0.0.0/33\"]", "[\"localhost\"]"],
        "list of servers" => &["\"a\"", "5", "{}", "[5]", "[\"\"]", "[\"h:4222\"]", "[\"http://h\"]"],
        "list of symbols" => &["\"a\"", "5", "{}", "[]", "[5]", "[\"\"]", "[\"a.b\"]", "[\"*\"]", "[\"a b\"]"],
        "list of tables" => &["\"a\"", "5", "{}", "[5]", "[\"\"]"],
        "table" => &["\"a\"", "\"\"", "5", "[]"],
        other => panic!("{other:?} is a type that this test does not know"),
    }
}

/// The text of `value` in a problem. A list with one item is shown as the item.
fn shown(key: &str, value: &str) -> String {
    let is_secret =
        ["auth.anonymous", "auth.authenticated", "auth.keys", "auth.api_keys", "auth.keys[].secret", "auth.api_keys[].key"].contains(&key);
    let item = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).filter(|item| !item.is_empty());
    let shown = if is_secret { "(not shown)" } else { item.unwrap_or(value) };
    let index = if item.is_some() { "[0]" } else { "" };
    format!("{}{index} = {shown} ", key.replace("[]", "[0]"))
}

/// PROTOCOL 8: a value of a wrong type, out of range, empty or without a unit is reported with the key, the value and
/// what would be right.
#[test]
fn every_wrong_value_is_reported_with_key_value_and_remedy() {
    let folder = Folder::new();
    let mut files = 0;
    for row in rows() {
        for value in wrong_values(row.kind) {
            let problems = folder.load(&file_with(row.key, Some(value))).expect_err(&format!("{} = {value}", row.key));
            let expected = shown(row.key, value);
            let is_reported = problems.iter().any(|problem| problem.0.contains(&expected) && problem.0.contains("; "));
            assert!(is_reported, "{expected}: {}", text_of(&problems));
            files += 1;
        }
    }
    assert!(files >= 200, "{files} files");
}

/// PROTOCOL 8: an unknown key is reported with the nearest known one.
#[test]
fn every_unknown_key_is_reported_with_the_nearest() {
    let folder = Folder::new();
    for row in rows() {
        let misspelt = format!("{}x", row.key);
        let text = file_with(&misspelt, Some("1"));
        let problems = folder.load(&text).expect_err(&misspelt);
        let (named, advice) = (format!("{} = ", misspelt.replace("[]", "[0]")), format!("is not a key; did you mean {}", row.key));
        assert!(
            problems.iter().any(|problem| problem.0.contains(&named) && problem.0.ends_with(&advice)),
            "{text}\n{}",
            text_of(&problems)
        );
    }
}

/// PROTOCOL 8: a required key that is missing or empty is reported.
#[test]
fn missing_required_keys_are_reported() {
    let folder = Folder::new();
    for (text, key) in [
        ("[[topics]]\nhistory = 1", "topics[0].match is missing; "),
        ("[[topics]]\nmatch = ''", "topics[0].match = \"\" is empty; "),
        ("[[auth.api_keys]]\nname = 'a'", "auth.api_keys[0].key is missing; "),
        ("[[auth.api_keys]]\nname = ''\nkey = ''", "auth.api_keys[0].name = \"\" is empty; "),
        ("[[auth.api_keys]]\nname = 'a'\nkey = ''", "auth.api_keys[0].key = (not shown) is empty; "),
        ("[[auth.keys]]\nalgorithm = 'HS256'", "auth.keys[0].secret, public_key and jwks: "),
        ("[[auth.keys]]\nsecret = ''", "auth.keys[0].secret, public_key and jwks: "),
        ("[[feed.replay]]\ntopic = 'a'", "feed.replay[0].file is missing; "),
        ("[[feed.replay]]\nfile = 'ticks.csv'", "feed.replay[0].topic is missing; "),
        ("[[feed.replay]]\nfile = ''\ntopic = ''\ntime = ''", "feed.replay[0].time = \"\" is empty; "),
    ] {
        let problems = text_of(&folder.load(text).expect_err(text));
        assert!(problems.contains(key), "{text}: {problems}");
    }
}

/// PROTOCOL 8: a table or a text in the place of a list is reported with the list that was probably meant.
#[test]
fn a_value_in_the_place_of_a_list_is_reported_with_the_list() {
    let folder = Folder::new();
    for (text, advice) in [
        ("[topics]\nmatch = 'a'", "topics = {…} is not a list; write [[topics]] and"),
        ("[auth.api_keys]\nname = 'a'", "auth.api_keys = (not shown) is not a list; write [[auth.api_keys]] and"),
        ("[feed.replay]\nfile = 'a'", "feed.replay = {…} is not a list; write [[feed.replay]] and"),
        ("auth.anonymous = { subscribe = 'chat.>' }", "is not a list; write one in square brackets, as in [\"chat.>\"]"),
        ("server.origins = 5", "is not a list; write one in square brackets, as in [] for none"),
    ] {
        let problems = text_of(&folder.load(text).expect_err(text));
        assert!(problems.contains(advice), "{text}: {problems}");
    }
}

/// A variable with single underscores in the place of double ones is reported. The bug: it was ignored.
#[test]
fn a_variable_with_single_underscores_is_reported() {
    let unread = ["BELFRY_SERVER_LISTEN", "BELFRY_LIMITS__MESSAGE_BYTES", "BELFRY_TOKEN", "BELFRY_SERVICE_HOST", "BELFRY_PAGE"];
    let problems = Config::load(&Sources { unread: unread.map(str::to_owned).into(), ..Sources::default() }).unwrap_err();
    assert_eq!(problems.len(), 2, "{}", text_of(&problems));
    for (problem, advice) in problems.iter().zip(["BELFRY__SERVER__LISTEN for server.listen", "BELFRY__LIMITS__MESSAGE_BYTES for"]) {
        assert!(problem.0.contains(&format!("is not read; write {advice}")), "{problem}");
    }
}

/// PROTOCOL 8: `check` reports all problems at once.
#[test]
fn all_problems_are_reported_at_once() {
    let text = "colour = 1\nserver.shards = -1\nlimits.sessions = 0\n[[topics]]\nmatch = 'a'\nlast = 'x'\n[feed.simulator]\nseed = true";
    let problems = Folder::new().load(text).unwrap_err();
    assert_eq!(problems.len(), 5, "{}", text_of(&problems));
}

/// The examples of the reference are valid, and so is the built-in file as a file of `--config`.
#[test]
fn every_example_is_valid() {
    let folder = Folder::new();
    let examples: Vec<_> = REFERENCE.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).collect();
    assert!(!examples.is_empty());
    for text in examples.into_iter().map(|(text, _)| text).chain([DEFAULT_FILE]) {
        folder.load(text).unwrap_or_else(|problems| panic!("{text}\n{}", text_of(&problems)));
    }
}

/// PROTOCOL 8: the built-in file has the same values as the one in the contract. So its other keys have their defaults.
#[test]
fn the_built_in_file_has_the_values_of_the_contract() {
    let folder = Folder::new();
    let load = |text| folder.load(text).unwrap_or_else(|problems| panic!("{}", text_of(&problems)));
    assert_eq!(load(DEFAULT_FILE), load(CONTRACT));
}

/// The built-in file with its examples as settings. An example is a line that begins with `#` and no space.
fn with_examples() -> String {
    let shown = |line: &str| {
        let setting = line.trim_start().strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        setting.unwrap_or(line).to_owned() + "\n"
    };
    DEFAULT_FILE.lines().map(shown).collect()
}

/// Adds the keys of `table` to `found`, as the reference spells them. The paths in `[endpoints]` are no keys.
fn keys_of(path: &str, table: &toml::Table, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let tables: Vec<_> = match value {
            toml::Value::Table(below) if key != "endpoints" => vec![(key.clone(), below)],
            toml::Value::Array(items) => items.iter().filter_map(|item| Some((format!("{key}[]"), item.as_table()?))).collect(),
            _ => Vec::new(),
        };
        tables.iter().for_each(|(path, below)| keys_of(path, below, found));
        found.insert(key);
    }
}

/// The built-in file has every key, as a setting or as an example. A key with a default is a setting.
#[test]
fn the_built_in_file_shows_every_key() {
    let (mut live, mut shown) = (BTreeSet::new(), BTreeSet::new());
    keys_of("", &DEFAULT_FILE.parse().unwrap(), &mut live);
    keys_of("", &with_examples().parse().unwrap(), &mut shown);
    assert_eq!(shown, keys().into_iter().collect());
    let of_an_example = |key: &str| key.contains("[]") && !key.starts_with("topics[]");
    for row in rows().iter().filter(|row| row.default.is_some() && !of_an_example(row.key)) {
        assert!(live.contains(row.key), "the built-in file does not have {} and its default", row.key);
    }
}

/// The examples of the built-in file are valid, where the files that they name exist.
#[test]
fn the_examples_of_the_built_in_file_are_valid() {
    let folder = Folder::new();
    let write = |name: &str, text: &str| std::fs::write(folder.0.path().join(name), text).unwrap();
    ["nats.creds", "roots.pem", "gateway.pem", "gateway.key"].iter().for_each(|name| write(name, ""));
    write("public.pem", include_str!("../src/auth/testdata/ec-p256.pub.pem"));
    write("keys.json", "{\"keys\": []}");
    let text = with_examples().replace("urls = []", "urls = [\"nats://127.0.0.1:4222\"]");
    folder.load(&text).unwrap_or_else(|problems| panic!("{}", text_of(&problems)));
}

/// Each key of the built-in file has a comment on its line, on the line above or on the line of its table, where it is
/// first in its table.
#[test]
fn the_built_in_file_explains_every_key() {
    let (mut table, mut above, mut known) = ("", "", BTreeSet::new());
    for line in DEFAULT_FILE.lines() {
        if line.starts_with('[') {
            table = line;
        } else if let Some((name, rest)) = line.trim_start_matches('#').split_once(" = ").filter(|_| !line.starts_with([' ', ']']))
            && !line.starts_with("# ")
            && known.insert((table, name))
        {
            let explained = rest.contains(" # ") || above.starts_with("# ") || table.contains(" # ");
            assert!(explained, "{table}: {line}");
        }
        above = line;
    }
}

/// PROTOCOL 8: the reference marks the keys that a reload can't change.
#[test]
fn keys_that_need_a_restart_are_marked() {
    let folder = Folder::new();
    let changed = "server = { listen = '127.0.0.1:1', unix_mode = '0666', shards = 200 }\nadmin = { listen = '127.0.0.1:2', unix_mode = '0666' }\n\
        feed.replay = [{ file = 'ticks.csv', topic = 'a' }]\nstore.dir = '/var/lib/belfry'\nlog.format = 'json'\ncluster.urls = ['nats://h:4222']";
    let (old, new) = (folder.load("").unwrap(), folder.load(changed).unwrap());
    let marked: Vec<_> = rows().iter().filter(|row| row.meaning.contains("*Restart*")).map(|row| row.key).collect();
    assert_eq!(old.fixed_differences(&new), marked);
}
