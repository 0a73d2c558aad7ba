//! Who is kept from rights that come with programs.

use super::lookup::{find, native_instead, perl_file, without_number};
use crate::config::Config;
use crate::perl;
use crate::plugins::{PRIVILEGED, peers};
use crate::settings::NO_NEW_PRIVS;

/// Who is kept from rights that come with programs (setuid, setgid, file capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Workers, and what they start.
    pub workers: bool,
    /// Everybody, as far as is known: nobody needs even the capabilities that come with being root.
    pub all: bool,
}

/// What `config/no_new_privs` says or, where it says `auto` or nothing, what the plugins need.
pub fn confinement(config: &Config) -> Confinement {
    match config.setting(NO_NEW_PRIVS) {
        "yes" => return Confinement { workers: true, all: true },
        "no" => return Confinement { workers: false, all: false },
        _ => {}
    }
    let (mut workers, mut is_perl) = (true, false);
    let files = ["logging", "plugins"].map(str::to_owned).into_iter();
    for file in files.chain(peers::files(config)) {
        for line in config.list(&file).iter() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let is_kept = perl::take_kept(&mut words);
            let name = without_number(words.first().unwrap_or(&""));
            is_perl |= name.contains("::")
                || perl_file(config, name)
                    .is_some_and(|(path, _)| native_instead(config, &path, is_kept).is_none());
            workers &= !find(name).is_some_and(|(plugin, _)| PRIVILEGED.contains(&plugin.name));
        }
    }
    Confinement { workers, all: workers && !is_perl }
}
