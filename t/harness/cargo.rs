//! Programs that the tests need beside those of the crate.

use std::path::Path;
use std::process::Command;

use super::Model;

/// Runs cargo with these words, where these tests were built and as they were.
pub(crate) fn cargo(words: &[&str]) {
    let programs = Path::new(Model::Prefork.program()).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(words);
    cargo
        .args(["--offline", "--locked", "--quiet", "--target-dir"])
        .arg(programs.parent().unwrap());
    // Crates that look at these are built anew where they differ.
    for (name, _) in std::env::vars_os() {
        let is_of_this_crate =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_this_crate) {
            cargo.env_remove(name);
        }
    }
    if programs.ends_with("release") {
        cargo.arg("--release");
    }
    let done = cargo.output().unwrap();
    assert!(done.status.success(), "cargo {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}
