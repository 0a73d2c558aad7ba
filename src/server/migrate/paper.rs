//! The text that people get, in lines of 80 columns, and the list of what has to be done.

use std::fmt;

use crate::server::console::wrapped;

/// How wide the text is: what goes into a mail and on an old terminal.
const WIDTH: usize = 80;

/// A text that grows part by part.
pub(super) struct Paper {
    text: String,
    steps: Vec<String>,
}

impl Paper {
    pub(super) fn new() -> Paper {
        Paper { text: String::new(), steps: vec![] }
    }

    /// A line that is not broken, as it has paths.
    pub(super) fn line(&mut self, line: &str) {
        self.text += line.trim_end();
        self.text.push('\n');
    }

    pub(super) fn heading(&mut self, name: &str) {
        self.line("");
        self.line(name);
    }

    /// `name` in a column of that width, and what is said of it beside.
    pub(super) fn row(&mut self, name: &str, width: usize, text: &str) {
        let indent = width + 4;
        let name = format!("  {name:<width$}  ");
        let room = WIDTH.saturating_sub(name.chars().count());
        for (at, line) in wrapped(text, room).iter().enumerate() {
            match at {
                0 => self.line(&format!("{name}{line}")),
                _ => self.line(&format!("{:indent$}{line}", "")),
            }
        }
    }

    /// What is said of the row above.
    pub(super) fn below(&mut self, indent: usize, text: &str) {
        for line in wrapped(text, WIDTH.saturating_sub(indent)) {
            self.line(&format!("{:indent$}{line}", ""));
        }
    }

    /// A command that can be copied: a line that goes on ends with a backslash, and begins with an option.
    pub(super) fn command(&mut self, words: &[&str]) {
        let mut line = String::from("   ");
        for (at, word) in words.iter().enumerate() {
            let value =
                words.get(at + 1).filter(|next| word.starts_with('-') && !next.starts_with('-'));
            let length = line.len() + 1 + word.len() + value.map_or(0, |value| value.len() + 1);
            if length > WIDTH - 2 && line.trim() != "" {
                self.line(&format!("{line} \\"));
                line = String::from("     ");
            }
            line.push(' ');
            line += word;
        }
        self.line(&line);
    }

    /// Something at `place` has to be done: says so below a row, and puts it on the list.
    pub(super) fn demand(&mut self, indent: usize, place: &str, text: &str) {
        let step = self.step(&format!("{place}: {text}"));
        self.below(indent, &format!("to do {step}: {text}"));
    }

    /// Something has to be done: its number in the list at the end.
    pub(super) fn step(&mut self, text: &str) -> usize {
        let text = sentence(text);
        match self.steps.iter().position(|known| *known == text) {
            Some(at) => at + 1,
            None => {
                self.steps.push(text);
                self.steps.len()
            }
        }
    }

    /// Is there nothing to be done?
    pub(super) fn is_ready(&self) -> bool {
        self.steps.is_empty()
    }
}

impl fmt::Display for Paper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        writeln!(f, "\nTo do")?;
        for (at, step) in self.steps.iter().enumerate() {
            for (line, text) in wrapped(step, WIDTH - 6).iter().enumerate() {
                match line {
                    0 => writeln!(f, "{:>4}. {text}", at + 1)?,
                    _ => writeln!(f, "      {text}")?,
                }
            }
        }
        match self.steps.len() {
            0 => {
                writeln!(f, "  nothing\n\nReady: qpsmtpd can be started with this configuration.")
            }
            1 => writeln!(f, "\nNot ready: 1 thing to do."),
            many => writeln!(f, "\nNot ready: {many} things to do."),
        }
    }
}

/// The text with a full stop.
fn sentence(text: &str) -> String {
    match text.ends_with(['.', '?', '!']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_and_a_step_stands_once() {
        let mut paper = Paper::new();
        paper.heading("plugins");
        paper.row("   1  name", 12, &"word ".repeat(40));
        paper.row("a name that is wide", 4, "text");
        assert_eq!((paper.step("do it"), paper.step("and that."), paper.step("do it")), (1, 2, 1));
        let text = paper.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("\n  a name that is wide  text\n"), "{text}");
        assert!(
            text.ends_with("To do\n   1. do it.\n   2. and that.\n\nNot ready: 2 things to do.\n")
        );
    }

    #[test]
    fn nothing_to_do_is_said() {
        let text = Paper::new().to_string();
        assert!(text.contains("  nothing\n\nReady"), "{text}");
    }
}
