//! The files of the configuration beside those that name plugins: who reads them here.

use std::fs;
use std::path::Path;

use crate::config::{Config, has_byte_order_mark, is_leftover};
use crate::error::meant;
use crate::hook::{Loaded, Origin, Plugins};
use crate::perl;
use crate::plugin::{self, Plugin};
use crate::server::lists;
use crate::server::migrate::differences;
use crate::server::migrate::faults::Faults;
use crate::server::migrate::lines::explain;
use crate::server::migrate::paper::Paper;
use crate::settings;

/// How wide the column of names is, and where stands what is said below.
const WIDTH: usize = 20;
const BELOW: usize = 6;

/// Files that sites of Perl qpsmtpd have, and nobody here reads: what they are for, and whether something
/// has to be done.
const OTHERS: [(&str, &str, bool); 8] = [
    ("IP", "the address for tcpserver; only the run script reads it", false),
    ("add_geoip_headers", "nothing reads it: ident/geoip has the argument add_headers", false),
    ("badmailfrom_patterns", "nothing reads it: put the patterns into badmailfrom", true),
    ("badrcptto_patterns", "nothing reads it: put the patterns into badrcptto", true),
    ("debconf-settings", "the answers to debconf; see below", false),
    ("log2sql", "only Perl qpsmtpd's log/log2sql reads it; see --report", false),
    ("public_suffix_list", "nothing reads it: dmarc has the argument suffixes FILE", false),
    (
        "require_resolvable_fromhost",
        "nothing reads it: a line resolvable_fromhost is enough",
        false,
    ),
];

/// What debconf writes where it was not answered.
const UNANSWERED: &str = "unset";

/// Tells of all files in the folder.
pub(super) fn tell(paper: &mut Paper, config: &Config, plugins: &Plugins, faults: &mut Faults) {
    let folder = config.folder();
    let (lists, read) = (["plugins", "logging"], config.files());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .into_iter()
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !lists.contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    let readers = Readers::new(plugins);
    paper.heading("The other files");
    for name in names {
        let path = folder.join(&name);
        if path.is_dir() {
            paper.row(&format!("{name}/"), WIDTH, folder_of(&name, plugins));
            continue;
        }
        let (what, has_to_change) = match is_leftover(name.as_ref()) {
            true => ("ignored: left by an editor or a package manager".to_owned(), false),
            false => fate(&name, plugins, &readers, read.contains(&path)),
        };
        paper.row(&name, WIDTH, &what);
        if has_to_change {
            paper.step(&format!("{name}: {what}"));
        }
        for (line, text) in faults.within(&path) {
            paper.demand(BELOW, &format!("{name}:{line}"), &text);
        }
        about(paper, config, &name, &path);
    }
    let names: Vec<&str> = plugins.all().iter().filter_map(|loaded| loaded.native).collect();
    for fault in lists::faults(config, &names) {
        paper.below(2, &format!("Worth a look: {fault}"));
    }
}

/// Who reads a file, and whether something has to be done.
fn fate(name: &str, plugins: &Plugins, readers: &Readers<'_>, is_included: bool) -> (String, bool) {
    let plain = name.strip_suffix(".cdb").unwrap_or(name);
    if settings::find(plain).is_some() {
        return ("a setting of the server".to_owned(), false);
    }
    let native = readers.native(plain).map(|plugin| plugin.name);
    let (loaded, idle): (Vec<&str>, Vec<&str>) = native.partition(|name| is_loaded(plugins, name));
    let in_perl: Vec<&str> = readers.perl(plain).collect();
    let all = [loaded, in_perl].concat();
    if !all.is_empty() {
        return (format!("read by {}", all.join(", ")), false);
    }
    if let Some((_, what, has_to_change)) = OTHERS.iter().find(|other| other.0 == plain) {
        return ((*what).to_owned(), *has_to_change);
    }
    match idle.first() {
        _ if is_included => ("included by another file".to_owned(), false),
        Some(_) => (format!("belongs to {}, which is not loaded", idle.join(", ")), false),
        None if is_memory(plain) => ("a database of Perl qpsmtpd".to_owned(), false),
        None => unknown(plain, plugins),
    }
}

fn unknown(name: &str, plugins: &Plugins) -> (String, bool) {
    let settings = settings::TABLE.iter().map(|row| row.name);
    let meant = meant(name, settings.chain(plugins.files()));
    (format!("nothing reads it{meant}"), !meant.is_empty())
}

/// What there is to say of a file besides.
fn about(paper: &mut Paper, config: &Config, name: &str, path: &Path) {
    if has_byte_order_mark(path) {
        paper.below(BELOW, "it begins with a byte order mark, which is ignored");
    }
    if name == "rcpthosts" {
        let hosts = config.list(name);
        if hosts.find(UNANSWERED).is_some() {
            let text = "debconf was not answered and wrote 'unset': name your domains instead";
            paper.demand(BELOW, name, text);
        }
    }
    for difference in differences::of_file(name) {
        explain(paper, BELOW, difference);
    }
}

fn folder_of(name: &str, plugins: &Plugins) -> &'static str {
    match name {
        "peers" if is_loaded(plugins, "peers") => "lists of plugins by client, see above",
        "peers" => "nothing reads it, as no line names the plugin peers",
        _ => "a folder; it is not looked into",
    }
}

fn is_loaded(plugins: &Plugins, name: &str) -> bool {
    plugins.all().iter().any(|loaded| loaded.native == Some(name))
}

/// Which plugins read which files of the configuration.
pub(super) struct Readers<'a> {
    /// Every native plugin, with the files that its manual has.
    native: Vec<(&'static Plugin, Vec<String>)>,
    /// The loaded Perl plugins, with the files that theirs name.
    perl: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Readers<'a> {
    /// Reads the manuals, and the files of the loaded Perl plugins.
    pub(super) fn new(plugins: &'a Plugins) -> Readers<'a> {
        let perl = plugins.all().iter().filter(|loaded| loaded.origin == Origin::Perl);
        let files = |loaded: &'a Loaded| {
            let file = loaded.perl.as_deref().unwrap_or_default();
            (&*loaded.name, perl::config_files(Path::new(file)))
        };
        Readers {
            native: plugin::all().map(|plugin| (plugin, files_in_manual(plugin))).collect(),
            perl: perl.map(files).collect(),
        }
    }

    /// Native plugins whose manual has the file among those of the configuration or, where none has, in
    /// whose source the name stands.
    pub(super) fn native(&self, name: &str) -> impl Iterator<Item = &'static Plugin> {
        let has_it = move |files: &[String]| files.iter().any(|file| file == name);
        let is_in_manual = self.native.iter().any(|(_, files)| has_it(files));
        let quoted = format!("\"{name}\"");
        self.native.iter().filter_map(move |(plugin, files)| {
            let reads = match is_in_manual {
                true => has_it(files),
                false => plugin.source.contains(&quoted),
            };
            reads.then_some(*plugin)
        })
    }

    /// Perl plugins whose files name the file of the configuration.
    fn perl(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let readers =
            self.perl.iter().filter(move |(_, files)| files.iter().any(|file| file == name));
        readers.map(|(plugin, _)| *plugin)
    }
}

/// The files of the configuration in a plugin's manual.
fn files_in_manual(plugin: &Plugin) -> Vec<String> {
    let manual = plugin.manual();
    let part = manual.split_once("\nCONFIG\n").map_or("", |(_, part)| part);
    part.lines()
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter_map(|line| line.strip_prefix("    ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// A file of a database that Perl qpsmtpd keeps.
fn is_memory(name: &str) -> bool {
    [".dbm", ".dbm.lock", ".dbm.pag", ".dbm.dir", ".db"].iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_readers() {
        let plugins = Plugins::that_keep_lines();
        let readers = Readers::new(&plugins);
        for (name, reader) in [
            ("dnsbl_zones", "dnsbl"),
            ("badhelo", "helo"),
            ("rcpthosts", "rcpt_ok"),
            ("relayclients", "relay"),
            ("flat_auth_pw", "auth/auth_flat_file"),
        ] {
            assert!(readers.native(name).any(|plugin| plugin.name == reader), "{name}");
        }
        assert_eq!(readers.native("databyte").count(), 0);
    }

    /// What is in the table for want of a reader has none.
    #[test]
    fn nobody_reads_the_others() {
        for (name, ..) in OTHERS {
            assert!(settings::find(name).is_none(), "{name}");
            let has_it = |plugin| files_in_manual(plugin).iter().any(|file| file == name);
            assert!(!plugin::all().any(has_it), "{name}");
        }
    }
}
