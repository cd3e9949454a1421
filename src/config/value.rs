//! A configuration's tree: TOML values, each of which knows where it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// A file, a variable or an argument; what a problem names first.
    pub origin: Arc<str>,
    /// The value as it was written.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text(String),
    Whole(i64),
    Number(f64),
    Truth(bool),
    List(Vec<Value>),
    Table(Table),
}

/// Values by their keys.
pub(super) type Table = BTreeMap<String, Value>;

impl Value {
    /// `value` as `origin` has it.
    pub fn new(origin: &Arc<str>, value: toml::Value) -> Self {
        let kind = match value {
            toml::Value::String(text) => Kind::Text(text),
            toml::Value::Integer(number) => Kind::Whole(number),
            toml::Value::Float(number) => Kind::Number(number),
            toml::Value::Boolean(truth) => Kind::Truth(truth),
            // No key is a date, so as a text it fails like any other.
            toml::Value::Datetime(date) => Kind::Text(date.to_string()),
            toml::Value::Array(items) => Kind::List(items.into_iter().map(|item| Self::new(origin, item)).collect()),
            toml::Value::Table(table) => Kind::Table(table.into_iter().map(|(key, value)| (key, Self::new(origin, value))).collect()),
        };
        Self { origin: Arc::clone(origin), kind }
    }

    /// Puts `value` in the place of all that stands at `path`, with the tables that lead there. Tables are not merged:
    /// `--set auth.anonymous={}` takes everybody's grants away.
    pub fn put(&mut self, path: &[String], value: Value) {
        let Some((key, below)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self.kind, Kind::Table(_)) {
            self.kind = Kind::Table(Table::new());
        }
        let Kind::Table(table) = &mut self.kind else { return };
        let empty = || Value { origin: Arc::clone(&value.origin), kind: Kind::Table(Table::new()) };
        table.entry(key.clone()).or_insert_with(empty).put(below, value);
    }

    /// The table that it is.
    pub fn table(&self) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }
}
