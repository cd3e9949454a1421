//! Checks the number of open fields of each type, and the number of files that have its methods. A field is open if it is not private.
//!
//! Data (a message, a report) may open all of its fields. A type counts as data if it derives `Clone`, because a socket, a queue or a
//! registry can't be copied. Data and the lists of metrics have a wider bound than other types. A section of the configuration has an
//! open field for each of its keys, without a bound.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{is_word, item_lines};
use crate::project::expect_none;
use crate::source::{CRATES, Source, sources};

/// The most open fields of a type that is not data.
const OPEN_FIELDS_MAX: usize = 8;

/// The most open fields of data and of lists of metrics, in the gateway.
const DATA_FIELDS_MAX: usize = 14;

/// The most files with an inherent `impl` of one type, without tests.
const IMPL_FILES_MAX: usize = 3;

/// The facts about one type of a crate.
#[derive(Default)]
struct Type {
    open_fields: usize,
    is_data: bool,
    impl_files: BTreeSet<String>,
}

/// The type whose inherent `impl` begins with this line; `None` for the `impl` of a trait and for any other line.
fn inherent_impl(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generic) => &generic[closing_bracket(generic)?..],
        None => rest.strip_prefix(' ')?,
    };
    let header = rest.split(['{']).next()?.trim();
    let is_of_a_trait = header.contains(" for ");
    let name_end = header.find(|letter: char| !is_word(letter) && letter != ':').unwrap_or(header.len());
    (!is_of_a_trait).then(|| header[..name_end].rsplit(':').next().unwrap_or_default()).filter(|name| !name.is_empty())
}

/// The position behind the `>` that closes a list of generic parameters whose `<` was read.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(index, letter)| {
        depth += i32::from(letter == '<') - i32::from(letter == '>' && !text[..index].ends_with('-'));
        (depth == 0).then_some(index + 1)
    })
}

/// The name of the struct that a line declares, if there is one.
fn declared_struct(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = match rest.strip_prefix("pub") {
        Some(after) if after.starts_with('(') => after.split_once(") ")?.1,
        Some(after) => after.strip_prefix(' ')?,
        None => rest,
    };
    rest.strip_prefix("struct ")?.split(|letter: char| !is_word(letter)).next()
}

/// The traits that are derived for the item on line `index`, counted from 0.
fn derives(code: &str, index: usize) -> Vec<&str> {
    let lines: Vec<&str> = code.lines().take(index).collect();
    let above = lines.into_iter().rev().take_while(|line| line.trim().is_empty() || line.trim().starts_with("#["));
    let lists = above.filter_map(|line| line.trim().strip_prefix("#[derive(")?.strip_suffix(")]"));
    lists.flat_map(|list| list.split(',').map(str::trim)).collect()
}

/// The module whose type `name` is meant in a file of `module`. Of several, it is the one that shares the longest beginning with
/// `module`.
fn nearest<'a>(declared: &'a BTreeMap<String, Vec<Vec<String>>>, name: &str, module: &[String]) -> Option<&'a Vec<String>> {
    let shared = |other: &&Vec<String>| other.iter().zip(module).take_while(|(one, two)| one == two).count();
    declared.get(name)?.iter().max_by_key(shared)
}

/// Every struct of a crate, by its path.
fn types(sources: &[Source]) -> BTreeMap<String, Type> {
    let mut declared: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    let mut types: BTreeMap<String, Type> = BTreeMap::new();
    let path = |module: &[String], name: &str| module.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("::");
    for source in sources {
        let lines: Vec<&str> = source.own_lines().map(|(_, line)| line).collect();
        for (index, name) in lines.iter().enumerate().filter_map(|(index, line)| Some((index, declared_struct(line)?))) {
            let open = item_lines(&lines[index..]).iter().skip(1).filter(|line| line.trim_start().starts_with("pub")).count();
            declared.entry(name.to_owned()).or_default().push(source.module.clone());
            let is_data = derives(&source.code, index).contains(&"Clone");
            types.entry(path(&source.module, name)).or_insert(Type { open_fields: open, is_data, ..Type::default() });
        }
    }
    for source in sources {
        for name in source.own_lines().filter_map(|(_, line)| inherent_impl(line)) {
            let Some(module) = nearest(&declared, name, &source.module) else { continue };
            types.entry(path(module, name)).or_default().impl_files.insert(source.path.clone());
        }
    }
    types
}

/// House 1: a type that is not data has few open fields.
#[test]
fn types_have_few_open_fields() {
    let mut found = Vec::new();
    for (path, ty) in CRATES.into_iter().flat_map(|krate| types(&sources(krate))) {
        let is_list_of_metrics = path.starts_with("metrics::");
        if !ty.is_data && !is_list_of_metrics && ty.open_fields > OPEN_FIELDS_MAX {
            found.push(format!("{path}: {} open fields, {OPEN_FIELDS_MAX} at most", ty.open_fields));
        }
    }
    expect_none(&found, "a type has few open fields: add methods, or split it by what changes together");
}

/// House 1: the fields of data, and of lists of metrics, are grouped by subject.
#[test]
fn data_types_have_a_bounded_number_of_fields() {
    let is_section = |path: &str| path.starts_with("config::");
    let types = types(&sources(CRATES[0]));
    let long = types.into_iter().filter(|(path, ty)| !is_section(path) && ty.open_fields > DATA_FIELDS_MAX);
    let found: Vec<_> = long.map(|(path, ty)| format!("{path}: {} open fields, {DATA_FIELDS_MAX} at most", ty.open_fields)).collect();
    expect_none(&found, "a type with many fields has several subjects: group the fields");
}

/// House 1: a newcomer finds the methods of a type in few files.
#[test]
fn the_methods_of_a_type_are_in_few_files() {
    let mut found = Vec::new();
    for (path, ty) in CRATES.into_iter().flat_map(|krate| types(&sources(krate))) {
        if ty.impl_files.len() > IMPL_FILES_MAX {
            let files = ty.impl_files.iter().cloned().collect::<Vec<_>>().join(", ");
            found.push(format!("{path}: `impl` in {} files, {IMPL_FILES_MAX} at most: {files}", ty.impl_files.len()));
        }
    }
    expect_none(&found, "the methods of a type are in few files: split the type by what changes together");
}

/// Inherent `impl`s are distinguished from those of traits, with generics and without.
#[test]
fn declarations_are_read() {
    assert_eq!(inherent_impl("impl<'a, T: Fn() -> u8> outer::Name<'a, T> {"), Some("Name"));
    assert_eq!(inherent_impl("impl Name {"), Some("Name"));
    assert_eq!(inherent_impl("impl<T> fmt::Display for Name<T> {"), None);
    assert_eq!(inherent_impl("implement()"), None);
    assert_eq!(declared_struct("pub(in crate::a) struct Name<T> {"), Some("Name"));
    assert_eq!(declared_struct("struct Name(u8);"), Some("Name"));
    assert_eq!(declared_struct("pub fn structure() {"), None);
    assert_eq!(derives("#[derive(Debug)]\nstruct A;\n#[derive(Clone, Default)]\n#[must_use]\nstruct B;", 4), ["Clone", "Default"]);
}
