//! The fuzz targets of `t/fuzz` without a fuzzer: over the corpus that is kept, and over inputs that
//! are made of it at random, the same in every run.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use qpsmtpd::fuzzing::{TARGETS, run};

use crate::chunks::numbers;

/// How many inputs are made for each target.
const MADE: usize = 500;

/// Octets that mean something to some of the targets.
const OCTETS: &[u8] = b"\r\n\0.:<>@\"\\=,; \t\x1b\xff\x80$n!ls";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("t/fuzz")
}

/// The inputs that are kept for a target, ordered by the names of their files.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder().join("corpus").join(name)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name}");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Another input made of some.
fn made(inputs: &[Vec<u8>], number: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let mut input = inputs[number(inputs.len())].clone();
    for _ in 0..=number(4) {
        let at = number(input.len() + 1);
        let end = (at + number(9)).min(input.len());
        let octet = OCTETS[number(OCTETS.len())];
        let piece = match number(6) {
            0 => vec![],
            1 => vec![number(256) as u8],
            2 => vec![octet],
            3 => vec![octet; number(5)],
            4 => input[at..end].repeat(number(4)),
            _ => {
                let other = &inputs[number(inputs.len())];
                other[number(other.len() + 1)..].iter().take(100).copied().collect()
            }
        };
        let end = if number(2) == 0 { at } else { end };
        input.splice(at..end, piece);
    }
    input
}

fn check(name: &str, input: &[u8]) {
    let done = catch_unwind(|| run(name, input));
    assert!(done.is_ok(), "the target {name} with b\"{}\"", input.escape_ascii());
}

#[test]
fn every_target_takes_its_corpus_and_what_is_made_of_it() {
    for (name, _) in TARGETS {
        let inputs = corpus(name);
        inputs.iter().for_each(|input| check(name, input));
        let mut number = numbers(name.len() as u64);
        (0..MADE).for_each(|_| check(name, &made(&inputs, &mut number)));
    }
}

#[test]
fn every_target_has_a_file_and_a_corpus() {
    let names = |folder: PathBuf| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> =
            entries.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let targets = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names(folder().join("targets")), targets);
    assert_eq!(names(folder().join("corpus")), targets);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
        let target = fs::read_to_string(folder().join("targets").join(format!("{name}.rs")));
        assert!(target.unwrap().contains(&format!("run(\"{name}\", input)")), "{name}");
    }
}
