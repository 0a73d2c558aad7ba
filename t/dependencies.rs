//! What this is built from: licences that deny.toml allows, and nothing from elsewhere than the
//! registry.  cargo-deny looks at more, where it is installed.

use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

#[test]
fn licences_and_sources_are_allowed() {
    let rules = std::fs::read_to_string("deny.toml").unwrap();
    let (_, list) = rules.split_once("[licenses]\nallow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let allowed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    let output = command.args(["--filter-platform", &target]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let is_ours = |package: &&Value| {
        let manifest = package["manifest_path"].as_str().unwrap();
        package["source"].is_null() && manifest.starts_with(env!("CARGO_MANIFEST_DIR"))
    };
    let others = packages.iter().filter(|package| !is_ours(package));
    let mut count = 0;
    for package in others {
        let name = package["name"].as_str().unwrap();
        let licence =
            package["license"].as_str().unwrap_or_else(|| panic!("{name} has no licence"));
        let licence = Expression::parse_mode(licence, ParseMode::LAX).unwrap();
        let is_allowed =
            licence.evaluate(|need| need.license.id().is_some_and(|id| allowed.contains(&id.name)));
        assert!(is_allowed, "{name}: {licence}");
        let source = package["source"].as_str().unwrap_or("a folder");
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
        count += 1;
    }
    assert!(count > 50, "{count} packages");
}
