//! The tables against the tree, and the tree against its rules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use qpsmtpd::plugins::{PLUGINS, PRIVILEGED};
use qpsmtpd::smtp::waits::WAITS;
use regex::Regex;

/// Beside plugins their folder has the table of them, and what new ones are copied from.
const TABLE_AND_TEMPLATE: [&str; 2] = ["mod", "template"];

/// The layers of src/lib.rs from top to bottom: `use` points downwards only.
const LAYERS: [&str; 25] = [
    "server", "cli", "report", "fuzzing", "testing", "smtp", "plugin", "plugins", "auth",
    "forward", "perl", "hook", "store", "state", "origin", "net", "dns", "mail", "config",
    "settings", "metrics", "log", "error", "sys", "",
];

/// Uses against the direction, each with its reason.
const EXCEPTIONS: [(&str, &str); 6] = [
    // The loader and the table of what it loads know each other.
    ("plugins", "plugin"),
    // Tests of the core are written with the trial.
    ("smtp", "testing"),
    ("auth", "testing"),
    ("forward", "testing"),
    ("hook", "testing"),
    ("perl", "testing"),
];

/// The files of a folder and of those in it, each with its text.
pub(crate) fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

/// `queue/maildir` for `plugins/queue/maildir.rs`.
fn plugin_name(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    path.strip_prefix(root).unwrap().with_extension("").to_str().unwrap().to_owned()
}

/// Is it a part of a plugin that has a folder beside its file?
fn is_part(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.with_extension("rs").is_file())
}

#[test]
fn every_plugin_has_a_row_and_every_row_a_plugin() {
    let files: BTreeSet<String> = rust_files("plugins")
        .iter()
        .filter(|(path, _)| !is_part(path))
        .map(|(path, _)| plugin_name(path))
        .filter(|name| !TABLE_AND_TEMPLATE.contains(&name.as_str()))
        .collect();
    let rows: BTreeSet<String> = PLUGINS.iter().map(|row| row.name.replace('-', "_")).collect();
    assert_eq!(files, rows);
    assert_eq!(rows.len(), PLUGINS.len(), "a name stands twice");
}

/// The states in which clients are waited for stand in the documents as in the table.
#[test]
fn docs_reliability_md_has_the_table_of_waits() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let docs = fs::read_to_string(path).unwrap();
    let head = "| waiting for | longest single wait | all waits, from one accepted message to the next | \
        when a client that was asked to leave must go |\n| --- | --- | --- | --- |\n";
    let table: String = WAITS.iter().map(|row| format!("{row}\n")).collect();
    assert!(docs.contains(&format!("{head}{table}\n")), "docs/reliability.md lacks\n{head}{table}");
}

#[test]
fn every_plugin_has_a_manual() {
    for row in PLUGINS {
        let manual = row.manual();
        let mut lines = manual.lines();
        assert_eq!(lines.next(), Some("NAME"), "{}", row.name);
        let start = format!("    {} - ", row.name);
        assert!(lines.next().is_some_and(|line| line.starts_with(&start)), "{}", row.name);
        for part in ["\nSYNOPSIS\n", "\nDESCRIPTION\n"] {
            assert!(manual.contains(part), "{}: no {}", row.name, part.trim());
        }
        let says = manual.contains("\nPRIVILEGES\n");
        assert_eq!(says, PRIVILEGED.contains(&row.name), "{}: PRIVILEGES", row.name);
    }
}

/// The sample configuration names every plugin, so that it shows what there is.
#[test]
fn the_sample_configuration_shows_every_plugin() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let sample = fs::read_to_string(root.join("plugins")).unwrap()
        + &fs::read_to_string(root.join("logging")).unwrap();
    let names: BTreeSet<&str> = sample
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .collect();
    for row in PLUGINS {
        assert!(names.contains(row.name), "{} is not in config/", row.name);
    }
}

/// A plugin sees hooks, state, configuration and log: never the server, the socket, or unsafe code.
#[test]
fn plugins_see_only_what_is_theirs() {
    for (path, text) in rust_files("plugins") {
        for word in ["crate::server", "crate::smtp", "crate::sys", "crate::cli", "unsafe {"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

/// `use` points down the list of layers only.
#[test]
fn modules_use_only_what_is_below_them() {
    let rank = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    for (path, text) in rust_files("src") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let inside = path.strip_prefix(root).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own) = rank(module) else {
            assert_eq!(module, "lib", "{} is in no layer", path.display());
            continue;
        };
        for part in text.split("crate::").skip(1) {
            let used: String =
                part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let Some(other) = rank(&used).filter(|_| !used.is_empty()) else { continue };
            let allowed = other >= own || EXCEPTIONS.contains(&(module, used.as_str()));
            assert!(allowed, "{} uses {used}, which is above it", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_in_one_folder_and_explained() {
    for (path, text) in rust_files("src").into_iter().chain(rust_files("bin")) {
        let in_sys = path.components().any(|part| part.as_os_str() == "sys");
        let blocks = text.matches("unsafe {").count();
        assert!(in_sys || blocks == 0, "{} has unsafe code", path.display());
        let notes = text.matches("// SAFETY:").count();
        assert!(notes >= blocks, "{}: {blocks} unsafe blocks, {notes} notes", path.display());
    }
}

/// The replies that have no status: the greeting, those to HELO and EHLO, 334 and 354 (RFC 2034 4).
const NO_STATUS: [(&str, &str); 5] = [
    ("data", "354"),
    ("exchange", "334"),
    ("greeting", "220"),
    ("helo", "250"),
    ("passwords", "334"),
];

/// Every other reply of the core has one, with the first digit of its code.
#[test]
fn replies_have_a_status_of_their_class() {
    let reply = Regex::new(r#"\(\s*(\d{3}),\s*"([^"]*)",\s"#).unwrap();
    let mut without = vec![];
    let mut count = 0;
    for (path, text) in rust_files("src") {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for found in reply.captures_iter(text) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (code, status) = (found[1].to_owned(), &found[2]);
            count += 1;
            if status.is_empty() {
                without.push((name, code));
            } else {
                assert!(status.starts_with(&format!("{}.", &code[..1])), "{name}: {code} {status}");
                assert_eq!(status.split('.').count(), 3, "{name}: {code} {status}");
            }
        }
    }
    without.sort();
    let known = NO_STATUS.map(|(name, code)| (name.to_owned(), code.to_owned()));
    assert_eq!(without, known);
    assert!(count > 60, "{count}");
}
