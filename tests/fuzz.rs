//! The fuzz targets of `fuzz/` on a stable toolchain: their corpora, and inputs that a seeded mutator derives from the
//! corpora.
//!
//! The mutator is not guided by coverage, so `tests/fuzz/run` then runs cargo-fuzz where that is installed.
//! `FUZZ_SECONDS` sets the time for each target, in place of [`INPUTS`] inputs. `FUZZ_SEED` sets the seed.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its failure")]

extern crate self as libfuzzer_sys;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Declares a test for each target.
macro_rules! targets {
    ($($name:ident in $path:literal,)*) => {$(
        #[path = $path]
        #[allow(unused_attributes, reason = "`no_main` is for the program that the fuzzer makes of the file")]
        mod $name;

        #[test]
        fn $name() {
            fuzz(stringify!($name), $name::run);
        }
    )*
        /// Each target of `fuzz/` has a test here.
        #[test]
        fn no_target_is_left_out() {
            let known = [$(stringify!($name)),*];
            let found = names("fuzz/fuzz_targets");
            assert!(found.iter().all(|file| known.contains(&file.trim_end_matches(".rs"))), "{found:?}");
        }
    };
}

targets! {
    centrifugo_frame in "../fuzz/fuzz_targets/centrifugo_frame.rs",
    config_toml in "../fuzz/fuzz_targets/config_toml.rs",
    emulation_body in "../fuzz/fuzz_targets/emulation_body.rs",
    event_id in "../fuzz/fuzz_targets/event_id.rs",
    frame_reader in "../fuzz/fuzz_targets/frame_reader.rs",
    inflate in "../fuzz/fuzz_targets/inflate.rs",
    json_command in "../fuzz/fuzz_targets/json_command.rs",
    offer in "../fuzz/fuzz_targets/offer.rs",
    proxy_header in "../fuzz/fuzz_targets/proxy_header.rs",
    reference in "../fuzz/fuzz_targets/reference.rs",
    store_file in "../fuzz/fuzz_targets/store_file.rs",
    token in "../fuzz/fuzz_targets/token.rs",
    topic_name in "../fuzz/fuzz_targets/topic_name.rs",
}

/// Replaces libfuzzer's macro, so that a target is a function. The targets name the macro by its path, so it may follow
/// them.
#[macro_export]
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:block) => {
        pub fn run($data: &[u8]) $body
    };
    (|$text:ident: &str| $body:block) => {
        pub fn run(bytes: &[u8]) {
            let Ok($text) = str::from_utf8(bytes) else { return };
            $body
        }
    };
}

/// The number of derived inputs for a target.
const INPUTS: usize = 3_000;
const INPUT_BYTES_MAX: usize = 4_096;
/// Bytes with a meaning in one of the formats.
const SPECIAL: &[u8] = b"\x00\x01\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xc1\xc2\xfe\xff\xed\xa0{}[]\":,\\.*>$ =;\n09-eE";

fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs a target on its corpus and on derived inputs.
fn fuzz(target: &str, run: fn(&[u8])) {
    let folder = format!("fuzz/corpus/{target}");
    let corpus: Vec<Vec<u8>> =
        names(&folder).iter().map(|name| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).join(name)).unwrap()).collect();
    assert!(!corpus.is_empty(), "{folder} is empty");
    corpus.iter().for_each(|input| try_one(target, run, input));
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is no number")));
    let seconds = number("FUZZ_SECONDS").map(Duration::from_secs);
    let mut random = StdRng::seed_from_u64(number("FUZZ_SEED").unwrap_or(1));
    let start = Instant::now();
    let mut tried = 0;
    while seconds.map_or(tried < INPUTS, |seconds| start.elapsed() < seconds) {
        try_one(target, run, &mutated(&corpus, &mut random));
        tried += 1;
    }
    println!("{target}: {} inputs of the corpus, {tried} derived inputs", corpus.len());
}

/// Runs one input. An input that fails is printed in a form for the corpus.
fn try_one(target: &str, run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("{target} fails with the input b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// One input of the corpus with a few changes.
fn mutated(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=input.len());
        let rest = input.len() - at;
        match random.random_range(0..7) {
            0 if rest > 0 => input[at] ^= 1 << random.random_range(0..8),
            1 if rest > 0 => input[at] = random.random(),
            2 if rest > 0 => input[at] = SPECIAL[random.random_range(0..SPECIAL.len())],
            3 => input.insert(at, SPECIAL[random.random_range(0..SPECIAL.len())]),
            4 => drop(input.drain(at..at + random.random_range(0..=rest.min(16)))),
            5 => {
                let piece = input[at..at + random.random_range(0..=rest.min(64))].repeat(random.random_range(1..=20));
                input.splice(at..at, piece);
            }
            _ => {
                let other = &corpus[random.random_range(0..corpus.len())];
                input.splice(at.., other[random.random_range(0..=other.len())..].iter().copied());
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}
