//! The library's own tests, which are Perl.

use std::path::Path;
use std::process::Command;

use crate::harness::deb;

/// Runs each of `t/perl/*.t`; a failure shows what the test had to say.
#[test]
fn the_tests_of_the_library_pass() {
    if !deb::need("perl") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::fs::read_dir(root.join("t/perl")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "t"));
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    let mut failures = String::new();
    for file in files {
        let mut perl = Command::new("perl");
        let done = perl.arg("-Isrc/perl/lib").arg(&file).current_dir(root).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let failed = text.lines().any(|line| line.starts_with("not ok"));
        if failed || !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            failures += &format!("{}: {}\n{errors}", file.display(), done.status);
            failures.extend(text.lines().filter(|line| !line.starts_with("ok")).map(str::to_owned));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
