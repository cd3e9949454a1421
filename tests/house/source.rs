//! The source files with their modules, and the paths by which they name other modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::lexer::{blanked, rooted_paths, spelled_out};
use crate::project::{relative, rust_files};

/// The crates of the workspace: the folder of the sources, and the name by which others import the crate.
pub const CRATES: [Crate; 2] = [Crate { folder: "src", name: "belfry" }, Crate { folder: "loadtest/src", name: "belfry_loadtest" }];

/// One crate of the workspace.
#[derive(Clone, Copy)]
pub struct Crate {
    pub folder: &'static str,
    pub name: &'static str,
}

/// One source file.
pub struct Source {
    /// As in `src/hub/topic/log.rs`.
    pub path: String,
    /// As in `["hub", "topic", "log"]`; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    pub text: String,
    /// The text with comments and the insides of literals blanked out, line for line.
    pub code: String,
    /// The number of lines before the tests in the file; 0 for a file of tests.
    pub lines: usize,
    krate: Crate,
}

/// The sources of one crate.
pub fn sources(krate: Crate) -> Vec<Source> {
    rust_files(krate.folder).iter().map(|file| Source::read(krate, file)).collect()
}

/// The sources of every crate.
pub fn all_sources() -> Vec<Source> {
    CRATES.into_iter().flat_map(sources).collect()
}

impl Source {
    fn read(krate: Crate, file: &Path) -> Self {
        let path = relative(file);
        let text = fs::read_to_string(file).unwrap();
        let code = blanked(&text);
        let names = path.trim_start_matches(krate.folder).trim_start_matches('/').trim_end_matches(".rs").split('/');
        let module = names.filter(|name| !["mod", "lib", "main"].contains(name)).map(str::to_owned).collect();
        let is_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let tests_in_file = code
            .lines()
            .zip(code.lines().skip(1))
            .position(|(line, next)| line.trim() == "#[cfg(test)]" && next.contains("mod ") && next.contains('{'));
        let lines = if is_tests { 0 } else { tests_in_file.unwrap_or(code.lines().count()) };
        Self { path, module, text, code, lines, krate }
    }

    /// The numbered lines of code that are not tests.
    pub fn own_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().take(self.lines).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Each whole path (`crate::hub::Hub`) of the `use` lines outside of the tests, and each path elsewhere in the code, with its
    /// line.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let mut paths = Vec::new();
        let mut open: Option<(usize, String)> = None;
        for (number, code) in self.own_lines() {
            let line = code.trim();
            let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().find_map(|start| line.strip_prefix(start));
            match (&mut open, begins) {
                (Some((_, text)), _) => text.push_str(line),
                (None, Some(rest)) => open = Some((number, rest.to_owned())),
                (None, None) => paths.extend(rooted_paths(line, self.krate.name).into_iter().map(|path| (number, path.to_owned()))),
            }
            if let Some((number, text)) = open.take_if(|(_, text)| text.ends_with(';')) {
                paths.extend(spelled_out(text.trim_end_matches(';')).into_iter().map(|path| (number, path)));
            }
        }
        paths
    }

    /// The path from the crate's root that `path` means in this file; `None` if it leads out of the crate.
    pub fn resolved(&self, path: &str) -> Option<Vec<String>> {
        let mut base = self.module.clone();
        let mut parts: Vec<&str> = path.split("::").collect();
        match parts[0] {
            "crate" => base.clear(),
            name if name == self.krate.name => base.clear(),
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
}

/// The modules of a crate, and those among them that are public (`pub mod`).
pub struct Modules {
    all: BTreeSet<Vec<String>>,
    public: BTreeSet<Vec<String>>,
}

impl Modules {
    pub fn of(sources: &[Source]) -> Self {
        let all = sources.iter().map(|source| source.module.clone()).collect();
        let public = sources.iter().flat_map(|source| {
            let names = source.own_lines().filter_map(|(_, line)| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
            names.map(|name| source.module.iter().cloned().chain([name.to_owned()]).collect())
        });
        Self { all, public: public.collect() }
    }

    /// The module of a resolved path: the longest beginning of the path that is a module.
    pub fn of_path(&self, path: &[String]) -> Vec<String> {
        let beginnings = (0..=path.len()).rev().map(|length| path[..length].to_vec());
        beginnings.into_iter().find(|beginning| beginning.is_empty() || self.all.contains(beginning)).unwrap_or_default()
    }

    /// Whether other folders may name `module`: each folder on its path declares the next as public.
    pub fn is_handed_out(&self, module: &[String]) -> bool {
        (2..=module.len()).all(|length| self.public.contains(&module[..length]))
    }
}
