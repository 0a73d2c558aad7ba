//! ```text
//! NAME
//!     help - answers HELP with texts of your own
//!
//! SYNOPSIS
//!     help
//!     help [help_dir FOLDER] [COMMAND FILE ...]
//!     help not_implemented 1
//!
//! DESCRIPTION
//!     Answers "HELP COMMAND" with the text of a file, and HELP alone with "Try 'HELP COMMAND' for
//!     getting help on COMMAND".  If there is no file the answer is "No help available for SMTP
//!     command: COMMAND".  A COMMAND with other characters than letters, digits and _ is answered
//!     502 "Invalid command name".
//!
//!     Each instance has its own files; all instances of the Perl plugin of the same name share
//!     them.
//!
//! ARGUMENTS
//!     help_dir FOLDER     the folder with the files, which are named as the commands in lower case;
//!                         ./help/ if there are no arguments
//!     COMMAND FILE        the file for a command: a path with a slash in it, or a name in the
//!                         folder of help_dir, or in ./help/ if there is no help_dir.  A file that
//!                         does not exist is reported in the log at the start, and ignored.
//!     not_implemented 1   answer 502 "Not implemented." and nothing else
//!
//!     The names of folders and files may have letters, digits, and _ . - / ~ in them.
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::hook::{Args, DONE, Hooks, Session, Verdict};
use crate::log::Level;

const FOLDER: &str = "./help/";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let files = Files::from_args(hooks, args)?;
    hooks.help(move |session, words| {
        if files.none {
            session.respond(502, "Not implemented.");
            return DONE;
        }
        let Some(command) = words.first() else {
            return Verdict::ok("Try 'HELP COMMAND' for getting help on COMMAND");
        };
        if !is_word(command) {
            session.respond(502, "Invalid command name");
            return DONE;
        }
        let command = command.to_ascii_lowercase();
        let text = files.text(session, &command).filter(|text| !text.trim().is_empty());
        Verdict::ok(
            text.unwrap_or_else(|| format!("No help available for SMTP command: {command}")),
        )
    });
    Ok(())
}

/// Where the texts are.
#[derive(Default)]
struct Files {
    none: bool,
    folder: Option<PathBuf>,
    of_commands: HashMap<String, PathBuf>,
}

impl Files {
    fn from_args(hooks: &mut Hooks, args: &Args) -> Result<Files> {
        let words = args.positional();
        let mut files = Files::default();
        let folder = args.named("help_dir").or(words.is_empty().then_some(FOLDER));
        files.folder = folder.map(|folder| hooks.config().expand(folder));
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(Error::new(format!("argument {} has no value", pair[0])));
            };
            if !is_word(name) {
                return Err(Error::new(format!("not a command: '{name}'")));
            }
            if name.eq_ignore_ascii_case("not_implemented") {
                files.none = args.flag("not_implemented", false)?;
                continue;
            }
            let in_path = |c: char| c.is_ascii_alphanumeric() || "_.-/~".contains(c);
            if !value.chars().all(in_path) {
                return Err(Error::new(format!("character in the path for {name}: '{value}'")));
            }
            if name.eq_ignore_ascii_case("help_dir") {
                continue;
            }
            let path = hooks.config().expand(value);
            let path = match &files.folder {
                _ if value.contains('/') => path,
                Some(folder) => folder.join(path),
                None => PathBuf::from(FOLDER).join(path),
            };
            if path.is_file() {
                files.of_commands.insert(name.to_ascii_lowercase(), path);
            } else {
                let path = path.display();
                hooks.log(Level::Warn, format_args!("No help file for command '{name}': {path}"));
            }
        }
        Ok(files)
    }

    fn text(&self, session: &Session, command: &str) -> Option<String> {
        let in_folder = || self.folder.as_ref().map(|folder| folder.join(command));
        let path = self.of_commands.get(command).cloned().or_else(in_folder)?;
        if !path.is_file() {
            return None;
        }
        match fs::read(&path) {
            Ok(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            Err(error) => {
                let text = format_args!("failed to open help file for {command}: {error}");
                session.log(Level::Error, text);
                None
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{Call, Hook};
    use crate::testing::Trial;

    const FILES: [(&str, &str); 3] = [
        ("mail", "MAIL FROM:<path>\nsays who it is from\n"),
        ("hints", "Be brief.\n"),
        ("noop", "\n"),
    ];

    fn help(trial: &mut Trial, words: &[&str]) -> String {
        let verdict = trial.call(Hook::Help, &Call::Words("help", words));
        assert_eq!(verdict.code(), crate::hook::Code::Ok);
        verdict.text().to_owned()
    }

    fn refused(trial: &mut Trial, words: &[&str]) -> Vec<(u16, String)> {
        let outcome = trial.session.ask(Hook::Help, &Call::Words("help", words));
        assert_eq!(outcome.verdict.unwrap(), DONE);
        outcome.said.map_or(vec![], |said| said.replies)
    }

    #[test]
    fn texts_come_from_the_folder() {
        let mut trial = Trial::new("help help_dir {dir}/config", &FILES);
        assert_eq!(help(&mut trial, &[]), "Try 'HELP COMMAND' for getting help on COMMAND");
        assert_eq!(help(&mut trial, &["MAIL", "x"]), FILES[0].1);
        for (word, command) in [("RCPT", "rcpt"), ("noop", "noop")] {
            let text = format!("No help available for SMTP command: {command}");
            assert_eq!(help(&mut trial, &[word]), text);
        }
    }

    #[test]
    fn commands_can_have_files() {
        for arguments in [
            "Rcpt {dir}/config/hints",
            "help_dir ~/config rcpt hints",
            "rcpt hints help_dir ~/config",
        ] {
            let mut trial = Trial::new(&format!("help {arguments}"), &FILES);
            assert_eq!(help(&mut trial, &["RCPT"]), "Be brief.\n", "{arguments}");
            let has_folder = arguments.contains("help_dir");
            assert_eq!(help(&mut trial, &["mail"]) == FILES[0].1, has_folder, "{arguments}");
        }
        let trial = Trial::new("help rcpt {dir}/config/none", &FILES);
        assert!(trial.log().contains("help: No help file for command 'rcpt': "), "{}", trial.log());
    }

    #[test]
    fn nobody_gets_out_of_the_folder() {
        let mut trial = Trial::new("help help_dir {dir}/config", &FILES);
        for word in ["../config/mail", "..", ".", "/etc/passwd", "m\u{e4}il"] {
            assert_eq!(refused(&mut trial, &[word]), [(502, "Invalid command name".into())]);
        }
        assert!(trial.session.responses().is_empty());
    }

    #[test]
    fn it_may_be_left_out() {
        let mut trial = Trial::new("help not_implemented 1", &FILES);
        assert_eq!(refused(&mut trial, &["mail"]), [(502, "Not implemented.".into())]);
        let mut trial = Trial::new("help not_implemented 0 help_dir {dir}/config", &FILES);
        assert_eq!(help(&mut trial, &["mail"]), FILES[0].1);
    }

    #[test]
    fn arguments_without_meaning_are_errors() {
        for arguments in ["mail", "ma-il file", "mail a;b", "help_dir a|b"] {
            assert!(Trial::load(&format!("help {arguments}"), &[]).is_err(), "{arguments}");
        }
    }
}
