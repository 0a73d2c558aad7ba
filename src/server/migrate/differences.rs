//! What is different of single plugins and files: the tables of docs/differences.md.

/// The document.
const TEXT: &str = include_str!("../../../docs/differences.md");

const PLUGINS: &str = "## Single plugins";
const FILES: &str = "## Single files of the configuration";

/// A row: how it is in Perl qpsmtpd, and how it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    names: &'static str,
    pub(super) there: &'static str,
    pub(super) here: &'static str,
}

/// What is different of the native plugin of that name.
pub(super) fn of_plugin(name: &str) -> impl Iterator<Item = Difference> {
    named(PLUGINS, name)
}

/// What is different of the file of that name.
pub(super) fn of_file(name: &str) -> impl Iterator<Item = Difference> {
    named(FILES, name)
}

fn named(heading: &str, name: &str) -> impl Iterator<Item = Difference> {
    let name = format!("`{name}`");
    rows(heading).filter(move |row| row.names.split(", ").any(|known| known == name))
}

/// The rows of the table below a heading.
fn rows(heading: &str) -> impl Iterator<Item = Difference> {
    let part = TEXT.split_once(heading).map_or("", |(_, part)| part);
    let part = part.split("\n## ").next().unwrap_or("");
    part.lines().filter(|line| line.starts_with("| `")).filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some(Difference { names: cells.next()?, there: cells.next()?, here: cells.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Plugins;
    use crate::plugin;
    use crate::server::migrate::files::Readers;
    use crate::settings;

    /// A row whose name nobody has would never be shown.
    #[test]
    fn every_row_is_of_a_plugin_or_file_that_there_is() {
        assert!(rows(PLUGINS).count() > 30 && rows(FILES).count() > 4);
        for row in rows(PLUGINS) {
            for name in row.names.split(", ").map(|name| name.trim_matches('`')) {
                assert!(plugin::all().any(|plugin| plugin.name == name), "{name}");
                assert!(of_plugin(name).any(|found| found == row), "{name}");
            }
        }
        let plugins = Plugins::that_keep_lines();
        let readers = Readers::new(&plugins);
        for row in rows(FILES) {
            for name in row.names.split(", ").map(|name| name.trim_matches('`')) {
                let is_read = readers.native(name).next().is_some();
                assert!(is_read || settings::find(name).is_some(), "{name}");
            }
        }
        assert_eq!(of_plugin("rcpt_okay").count(), 0);
    }
}
