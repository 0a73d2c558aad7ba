//! Settings of plugins that ask another server: lines of a file, or arguments.

use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::Args;

/// Names with their values.  Of a name that stands there twice the last value counts, and arguments
/// count more than the file.
#[derive(Debug, Clone)]
pub(crate) struct BackEndSettings(Vec<(String, String)>);

impl BackEndSettings {
    /// Reads `lines`, each a name, blanks, and a value in which blanks may be, and then `args`,
    /// names and values in turn.  Names are those of `known`, in any case.
    ///
    /// # Errors
    /// Another name, or one without a value.
    pub(crate) fn read(known: &[&str], lines: &Lines, args: &Args) -> Result<BackEndSettings> {
        args.only(known)?;
        let mut pairs = vec![];
        for line in lines.entries() {
            let (name, value) = line.text.split_once([' ', '\t']).unwrap_or((&line.text, ""));
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let unknown = Error::unknown("setting", name, known);
                return Err(unknown.or_at(&line.file, line.number));
            }
            if value.is_empty() {
                return Err(Error::at(&line.file, line.number, format!("no value for '{name}'")));
            }
            pairs.push((name.to_owned(), value.trim_start().to_owned()));
        }
        for pair in args.positional().chunks_exact(2) {
            pairs.push((pair[0].to_owned(), pair[1].to_owned()));
        }
        Ok(BackEndSettings(pairs))
    }

    /// The value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The same for a name that must be there.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Error::new(format!("setting missing: {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(lines: &[&str], args: &str) -> Result<BackEndSettings> {
        let lines = Lines::from_values(lines.iter().map(|line| line.to_string()).collect());
        BackEndSettings::read(&["base", "host"], &lines, &Args::new(args.split_whitespace()))
    }

    #[test]
    fn arguments_count_more_than_lines() {
        let found = settings(&["base  o=Example Inc,c=de", "HOST\ta", "host b"], "").unwrap();
        assert_eq!((found.get("base"), found.get("host")), (Some("o=Example Inc,c=de"), Some("b")));
        let found = settings(&["base x"], "timeout 9 Base y host c").unwrap();
        assert_eq!((found.get("base"), found.get("host")), (Some("y"), Some("c")));
        let error = settings(&["host b"], "").unwrap().required("base").unwrap_err();
        assert_eq!(error.to_string(), "setting missing: base");
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for (line, args, error) in [
            (
                "bass x",
                "",
                "config hook:1: unknown setting 'bass'; did you mean 'base'? (known: base, host)",
            ),
            ("base", "", "config hook:1: no value for 'base'"),
            (
                "base x",
                "bass y",
                "unknown argument 'bass'; did you mean 'base'? (known: base, host, loglevel, reject, \
                 reject_type, timeout, on_error)",
            ),
            ("base x", "host", "argument host has no value"),
        ] {
            assert_eq!(settings(&[line], args).unwrap_err().to_string(), error);
        }
    }
}
