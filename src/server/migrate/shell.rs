//! The words of a script that starts a daemon, as far as they can be known without running it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands in a script.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// The words of the command that starts qpsmtpd, with limits, tcpserver and all.
    pub(super) command: Vec<String>,
    /// The accounts whose numbers it looks up with `id -u`.
    pub(super) accounts: Vec<String>,
    /// Variables that it exports.
    pub(super) exports: Vec<String>,
    /// Its assignments.
    pub(super) values: BTreeMap<String, String>,
}

/// The programs of Perl qpsmtpd.
const PROGRAMS: [&str; 5] =
    ["qpsmtpd", "qpsmtpd-forkserver", "qpsmtpd-prefork", "qpsmtpd-async", "in.qpsmtpd"];

/// Is that word the program?  By what name?
pub(super) fn program(word: &str) -> Option<&'static str> {
    let name = word.rsplit('/').next()?;
    PROGRAMS.into_iter().find(|program| *program == name)
}

impl Script {
    /// Reads the text of a script.  Commands are not understood, but where they begin and end.
    pub(super) fn read(text: &str) -> Script {
        let mut script = Script::default();
        for line in commands(text) {
            let line = script.expand(&line);
            script.look_up(&line);
            script.assign(&line);
            let words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            if script.command.is_empty() && words.iter().any(|word| program(word).is_some()) {
                script.command = command(&words);
            }
        }
        script
    }

    /// Takes the assignments that a line begins with.  What a command prints is not known.
    fn assign(&mut self, line: &str) {
        static NAME: LazyLock<Regex> = LazyLock::new(|| {
            let value = r#""[^"]*"|'[^']*'|`[^`]*`|\$\([^)]*\)|[^\s"'`]*"#;
            Regex::new(&format!(r"^([A-Za-z_]\w*)(?:=({value}))?(?:\s+|$)")).expect("a constant")
        });
        let exported = line.strip_prefix("export ").map(str::trim_start);
        let mut rest = exported.unwrap_or(line);
        while let Some(found) = NAME.captures(rest) {
            let value = found.get(2).map(|value| value.as_str());
            if exported.is_none() && value.is_none() {
                break;
            }
            let name = found[1].to_owned();
            if exported.is_some() {
                self.exports.push(name.clone());
            }
            if let Some(value) = value.filter(|value| !value.starts_with(['`', '$'])) {
                self.values.insert(name, value.trim_matches(['"', '\'']).to_owned());
            }
            rest = &rest[found[0].len()..];
        }
    }

    /// Variables that the script sets, and defaults of others, are put in.
    fn expand(&self, line: &str) -> String {
        static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\$\{(\w+):?[-=]([^}]*)\}|\$\{(\w+)\}|\$(\w+)").expect("a constant")
        });
        let value = |found: &Captures<'_>| {
            let name = (1..=4).filter(|at| *at != 2).find_map(|at| found.get(at));
            let value = name.and_then(|name| self.values.get(name.as_str()).cloned());
            let default = found.get(2).map(|default| default.as_str().to_owned());
            value.or(default).unwrap_or_else(|| found[0].to_owned())
        };
        VARIABLE.replace_all(line, value).into_owned()
    }

    fn look_up(&mut self, line: &str) {
        static NUMBER: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\bid -u ([a-z_][\w-]*)").expect("a constant"));
        self.accounts.extend(NUMBER.captures_iter(line).map(|found| found[1].to_owned()));
    }
}

/// The commands of a text, one by one: without comments, and with lines that go on put together.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| match line.trim_start().starts_with('#') {
        true => "",
        false => line.split_once(" #").map_or(line, |(code, _)| code),
    });
    let whole = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    whole.split(['\n', ';']).map(|line| line.trim().to_owned()).collect()
}

/// The words from the command's first to its last.
fn command(words: &[&str]) -> Vec<String> {
    let at = words.iter().position(|word| program(word).is_some()).unwrap_or(0);
    let ends = |word: &str| ["&&", "||", "&", "|"].contains(&word);
    let begins = |at: &usize| {
        let is_c = words[*at] == "-c" && *at > 0 && words[*at - 1].ends_with("sh");
        ends(words[*at]) || is_c || ["exec", "then"].contains(&words[*at])
    };
    let from = (0..at).rfind(begins).map_or(0, |from| from + 1);
    let to = words[at..].iter().position(|word| ends(word)).map_or(words.len(), |to| at + to);
    let is_redirection =
        |word: &str| word.contains(">&") || word.starts_with(['<', '>']) || word == "2>";
    let kept = words[from..to].iter().filter(|word| !is_redirection(word));
    kept.skip_while(|word| is_assignment(word)).map(|word| (*word).to_owned()).collect()
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_for_a_parent() {
        let script = Script::read(
            "#!/bin/sh\nU=smtpd\nexport QPSMTPD_CONFIG=/etc/q FOO=1\nexec 2>&1 \\\nsh -c \"\n  exec \
             softlimit -m 30 \\\n perl -T ./qpsmtpd-forkserver --user $U -p ${PORT:-25} # here\n\"\n",
        );
        assert_eq!(
            script.command.join(" "),
            "softlimit -m 30 perl -T ./qpsmtpd-forkserver --user smtpd -p 25"
        );
        assert_eq!(script.exports, ["QPSMTPD_CONFIG", "FOO"]);
    }

    #[test]
    fn a_script_for_tcpserver() {
        let script = Script::read(
            "U=mail\nN=`id -u $U`\nexec tcpserver -c 9 -u $N 0 25 \\\n  ./qpsmtpd 2>&1\n# ./qpsmtpd\n",
        );
        assert_eq!(script.command.join(" "), "tcpserver -c 9 -u $N 0 25 ./qpsmtpd");
        assert_eq!(script.accounts, ["mail"]);
    }

    #[test]
    fn assignments_are_known() {
        let script = Script::read("A=\"x y\"\nB='z'\nC=$(id)\nD=1 E=2 true\n");
        let values: Vec<_> =
            script.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(values, ["A=x y", "B=z", "D=1", "E=2"]);
        assert!(script.command.is_empty() && script.exports.is_empty());
    }
}
