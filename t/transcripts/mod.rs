//! Dialogues: each file transcripts/*.txt is played against the three process models.
//!
//! A file tells one behaviour. Its head says how the server is configured, each session below is
//! one connection:
//!
//! ```text
//! # A comment: a line that begins with a hash.
//! models: inetd prefork              the process models to play it against; all, when left out
//! config databytes: 0                a configuration file; {work} is the temporary folder
//! config badmailfrom:                ... or with its text below, four blanks deep
//!     bad@example.net
//! plugins:                           short for `config plugins:`
//!     badmailfrom
//!     rcpt_ok
//!
//! == what this session shows
//! @ehlo                              a shorthand; `script.rs` has the list
//! > MAIL FROM:<bad@example.net>      sends the line with CRLF
//! >> NOOP\nNOOP\r\n                  sends bytes; \r \n \t \0 \\ and \x00 are escapes
//! >*200 text                         sends the line 200 times
//! < 550 text                         the next line of the server, whatever enhanced status code
//!                                    (RFC 2034) it has, in front or as (#5.7.1) at the end
//! <= 250 2.1.0 text                  the next line, exactly
//! <~ 250 Queued! .*                  a regular expression for the whole line, without that code
//! <* 250 PIPELINING, !AUTH.*         the rest of the reply: regular expressions for the texts of
//!                                    lines that it has, and with ! of lines that it has not, in
//!                                    any order; `<* 250` takes what comes
//! ! closed                           the server closes the connection
//! log: text                          the server's log comes to say this
//! mail: 1                            so many messages were delivered by this session; 0, when
//!                                    left out
//! header: Received: from .*          a regular expression for a line of some delivered header
//! body:                              a delivered message has this body
//!     body line
//! ```
//!
//! A run of `>` lines is one write, which is how a client pipelines. After the last session the
//! server is stopped; it has to end with status 0 and leave no process and no spool file.

mod play;
mod script;
mod want;

use std::fmt::Write;
use std::path::Path;

use crate::harness::Model;
use script::Script;

#[test]
fn inetd() {
    play_all(Model::Inetd);
}

#[test]
fn forkserver() {
    play_all(Model::Forkserver);
}

#[test]
fn prefork() {
    play_all(Model::Prefork);
}

/// Plays every file that is for this model, and fails with the story of each that went wrong.
fn play_all(model: Model) {
    let mut played = 0;
    let mut failures = String::new();
    for (name, text) in files() {
        let script = Script::parse(&text).unwrap_or_else(|why| panic!("{name}:{why}"));
        if script.models.contains(&model) {
            played += 1;
            if let Err(failure) = play::play(&script, model) {
                writeln!(failures, "{name}:{failure}").unwrap();
            }
        }
    }
    assert!(played > 0, "there is no transcript for {model}");
    assert!(failures.is_empty(), "{played} transcripts under {model}; failed are\n{failures}");
}

/// The names and texts of the files, in order of their names.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/transcripts");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = paths.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let mut files: Vec<_> = texts
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (format!("t/transcripts/{}", path.file_name().unwrap().display()), text)
        })
        .collect();
    files.sort();
    files
}
