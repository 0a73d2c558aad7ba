//! Looking at a configuration without a start: as the session's user, and nothing is written.

mod check;
mod help;
mod hooks;
mod rehearsal;

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model};

/// What a program says: its status, standard output, standard error, without the folder's path.
fn look(config: &Config, model: Model, arguments: &[&str]) -> (i32, String, String) {
    look_with(config, model, arguments, "")
}

/// The same with a text on standard input.
fn look_with(
    config: &Config,
    model: Model,
    arguments: &[&str],
    input: &str,
) -> (i32, String, String) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    let before = files(config.work());
    let mut command: Command = config.command(model.program());
    if let Some(user) = unprivileged() {
        command.args(["--user", &user.name]);
    }
    let output = command.args(arguments).stdin(file).output().unwrap();
    assert_eq!(files(config.work()), before, "{arguments:?} has written something");
    let folder = config.path("config").join("");
    let text = |octets| String::from_utf8(octets).unwrap().replace(&*folder.to_string_lossy(), "");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// All files below a folder, with the times of their last changes.
fn files(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        }
        found.insert(entry.path(), entry.metadata().unwrap().modified().unwrap());
    }
    found
}
