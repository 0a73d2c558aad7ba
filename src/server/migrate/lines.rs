//! The lines that name plugins: which is native, which runs as Perl, what is different, what is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Config, Line};
use crate::hook::{Loaded, Origin, Plugins};
use crate::perl;
use crate::plugin;
use crate::server::console::plain;
use crate::server::migrate::differences::{self, Difference};
use crate::server::migrate::faults::Faults;
use crate::server::migrate::paper::Paper;

/// How far what is said of a line stands from the margin.
const BELOW: usize = 9;

/// The widest column of names.
const WIDEST: usize = 28;

/// Tells of the lines of all lists, file by file.
pub(super) fn tell(paper: &mut Paper, config: &Config, plugins: &Plugins, faults: &mut Faults) {
    let mut told = BTreeSet::new();
    let lists = plugins.list_files().unwrap_or_default().iter().map(String::as_str);
    for list in ["logging", "plugins"].into_iter().chain(lists) {
        let (lines, _) = config.load_what_can_be(list);
        let mut lines: Vec<Line> = lines.entries().cloned().collect();
        lines.retain(|line| told.insert((line.file.clone(), line.number)));
        for file in lines.chunk_by(|one, next| one.file == next.file) {
            tell_file(paper, config, file, plugins, faults);
        }
        // Lines that include what there is not.
        let Some(path) = config.path(list) else { continue };
        for (number, text) in faults.within(&path) {
            let step = paper.step(&format!("{list}:{number}: {text}"));
            paper.row(&format!("{number:>4}"), 4, &format!("to do {step}: {text}"));
        }
    }
}

fn tell_file(
    paper: &mut Paper,
    config: &Config,
    lines: &[Line],
    plugins: &Plugins,
    faults: &mut Faults,
) {
    let Some(first) = lines.first() else { return };
    let shown = shown(config, &first.file);
    paper.heading(&shown);
    let names = lines.iter().map(|line| line.word_and_rest().0.len());
    let width = names.filter(|width| *width <= WIDEST).max().unwrap_or(0) + 6;
    let mut explained = BTreeSet::new();
    for line in lines {
        let name = line.word_and_rest().0;
        let head = format!("{:>4}  {name}", line.number);
        let place = format!("{shown}:{}", line.number);
        let loaded = plugins.all().iter().find(|loaded| loaded.line.as_ref() == Some(line));
        paper.row(&head, width, &fate(loaded));
        for text in faults.at(&line.file, line.number) {
            let text = with_module(&text);
            paper.demand(BELOW, &place, &text);
        }
        let Some(loaded) = loaded else { continue };
        let file = loaded.perl.as_deref().filter(|_| loaded.origin == Origin::Perl);
        for text in faults.said_of(&loaded.name, file) {
            paper.below(BELOW, &text);
        }
        if let Some(file) = file {
            of_perl(paper, &place, name, Path::new(file));
        }
        let native = loaded.native.filter(|native| explained.insert(*native));
        for difference in native.into_iter().flat_map(differences::of_plugin) {
            explain(paper, BELOW, difference);
        }
    }
}

/// What becomes of a line.
fn fate(loaded: Option<&Loaded>) -> String {
    let Some(loaded) = loaded else { return "cannot be loaded".to_owned() };
    let name = loaded.name.split(':').next().unwrap_or_default();
    match (loaded.origin, loaded.native) {
        (Origin::Perl, _) => format!("Perl: {}", loaded.perl.as_deref().unwrap_or_default()),
        (_, Some(native)) if native != name => format!("native: {native}"),
        _ => "native".to_owned(),
    }
}

/// What can be seen of a file that runs as Perl.
fn of_perl(paper: &mut Paper, place: &str, name: &str, file: &Path) {
    let lacking = perl::lacking(file);
    if !lacking.is_empty() {
        let text = format!("it calls {}, which does not exist here", lacking.join(", "));
        let step = paper.step(&format!("{place}: {name}: {text}; rewrite that part"));
        paper.below(BELOW, &format!("to do {step}: {text}"));
    }
    if let Some(absent) = perl::known(file).and_then(plugin::absent) {
        paper.below(BELOW, &format!("{absent}"));
    } else if let Some((native, _)) = plugin::find(name).filter(|_| perl::known(file).is_none()) {
        paper.below(
            BELOW,
            &format!(
                "This file is in no release: it is your own, changed, or of a development version.  Without it the native {} is used.",
                native.name
            ),
        );
    }
}

/// What is different, there and here.
pub(super) fn explain(paper: &mut Paper, indent: usize, difference: Difference) {
    let (there, here) = (plain(difference.there), plain(difference.here));
    paper.below(indent, &format!("Perl qpsmtpd: {there}. Here: {here}."));
}

/// Where a Perl module is missing, what Debian calls it.
fn with_module(text: &str) -> String {
    match text.split_once("needs the Perl module ").and_then(|(_, rest)| rest.split_once(',')) {
        Some((module, _)) => {
            let package = module.replace("::", "-").to_lowercase();
            format!("{text}; if Debian has it, its package is lib{package}-perl")
        }
        None => text.to_owned(),
    }
}

/// A path within the configuration without that.
fn shown(config: &Config, file: &Path) -> String {
    file.strip_prefix(config.folder()).unwrap_or(file).display().to_string()
}
