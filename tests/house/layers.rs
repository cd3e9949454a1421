//! Checks the direction of imports: modules have layers, folders have one public face, and there are no cycles.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::blanked;
use crate::project::{expect_none, read};
use crate::source::{CRATES, Crate, Modules, Source, sources};

/// The gateway's crate, whose modules have layers.
const GATEWAY: Crate = CRATES[0];

/// The layer of the program itself, above all modules of the library.
const PROGRAM_LAYER: u32 = 9;

/// Known cycles, each named by one of its modules.
const CYCLES_LEFT: &[&str] = &[];

/// The layer of each module, from the table of `lib.rs`.
fn layers() -> BTreeMap<String, u32> {
    let map = read("src/lib.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once('|'));
    let layers = rows.filter_map(|(layer, modules)| Some((layer.trim().parse::<u32>().ok()?, modules)));
    layers.flat_map(|(layer, modules)| modules.split('`').skip(1).step_by(2).map(move |module| (module.to_owned(), layer))).collect()
}

/// The reason why `source` may not name `path`; `None` if it may.
fn violation(source: &Source, path: &[String], modules: &Modules, layers: &BTreeMap<String, u32>) -> Option<String> {
    let target = modules.of_path(path);
    let layer = |module: &[String]| module.first().and_then(|top| layers.get(top)).copied().unwrap_or(PROGRAM_LAYER);
    let (here, there) = (layer(&source.module), layer(&target));
    if target.is_empty() {
        return Some("imports from the root of the crate, which re-exports nothing".to_owned());
    }
    if source.module.first() != target.first() {
        return if there > here {
            Some(format!("goes up from layer {here} to layer {there}"))
        } else {
            let is_inside = !modules.is_handed_out(&target);
            is_inside.then(|| format!("reaches past the `mod.rs` of `{}` to `{}`", target[0], target.join("::")))
        };
    }
    let is_folder_of_here = target.len() < source.module.len() && source.module.starts_with(&target);
    let names_a_module = path.len() == target.len();
    (is_folder_of_here && !names_a_module).then(|| format!("takes from the `mod.rs` above it, `{}`", target.join("::")))
}

/// House 1: each module has a layer in the table of `lib.rs`.
#[test]
fn every_module_has_a_layer() {
    let library = read("src/lib.rs");
    let declared: BTreeSet<_> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    assert_eq!(declared, layers().into_keys().collect());
}

/// House 1: a file imports from lower layers or from siblings. No file imports from the `mod.rs` above it. Other folders name only
/// what a folder's `mod.rs` exports. This holds for `use` lines and for paths in the code.
#[test]
fn imports_are_from_lower_layers_or_siblings() {
    let (sources, layers) = (sources(GATEWAY), layers());
    let modules = Modules::of(&sources);
    let mut found = Vec::new();
    for source in &sources {
        for (line, written) in source.paths() {
            let Some(path) = source.resolved(&written) else { continue };
            if let Some(violation) = violation(source, &path, &modules, &layers) {
                found.push(format!("{}:{line}: `{written}` {violation}", source.path));
            }
        }
    }
    expect_none(&found, "a file imports from lower layers, or from siblings");
}

/// For each module, the siblings that its files import from. If `a::b::c` imports from `a::d::e`, then `a::b` depends on `a::d`.
fn dependencies(sources: &[Source]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let modules = Modules::of(sources);
    let mut dependencies: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in sources {
        let paths = source.paths().into_iter().filter_map(|(_, path)| source.resolved(&path));
        for target in paths.map(|path| modules.of_path(&path)) {
            let shared = source.module.iter().zip(&target).take_while(|(ours, theirs)| ours == theirs).count();
            if shared < source.module.len() && shared < target.len() {
                dependencies.entry(source.module[..=shared].to_vec()).or_default().insert(target[..=shared].to_vec());
            }
        }
    }
    dependencies
}

/// House 1: neither modules of one layer nor siblings of one folder depend on each other in a cycle.
#[test]
fn dependencies_have_no_cycle() {
    let mut found = BTreeSet::new();
    for krate in CRATES {
        let dependencies = dependencies(&sources(krate));
        for start in dependencies.keys() {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
            while let Some(module) = next.pop() {
                next.extend(dependencies.get(module).into_iter().flatten().filter(|target| seen.insert(*target)));
            }
            if seen.contains(start) {
                found.insert(format!("{}::{}", krate.name, start.join("::")));
            }
        }
    }
    let new: Vec<_> = found.iter().filter(|module| !CYCLES_LEFT.contains(&module.as_str())).cloned().collect();
    expect_none(&new, "siblings depend on each other without cycles; these are in a cycle");
}

/// House 1: `lib.rs` re-exports nothing, so that each path begins with a module that has a layer.
#[test]
fn the_library_re_exports_nothing() {
    assert!(!blanked(&read("src/lib.rs")).contains("use "));
}
