//! What the account of sessions may not do here, and what Perl qpsmtpd has remembered.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::{Config, Line};
use crate::hook::Plugins;
use crate::server::account;
use crate::server::migrate::paper::Paper;
use crate::server::migrate::site::Site;
use crate::settings::{Permissions, SPOOL_DIR, SPOOL_PERMS};
use crate::state::Spool;
use crate::store::Store;

const INDENT: usize = 2;

/// Where Perl qpsmtpd keeps what plugins remember, and how the files are called.
const MEMORIES: [(&str, [&str; 2]); 2] =
    [("greylisting", ["denysoft_greylist", "greylist"]), ("karma", ["karma", "karma"])];
const FOLDERS: [&str; 5] =
    ["config", "var/db", ".", "/var/lib/qpsmtpd/greylisting", "/var/lib/qpsmtpd/karma"];

/// Tells of spool, store, and places where plugins write; `becomes`: root makes folders at a start.
pub(super) fn tell(
    paper: &mut Paper,
    site: &Site,
    config: &Config,
    plugins: &Plugins,
    becomes: bool,
) {
    let who = account::own_name().unwrap_or_else(|| "this user".to_owned());
    paper.heading(&format!("The account: {who}"));
    let dir = config.expand(&config.setting(SPOOL_DIR));
    let Permissions(mode) = config.setting(SPOOL_PERMS);
    match Spool::check(&dir, mode, becomes) {
        Ok(warning) => {
            paper.line(&format!("  the spool is {}", dir.display()));
            warning.iter().for_each(|warning| paper.below(INDENT, warning));
        }
        Err(error) => to_do(paper, &error.to_string()),
    }
    if !plugins.tables().is_empty() {
        match Store::new(config).map(|store| store.fault(becomes)) {
            Ok(None) => paper.below(INDENT, "the store of the plugins can be written"),
            Ok(Some(fault)) => to_do(paper, &fault),
            Err(error) => to_do(paper, &error.to_string()),
        }
    }
    for loaded in plugins.all() {
        let Some(line) = &loaded.line else { continue };
        let fault = match loaded.native {
            Some("logging/file" | "queue/maildir") => cannot_write(config, line),
            _ => cannot_reach(line),
        };
        if let Some(fault) = fault {
            to_do(paper, &format!("{}: {fault} for {who}", loaded.name));
        }
    }
    memories(paper, site, plugins);
}

fn to_do(paper: &mut Paper, text: &str) {
    let step = paper.step(text);
    paper.below(INDENT, &format!("to do {step}: {text}"));
}

/// Why a plugin cannot make files where its line says.
fn cannot_write(config: &Config, line: &Line) -> Option<String> {
    let word = line.text.split_whitespace().skip(1).find(|word| word.starts_with(['/', '~']))?;
    let path = config.expand(word);
    let is_fixed = |part: &&Path| !part.to_string_lossy().contains('%') && part.exists();
    let there = path.ancestors().find(is_fixed)?;
    let wanted = match there.is_dir() {
        true => AccessFlags::W_OK | AccessFlags::X_OK,
        false => AccessFlags::W_OK,
    };
    let error = access(there, wanted).err()?;
    Some(format!("{}: {}", there.display(), error.desc()))
}

/// What a plugin's line names and the account can do nothing with.
fn cannot_reach(line: &Line) -> Option<String> {
    let paths = line.text.split_whitespace().skip(1).filter(|word| word.starts_with('/'));
    let kinds = [AccessFlags::R_OK, AccessFlags::W_OK, AccessFlags::X_OK];
    paths.map(Path::new).find_map(|path| {
        let denied = path.exists() && kinds.iter().all(|kind| access(path, *kind).is_err());
        denied.then(|| format!("{}: Permission denied", path.display()))
    })
}

/// What can be taken over.
fn memories(paper: &mut Paper, site: &Site, plugins: &Plugins) {
    for (plugin, names) in MEMORIES {
        if !plugins.all().iter().any(|loaded| loaded.native == Some(plugin)) {
            continue;
        }
        let files = FOLDERS.iter().map(|folder| site.top.join(folder));
        let files = files.flat_map(|folder| names.map(|name| folder.join(format!("{name}.dbm"))));
        let found: Option<PathBuf> = files.into_iter().find(|file| file.is_file());
        if let Some(file) = found {
            paper.below(
                INDENT,
                &format!(
                    "Once the Perl server is stopped, this takes over what {plugin} remembers:"
                ),
            );
            paper.line(&format!("    qpsmtpd --store import {plugin} {}", file.display()));
        }
    }
}
