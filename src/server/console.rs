//! What is said to the person who started the program.

use std::env;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};

use terminal_size::{Width, terminal_size};

use crate::cli::WIDEST;
use crate::log::clean;

/// The narrowest column of text beside names.
const NARROWEST: usize = 20;

/// Writes an answer to standard output.
pub(super) fn say(text: &str) {
    let mut out = stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub(super) fn warn(line: impl Display) {
    let line = tame(&line.to_string());
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// The text with control characters made visible, but for ends of lines: what configuration files and
/// plugins say may come from elsewhere, and must not steer the terminal.
pub(super) fn tame(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// How wide text is to be, by the rule of `--help`: as the terminal, else as COLUMNS says, and not
/// wider than [`WIDEST`].
pub(super) fn columns() -> usize {
    let of_terminal = || terminal_size().map(|(Width(columns), _)| columns.into());
    let told = || env::var("COLUMNS").ok()?.parse().ok();
    of_terminal().or_else(told).unwrap_or(WIDEST).min(WIDEST)
}

/// Names and what each of them is, in lines of at most that many `columns`; what goes on in the next
/// line stands below its beginning.
pub(super) fn listed(rows: &[(String, String)], columns: usize) -> String {
    let indent = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let width = columns.saturating_sub(indent).max(NARROWEST);
    let mut text = String::new();
    for (name, what) in rows {
        for (at, line) in wrapped(what, width).iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            text += format!("{name:<indent$}{line}").trim_end();
            text.push('\n');
        }
    }
    text
}

/// Markdown as plain text: without the marks of code, and of a link only its text.
pub(super) fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, (_, after))) =
            link.split_once("](").and_then(|(words, url)| Some((words, url.split_once(')')?)))
        else {
            break;
        };
        text.extend([before, words]);
        rest = after;
    }
    (text + rest).replace('`', "")
}

/// The words in lines of at most `width` characters, or one word.  At least one line.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_below_its_beginning() {
        let rows = [("a", "one two three four five six"), ("longer", ""), ("b", "x")];
        let rows = rows.map(|(name, what)| (name.to_owned(), what.to_owned()));
        let narrow = "a       one two three four\n        five six\nlonger\nb       x\n";
        assert_eq!(listed(&rows, 28), narrow);
        assert_eq!(listed(&rows, 1), narrow);
        assert!(listed(&rows, 35).starts_with("a       one two three four five six\n"));
        assert_eq!(listed(&[], 80), "");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(tame("a\x1b[31m:\tb\n\nü\u{9b}\n"), "a\\x1b[31m:\tb\n\nü\\x9b\n");
    }

    #[test]
    fn links_and_code_are_plain_text() {
        assert_eq!(plain("see [the page](perl.md); `a`, [b]"), "see the page; a, [b]");
        assert_eq!(plain("no `ME`"), "no ME");
    }
}
