//! The raw tree: TOML values with their origins.

use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Value {
    /// The file, variable or argument. A problem begins with it.
    pub origin: Arc<str>,
    /// The value as written.
    pub kind: Kind,
}

/// The type and content of a value.
#[derive(Debug, Clone)]
pub enum Kind {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Value>),
    Table(Table),
}

/// Values by their keys.
pub type Table = BTreeMap<String, Value>;

impl Value {
    /// `value` with its `origin`.
    pub fn new(origin: &Arc<str>, value: toml::Value) -> Self {
        let kind = match value {
            toml::Value::String(text) => Kind::String(text),
            toml::Value::Integer(number) => Kind::Integer(number),
            toml::Value::Float(number) => Kind::Float(number),
            toml::Value::Boolean(value) => Kind::Boolean(value),
            // No key is a date, so a date fails as a text does.
            toml::Value::Datetime(date) => Kind::String(date.to_string()),
            toml::Value::Array(items) => Kind::Array(items.into_iter().map(|item| Self::new(origin, item)).collect()),
            toml::Value::Table(table) => Kind::Table(table.into_iter().map(|(key, value)| (key, Self::new(origin, value))).collect()),
        };
        Self { origin: Arc::clone(origin), kind }
    }

    /// Replaces everything at `path` by `value`, and makes the tables on the way. Tables are not merged: `--set
    /// auth.anonymous={}` removes all anonymous grants.
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

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }
}
