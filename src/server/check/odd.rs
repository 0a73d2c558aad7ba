//! What is odd in the files of the core's settings, though a start takes it.

use crate::config::{Config, Line};
use crate::settings::{Kind, Row, TABLE};

/// What to say of lines that mean nothing, each with file and line.
pub(super) fn find(config: &Config) -> Vec<String> {
    TABLE.iter().flat_map(|row| of(config, row)).collect()
}

fn of(config: &Config, row: &Row) -> Vec<String> {
    let lines = config.list(row.name);
    let say =
        |line: &Line, what: String| format!("{}:{}: {what}", line.file.display(), line.number);
    if !row.kind.is_list() {
        let what = format!("only the first line of {} counts", row.name);
        return lines.entries().skip(1).map(|line| say(line, what.clone())).collect();
    }
    let is_missing =
        |line: &&Line| matches!(row.kind, Kind::Folders) && !config.expand(&line.text).is_dir();
    let missing = lines.entries().filter(is_missing);
    missing.map(|line| say(line, format!("there is no folder '{}'", line.text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn lines_that_mean_nothing_are_named() {
        let files = [
            ("databytes", "# most\n1000\n2000\n"),
            ("plugin_dirs", "~\n~/no-such\n"),
            ("tls_ports", "465\n4465\n"),
        ];
        let trial = Trial::new("", &files);
        let folder = trial.dir().join("config").display().to_string();
        let found = find(&Config::new(vec![trial.dir().join("config")]));
        let found: Vec<String> = found.iter().map(|line| line.replace(&folder, "config")).collect();
        assert_eq!(
            found,
            [
                "config/plugin_dirs:2: there is no folder '~/no-such'",
                "config/databytes:3: only the first line of databytes counts",
            ]
        );
    }
}
