//! Files of the configuration whose names look like typing errors.

use std::fs;

use crate::config::{Config, is_leftover};
use crate::error::nearest;
use crate::plugin;
use crate::settings::TABLE;

/// What to say of each file beside `config/plugins` that nobody knows and whose name is nearly that
/// of a setting, or of one of `files`, which the loaded plugins read.
pub(super) fn find(config: &Config, files: &[&str]) -> Vec<String> {
    let (folder, read) = (config.folder(), config.files());
    let Ok(entries) = fs::read_dir(&folder) else { return vec![] };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_file() && !read.contains(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !is_leftover(name.as_ref()))
        .collect();
    names.sort_unstable();
    let meant = |name: &String| {
        let known = meant_by(name, files)?;
        let path = folder.join(name);
        Some(format!("{}: nothing reads this file; did you mean '{known}'?", path.display()))
    };
    names.iter().filter_map(meant).collect()
}

/// The known name that `name` is nearly.  None: it is known itself, or like no other.
fn meant_by<'a>(name: &str, files: &[&'a str]) -> Option<&'a str> {
    let known = || TABLE.iter().map(|row| row.name).chain(files.iter().copied());
    let name = name.strip_suffix(".cdb").unwrap_or(name);
    if known().any(|known| known == name) || is_of_some_plugin(name) {
        return None;
    }
    nearest(name, known())
}

/// Has a plugin, loaded or not, this name among its texts?
fn is_of_some_plugin(name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    plugin::all().any(|plugin| plugin.source.contains(&quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_knows_are_typing_errors() {
        let files = ["rcpthosts", "badhelo", "badmailfromto"];
        for (name, meant) in [
            ("databyte", Some("databytes")),
            ("rcpt_hosts", Some("rcpthosts")),
            ("Badhelo", Some("badhelo")),
            ("proxy-from", Some("proxy_from")),
            ("rcpthosts", None),
            ("timeoutsmtpd", None),
            // Another plugin's, which is not loaded.
            ("badmailfrom", None),
            ("morercpthosts.cdb", None),
            ("README", None),
            ("mw", Some("me")),
            ("IP", None),
        ] {
            assert_eq!(meant_by(name, &files), meant, "{name}");
        }
    }
}
