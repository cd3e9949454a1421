//! One table of the raw tree, read key by key. Keys that no reader asks for are unknown.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::secrecy;
use super::value::{Kind, Table, Value};
use crate::config::notation::parse_duration;
use crate::topic_name::Scope;

/// The longest prefix of a value that a problem shows, in characters.
const SHOWN_MAX: usize = 64;

/// One table, which may be absent.
pub struct Section<'a> {
    /// The table's path with indices; empty for the root.
    path: String,
    /// The table's path without indices.
    key: String,
    table: Option<&'a Table>,
    /// Whether problems may show values of the table. A value that looks like a secret is never shown.
    shown: bool,
    read_keys: RefCell<BTreeSet<String>>,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The root table.
    pub fn root(value: &'a Value, report: &'a Report) -> Self {
        Self::new(String::new(), String::new(), value.table(), true, report)
    }

    fn new(path: String, key: String, table: Option<&'a Table>, shown: bool, report: &'a Report) -> Self {
        Self { path, key, table, shown, read_keys: RefCell::default(), report }
    }

    /// Marks a table that has secrets. No problem shows a value of it, or of a table below it, unless the reader marks
    /// the value as [`open`](Entry::open). So a misspelt key does not reveal its secret.
    #[must_use]
    pub fn with_secrets(self) -> Self {
        Self { shown: false, ..self }
    }

    /// Reports a problem of the table. `reason` follows its path, and has what would be right.
    pub fn add_problem(&self, reason: impl Display) {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.report.add(format!("{}{dot}{reason}", self.path));
    }

    /// The value of `key`, if present.
    pub fn entry(&self, key: &str) -> Option<Entry<'a>> {
        let full_key = join(&self.key, key);
        self.report.note_key(full_key.clone());
        self.read_keys.borrow_mut().insert(key.to_owned());
        let value = self.table?.get(key)?;
        Some(Entry { path: join(&self.path, key), key: full_key, value, shown: self.shown, report: self.report })
    }

    /// The value of `key`, which is a secret. No problem shows it, and its file counts as one with secrets.
    pub fn secret(&self, key: &str) -> Option<Entry<'a>> {
        let entry = self.entry(key)?;
        self.report.note_secret(Arc::clone(&entry.value.origin));
        Some(Entry { shown: false, ..entry })
    }

    /// The value of `key`, which names a file. If it looks like a secret and not like a path, no problem shows it.
    pub fn path(&self, key: &str) -> Option<Entry<'a>> {
        let entry = self.entry(key)?;
        let shown = entry.text_or_none().is_none_or(secrecy::looks_like_path);
        Some(Entry { shown, ..entry })
    }

    /// Reads the table `key` below this one with `read`, and reports each of its keys that `read` did not read.
    pub fn table<T>(&self, key: &str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        self.section(key).read(read)
    }

    /// Reads the list of tables `key` below this one, each with `read`.
    pub fn tables<T>(&self, key: &str, mut read: impl FnMut(&Section<'a>) -> T) -> Vec<T> {
        self.sections(key).into_iter().map(|section| section.read(&mut read)).collect()
    }

    /// Reads this table with `read`, and reports each of its keys that `read` did not read.
    pub fn read<T>(self, read: impl FnOnce(&Self) -> T) -> T {
        let value = read(&self);
        self.finish();
        value
    }

    /// A table below this one.
    pub fn section(&self, key: &str) -> Section<'a> {
        let table = self.entry(key).and_then(|entry| {
            entry.or_refuse(entry.value.table(), format_args!("is not a table; write [{}] and its keys below", entry.path))
        });
        Section::new(join(&self.path, key), join(&self.key, key), table, self.shown, self.report)
    }

    /// A list of tables below this one.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let items = self.entry(key).map(|entry| {
            let right = format!("write [[{}]] and its keys below, once for each", entry.path);
            entry.items_or(&right)
        });
        items.unwrap_or_default().into_iter().filter_map(|item| item.into_section()).collect()
    }

    /// All entries in order, for a table with free keys.
    pub fn free_entries(&self) -> Vec<(&'a str, Entry<'a>)> {
        let mut names: Vec<_> = self.table.into_iter().flat_map(Table::keys).map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter().filter_map(|name| Some((name, self.entry(name)?))).collect()
    }

    /// Reads a whole number within `range`.
    pub fn integer<T: TryFrom<u64>>(&self, key: &str, default: T, range: RangeInclusive<u64>) -> T {
        self.entry(key).and_then(|entry| entry.open().integer(range)).unwrap_or(default)
    }

    /// Reads a duration within `range`, whose ends are written as in a file.
    pub fn duration(&self, key: &str, default: Duration, range: (&str, &str)) -> Duration {
        self.entry(key).and_then(|entry| entry.duration(range)).unwrap_or(default)
    }

    /// Reads `true` or `false`.
    pub fn boolean(&self, key: &str, default: bool) -> bool {
        self.entry(key).and_then(|entry| entry.open().boolean()).unwrap_or(default)
    }

    /// Reads one of the `known` words.
    pub fn choice<T: Copy>(&self, key: &str, default: T, known: &[(&str, T)]) -> T {
        self.entry(key).and_then(|entry| entry.choice(known)).unwrap_or(default)
    }

    /// Reads a text with `parse`, as [`Entry::parsed`] does.
    pub fn parsed<T, E: Display>(&self, key: &str, default: T, parse: impl FnOnce(&str) -> Result<T, E>) -> T {
        self.entry(key).and_then(|entry| entry.parsed(parse)).unwrap_or(default)
    }

    /// The text of `entry`, the value of `key`. If it is absent or empty, reports a problem with `right`.
    pub fn required(&self, key: &str, entry: Option<Entry<'a>>, right: &str) -> Option<(&'a str, Entry<'a>)> {
        let Some(entry) = entry else {
            self.add_problem(format_args!("{key} is missing; {right}"));
            return None;
        };
        match entry.text()? {
            "" => {
                entry.refuse(format_args!("is empty; {right}"));
                None
            }
            text => Some((text, entry)),
        }
    }

    /// Reads a list of texts. `read` parses each, and reports its problems.
    pub fn list<T>(&self, key: &str, read: impl FnMut(&Entry<'a>) -> Option<T>) -> Vec<T> {
        self.entry(key).map(|entry| entry.items()).unwrap_or_default().iter().filter_map(read).collect()
    }

    /// Reads a list of scopes of grants.
    pub fn scopes(&self, key: &str) -> Vec<Scope> {
        let items = self.entry(key).map(|entry| entry.open().items()).unwrap_or_default();
        items.iter().filter_map(Entry::scope).collect()
    }

    /// Reports each key that no reader has read.
    pub fn finish(self) {
        let read_keys = self.read_keys.into_inner();
        let mut names: Vec<_> = self.table.into_iter().flat_map(Table::keys).filter(|name| !read_keys.contains(*name)).collect();
        names.sort_unstable();
        for name in names {
            let Some(value) = self.table.and_then(|table| table.get(name)) else { continue };
            let shown = self.shown && !secrecy::may_hold_secret(name);
            let entry = Entry { path: join(&self.path, name), key: join(&self.key, name), value, shown, report: self.report };
            self.report.unknown(entry.key.clone(), entry.described());
        }
    }
}

/// One value and its path.
pub struct Entry<'a> {
    path: String,
    key: String,
    value: &'a Value,
    /// Whether a problem may show the value.
    shown: bool,
    report: &'a Report,
}

impl<'a> Entry<'a> {
    /// Marks the value as not secret, within a table that has secrets.
    #[must_use]
    pub fn open(self) -> Self {
        Self { shown: true, ..self }
    }

    /// Whether a problem may quote the value.
    pub fn is_shown(&self) -> bool {
        self.shown && !self.text_or_none().is_some_and(secrecy::looks_secret)
    }

    /// Reports a problem of the value. `reason` follows key and value, and has what would be right.
    pub fn refuse(&self, reason: impl Display) {
        self.report.add(format!("{} {reason}", self.described()));
    }

    /// `value`; if there is none, reports a problem with `reason`.
    fn or_refuse<T>(&self, value: Option<T>, reason: impl Display) -> Option<T> {
        if value.is_none() {
            self.refuse(reason);
        }
        value
    }

    /// The layer and line of the value.
    pub fn origin(&self) -> &'a str {
        &self.value.origin
    }

    /// Reads a text.
    pub fn text(&self) -> Option<&'a str> {
        self.or_refuse(self.text_or_none(), "is not a text; write one in quotes")
    }

    /// Reads a text; `None`, without a problem, for another type.
    pub fn text_or_none(&self) -> Option<&'a str> {
        match &self.value.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// Reads a text with `parse`, whose error follows key and value. The error may quote the text, so it is only
    /// reported if the text may be shown.
    pub fn parsed<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let read = parse(self.text()?);
        match &read {
            Ok(_) => {}
            Err(error) if self.is_shown() => self.refuse(error),
            Err(_) => self.refuse("is not what belongs there, and may be a secret; see docs/configuration.md for what it takes"),
        }
        read.ok()
    }

    /// Reads one of the `known` words.
    pub fn choice<T: Copy>(&self, known: &[(&str, T)]) -> Option<T> {
        self.parsed(|text| {
            let found = known.iter().find(|(word, _)| *word == text).map(|&(_, value)| value);
            found.ok_or_else(|| format!("is not known; write {}", listed(known.iter().map(|(word, _)| *word))))
        })
    }

    /// Reads the scope of a rule or a grant.
    pub fn scope(&self) -> Option<Scope> {
        self.parsed(|text| Scope::parse(text).map_err(|error| format!("is not a pattern: {error}")))
    }

    /// Reads a whole number within `range`.
    pub fn integer<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        let (least, most) = (range.start(), range.end());
        let right = format!("write a whole number from {least} to {most}, without quotes");
        let number = if let Kind::Integer(number) = self.value.kind { Some(number) } else { None };
        let number = self.or_refuse(number, format_args!("is not a whole number; {right}"))?;
        let fitting = u64::try_from(number).ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        self.or_refuse(fitting, format_args!("is out of range; {right}"))
    }

    /// Reads a number that is not negative.
    pub fn number(&self) -> Option<f64> {
        let number = match self.value.kind {
            Kind::Integer(number) => number as f64,
            Kind::Float(number) => number,
            _ => f64::NAN,
        };
        let fitting = Some(number).filter(|number| number.is_finite() && *number >= 0.0);
        self.or_refuse(fitting, "is not a number from 0 up; write one without quotes, as in 1.0")
    }

    /// Reads `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        let value = if let Kind::Boolean(value) = self.value.kind { Some(value) } else { None };
        self.or_refuse(value, "is neither true nor false; write one of these, without quotes")
    }

    /// Reads a duration within `range`, whose ends are written as in a file.
    pub fn duration(&self, range: (&str, &str)) -> Option<Duration> {
        if let Kind::Integer(number) = self.value.kind {
            self.refuse(format_args!("has no unit; write \"{number}s\" for seconds (units: us, ms, s, m, h, d)"));
            return None;
        }
        let duration = self.parsed(parse_duration)?;
        let (Ok(least), Ok(most)) = (parse_duration(range.0), parse_duration(range.1)) else { return Some(duration) };
        let fitting = Some(duration).filter(|duration| (least..=most).contains(duration));
        self.or_refuse(fitting, format_args!("is out of range; write \"{}\" to \"{}\"", range.0, range.1))
    }

    /// Whether the value is an empty list.
    pub fn is_empty_list(&self) -> bool {
        matches!(&self.value.kind, Kind::Array(items) if items.is_empty())
    }

    /// The entries of a list, or the value itself if it is not a list.
    pub fn into_one_or_more(self) -> Vec<Entry<'a>> {
        if matches!(self.value.kind, Kind::Array(_)) { self.items() } else { vec![self] }
    }

    /// The entries of a list.
    pub fn items(&self) -> Vec<Entry<'a>> {
        let only = self.text_or_none().filter(|text| self.is_shown() && text.len() <= SHOWN_MAX);
        let example = only.map_or_else(|| "[] for none".to_owned(), |text| format!("[{text:?}]"));
        self.items_or(&format!("write one in square brackets, as in {example}"))
    }

    /// The entries of a list. The problem of another type ends with `right`.
    fn items_or(&self, right: &str) -> Vec<Entry<'a>> {
        let Kind::Array(items) = &self.value.kind else {
            self.refuse(format_args!("is not a list; {right}"));
            return Vec::new();
        };
        let item = |(index, value)| Entry {
            path: format!("{}[{index}]", self.path),
            key: format!("{}[]", self.key),
            value,
            shown: self.shown,
            report: self.report,
        };
        items.iter().enumerate().map(item).collect()
    }

    fn into_section(self) -> Option<Section<'a>> {
        let table = self.or_refuse(self.value.table(), "is not a table; write its keys in braces, as in { name = \"value\" }")?;
        Some(Section::new(self.path, self.key, Some(table), self.shown, self.report))
    }

    fn described(&self) -> String {
        let shown = if self.is_shown() { shown(self.value) } else { "(not shown)".to_owned() };
        format!("{}: {} = {shown}", self.origin(), self.path)
    }
}

fn shown(value: &Value) -> String {
    match &value.kind {
        Kind::String(text) if text.chars().nth(SHOWN_MAX).is_some() => {
            format!("{:?}…", text.chars().take(SHOWN_MAX).collect::<String>())
        }
        Kind::String(text) => format!("{text:?}"),
        Kind::Integer(number) => number.to_string(),
        Kind::Float(number) => format!("{number:?}"),
        Kind::Boolean(value) => value.to_string(),
        Kind::Table(table) if table.is_empty() => "{}".to_owned(),
        Kind::Table(_) => "{…}".to_owned(),
        Kind::Array(items) if items.is_empty() => "[]".to_owned(),
        Kind::Array(_) => "[…]".to_owned(),
    }
}

/// `words` in quotes, for a message: `"a", "b" or "c"`.
pub fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let mut words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

/// Joins a path and a key in TOML's syntax. A key that is not bare is quoted.
fn join(path: &str, key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let key = if is_bare { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
