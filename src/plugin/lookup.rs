//! Where the name of a plugin is looked up: among the native ones, their older names, the Perl files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::absent::{ABSENT, Absent};
use super::row::Plugin;
use crate::config::Config;
use crate::error::{Error, Result, meant};
use crate::perl;
use crate::plugins::{ALIASES, PLUGINS};
use crate::settings::PERL_PLUGINS;

/// The plugins of a site's own crate.
static SITE: OnceLock<&[Plugin]> = OnceLock::new();

/// Adds the plugins that a site keeps in a crate of its own, before anything is loaded.  The tests
/// of that crate do so as well, where a plugin is looked up by its name; the first call counts.
///
/// # Errors
/// Two plugins have the same name.
pub fn add(site: &'static [Plugin]) -> Result<()> {
    let named = |plugin: &Plugin| plugin.name.replace('-', "_");
    let mut names: HashSet<String> = PLUGINS.iter().map(named).collect();
    if let Some(twice) = site.iter().find(|plugin| !names.insert(named(plugin))) {
        return Err(Error::new(format!("two plugins have the name '{}'", twice.name)));
    }
    SITE.get_or_init(|| site);
    Ok(())
}

/// All native plugins: those of [`PLUGINS`], then the site's own.
pub fn all() -> impl Iterator<Item = &'static Plugin> {
    PLUGINS.iter().chain(SITE.get().copied().unwrap_or_default())
}

/// The native plugin of that name, or of that older name.  `-` finds `_`.
pub fn find(name: &str) -> Option<(&'static Plugin, &'static [&'static str])> {
    let fold = |text: &str| text.replace('-', "_");
    let native = |name: &str| all().find(|plugin| fold(plugin.name) == fold(name));
    if let Some(plugin) = native(name) {
        return Some((plugin, &[]));
    }
    let alias = ALIASES.iter().find(|alias| fold(alias.old) == fold(name))?;
    Some((native(alias.new)?, alias.args))
}

/// The plugin of Perl qpsmtpd of that name, or of that older name, that is not among the native
/// ones.  `-` finds `_`.
pub fn absent(name: &str) -> Option<&'static Absent> {
    let fold = |text: &str| text.replace('-', "_");
    let alias = ALIASES.iter().find(|alias| fold(alias.old) == fold(name));
    let name = alias.map_or(name, |alias| alias.new);
    ABSENT.iter().find(|absent| fold(absent.name) == fold(name))
}

/// The Perl source of that name, or of the name that it stands for, with the arguments that the older
/// name implies.
pub(super) fn perl_file(config: &Config, name: &str) -> Option<(PathBuf, &'static [&'static str])> {
    let dirs = perl::dirs(config);
    let file = |name: &str| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
    let newer = || {
        let alias = ALIASES.iter().find(|alias| alias.old == name)?;
        Some((file(alias.new)?, alias.args))
    };
    file(name).map(|path| (path, &[][..])).or_else(newer)
}

/// Where a plugin cannot work, and its name stands for another one whose file can: says so.
pub(super) fn other_perl_file(config: &Config, name: &str) -> Option<String> {
    let other = ALIASES.iter().find(|alias| alias.old == name)?.new;
    let (file, _) = perl_file(config, other)?;
    perl::cannot_work(&file).is_none().then(|| format!("; '{other}' can"))
}

/// The native plugin that stands for a Perl file that a release of Perl qpsmtpd has, unless the line or
/// the setting keeps the file.
pub(super) fn native_instead(
    config: &Config,
    path: &Path,
    is_kept: bool,
) -> Option<(&'static Plugin, &'static [&'static str])> {
    let keeps_all = is_kept || config.setting(PERL_PLUGINS) == "always";
    perl::known(path).filter(|_| !keeps_all).and_then(find)
}

/// `name:1` is another instance of `name`.
pub(super) fn without_number(instance: &str) -> &str {
    match instance.rsplit_once(':') {
        Some((name, number))
            if !number.is_empty()
                && !name.ends_with(':')
                && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => instance,
    }
}

/// Where Perl files were looked for in vain.
pub(super) fn nowhere(config: &Config) -> String {
    let folders = perl::dirs(config).iter().map(|dir| dir.display().to_string()).collect();
    let folders: Vec<String> = folders;
    format!("there is no Perl file of that name in {}", folders.join(", "))
}

/// `; did you mean 'rcpt_ok'?`, where the name is nearly that of a plugin, or its folder was left out.
pub(super) fn meant_by(config: &Config, name: &str) -> String {
    let mut known: Vec<String> = all().map(|plugin| plugin.name.to_owned()).collect();
    known.extend(ALIASES.iter().map(|alias| alias.old.to_owned()));
    let files = perl::dirs(config).into_iter().flat_map(std::fs::read_dir).flatten().flatten();
    known.extend(files.filter_map(|entry| entry.file_name().into_string().ok()));
    let without_folder =
        |known: &&String| known.rsplit_once('/').is_some_and(|(_, own)| own == name);
    match known.iter().find(without_folder) {
        Some(known) => format!("; did you mean '{known}'?"),
        None => meant(name, known.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_find_underscores() {
        assert_eq!(
            find("count-unrecognized-commands").map(|found| found.0.name),
            Some("count_unrecognized_commands")
        );
        assert!(find("Rcpt_OK").is_none());
    }

    /// docs/perl.md says of each plugin of a release whether it is native, and under which name.
    #[test]
    fn the_guide_says_which_plugins_of_releases_are_native() {
        const GUIDE: &str = include_str!("../../docs/perl.md");
        const KNOWN: &str = include_str!("../perl/known.txt");
        // Their files are Perl, or cannot work, and are not among the known ones.
        let others = [
            "async/require_resolvable_fromhost",
            "check_badrcptto_patterns",
            "require_resolvable_fromhost",
        ];
        let known = KNOWN.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> = known.filter_map(|line| line.split(' ').nth(1)).collect();
        names.extend(others);
        names.sort_unstable();
        names.dedup();
        for name in names {
            let mut rows = GUIDE.lines().filter(|line| line.starts_with(&format!("| `{name}` |")));
            let row = rows.next().unwrap_or_else(|| panic!("docs/perl.md lacks {name}"));
            let here = match find(name) {
                _ if ["check_badrcptto_patterns", "require_resolvable_fromhost"]
                    .contains(&name) =>
                {
                    "| Perl |".to_owned()
                }
                Some((plugin, _)) if plugin.name.replace('-', "_") == name.replace('-', "_") => {
                    "| native |".to_owned()
                }
                Some((plugin, _)) => format!("| native: `{}` |", plugin.name),
                None if row.contains("| no | no |") => continue,
                None => "| Perl |".to_owned(),
            };
            assert!(row.contains(&here), "{name} should be {here}: {row}");
        }
    }

    #[test]
    fn manuals_come_from_the_source() {
        let (plugin, _) = find("rcpt_ok").unwrap();
        assert!(plugin.manual().starts_with("NAME\n"), "{}", plugin.manual());
    }
}
