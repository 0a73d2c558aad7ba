//! `--make-manuals`: the manual pages and the shell completions, from what the programs know of
//! themselves.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli;
use crate::error::{Error, Result};
use crate::plugin;
use crate::server::console::plain;
use crate::settings::TABLE;

/// What stands in the foot of every page, and its head.
const SOURCE: &str = concat!("qpsmtpd ", env!("CARGO_PKG_VERSION"));

/// The pages that the programs' own refer to.
const SEE_ALSO: &str = "qpsmtpd(8), qpsmtpd-prefork(8), qpsmtpd-forkserver(8), qpsmtpd(5); \
    qpsmtpd-NAME(7) for the plugin NAME, a slash in it being a hyphen";

/// Writes into `folder`, as `man8/qpsmtpd.8`, `man5/qpsmtpd.5`, `man7/qpsmtpd-NAME.7` for each native
/// plugin, and `completions/`.
///
/// # Errors
/// A folder or file cannot be made.
pub(super) fn make(folder: &Path) -> Result<()> {
    for mut program in programs() {
        program.set_bin_name(program.get_name().to_owned());
        put(folder, 8, program.get_name(), program_page(&program)?)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let name = program.get_name().to_owned();
            let place = folder.join("completions");
            generate_to(shell, &mut program, name, made(&place)?)
                .map_err(|e| cannot(&place, &e))?;
        }
    }
    put(folder, 5, "qpsmtpd", settings_page())?;
    for plugin in plugin::all() {
        let name = format!("qpsmtpd-{}", plugin.name.replace('/', "-"));
        put(folder, 7, &name, plugin_page(&name, &plugin.manual()))?;
    }
    Ok(())
}

fn programs() -> [Command; 3] {
    [cli::Inetd::command(), cli::Forkserver::command(), cli::Prefork::command()]
}

fn program_page(program: &Command) -> Result<String> {
    let man = Man::new(program.clone()).section("8").source(SOURCE).manual("qpsmtpd");
    let mut page = vec![];
    man.render(&mut page).map_err(|error| Error::new(error.to_string()))?;
    let mut more = Roff::new();
    more.control("SH", ["SEE ALSO"]).text([roman(SEE_ALSO)]);
    Ok(String::from_utf8_lossy(&page).into_owned() + &more.to_roff())
}

/// The core's settings.
fn settings_page() -> String {
    let mut page = head("qpsmtpd", 5);
    page.control("SH", ["NAME"]).text([roman("qpsmtpd - the files of the configuration")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "Every setting is a file of its own, in the folder that QPSMTPD_CONFIG names.  These are those \
         of the core; the manual of a plugin has the plugin's.",
    )]);
    page.control("SH", ["FILES"]);
    for row in TABLE {
        let (meaning, default) = (plain(row.meaning), plain(&row.default.to_string()));
        page.control("TP", []).text([bold(row.name), roman(format!(" ({})", row.kind))]);
        page.text([roman(format!(
            "{meaning}.  Default: {default}.  A change takes effect: {}.",
            row.effect
        ))]);
    }
    page.control("SH", ["SEE ALSO"]).text([roman(SEE_ALSO)]);
    page.to_roff()
}

/// A plugin's manual, whose headings stand at the margin and whose text is set by hand.
fn plugin_page(name: &str, manual: &str) -> String {
    let mut page = head(name, 7);
    let mut is_set = false;
    for line in manual.lines() {
        let is_heading = line.starts_with(|c: char| c.is_ascii_uppercase());
        let is_name = is_heading && line == "NAME";
        if is_heading {
            if is_set {
                page.control("fi", []);
            }
            page.control("SH", [line]);
            is_set = !is_name;
            if is_set {
                page.control("nf", []);
            }
        } else if is_set || !line.trim().is_empty() {
            page.text([roman(line.strip_prefix("    ").unwrap_or(line))]);
        }
    }
    if is_set {
        page.control("fi", []);
    }
    page.to_roff()
}

fn head(name: &str, section: u8) -> Roff {
    let mut page = Roff::new();
    page.control("TH", [name, &section.to_string(), "", SOURCE, "qpsmtpd"]);
    page
}

fn put(folder: &Path, section: u8, name: &str, page: String) -> Result<()> {
    let folder = folder.join(format!("man{section}"));
    let path = made(&folder)?.join(format!("{name}.{section}"));
    fs::write(&path, page).map_err(|error| cannot(&path, &error))
}

fn made(folder: &Path) -> Result<&Path> {
    fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
    Ok(folder)
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot write {}: {error}", path.display()))
}
