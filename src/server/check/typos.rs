//! Files of the configuration whose names look like typing errors.

use std::fs;

use crate::config::{Config, is_leftover};
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
        Some(format!("{}: nobody reads it; is '{known}' meant?", path.display()))
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
    let most = if name.len() < 5 { 1 } else { 2 };
    let near = known().map(|known| (distance(name, known), known));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// Has a plugin, loaded or not, this name among its texts?
fn is_of_some_plugin(name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    plugin::all().any(|plugin| plugin.source.contains(&quoted))
}

/// How many letters have to be added, left out, changed or swapped with the next, in whatever
/// case, to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let (one, other) = (fold(one), fold(other));
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (one, other, count) in [
            ("rcpthosts", "rcpthosts", 0),
            ("rcpthost", "rcpthosts", 1),
            ("rcphtosts", "rcpthosts", 1),
            ("Timeout-smtpd", "timeoutsmtpd", 1),
            ("databites", "databytes", 1),
            ("", "me", 2),
            ("badhelo", "rcpthosts", 8),
        ] {
            assert_eq!(distance(one, other), count, "{one} {other}");
            assert_eq!(distance(other, one), count, "{other} {one}");
        }
    }

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
