//! Cases: what is in `dialogues/*.txt`.  Each file has several of them:
//!
//! ```text
//! # A comment
//! == what this case shows
//! plugin: badmailfrom reject 1       a plugin line in front of rcpt_ok and queue/maildir
//! plugins: rcpt_ok                   all plugin lines
//! config badmailfrom: text           a configuration file; {work} is the folder of the case
//!     or its text below, four blanks deep
//! file NAME: text                    another file of that folder
//! program NAME: text                 the same, a program
//! answer NAME: text                  a server at that path that says this to everybody; or several
//!                                    lines WORD => TEXT, by the first word that it is told
//! dns NAME TYPE: value               a record of the one DNS server
//! env NAME: value                    a variable of the server
//! show: NAME                         compare what is in this file of the folder in the end
//! > EHLO client.test                 sends a line; one reply
//! >> MAIL FROM:<a@b>\r\nNOOP\r\n     sends bytes; as many replies as it has lines
//! @hello @mail @data @message @quit  shorthands, see SHORTHANDS
//! cram USER PASSWORD                 answers a challenge of CRAM-MD5
//! .. Subject: hi\n\nbody             sends a message, with the dot that ends it
//! again                              another session with the same files
//! ```

/// What stands for several lines.
const SHORTHANDS: [(&str, &str); 5] = [
    ("@hello", "> EHLO client.test"),
    ("@mail", "@hello\n> MAIL FROM:<a@example.net>\n> RCPT TO:<b@example.com>"),
    ("@data", "@mail\n> DATA"),
    (
        "@message",
        "@data\n.. Subject: hi\\nFrom: a@example.net\\nDate: Mon, 12 Oct 2026 12:00:00 +0000\\n\\nbody\\n..dot",
    ),
    ("@quit", "> QUIT"),
];

/// What the client sends, and how many replies that has.
pub(super) struct Step {
    pub(super) shown: String,
    pub(super) bytes: Vec<u8>,
    pub(super) replies: usize,
    /// User and password, to answer the last reply with.
    pub(super) cram_md5: Option<(String, String)>,
}

#[derive(Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) plugins: Vec<String>,
    pub(super) config: Vec<(String, String)>,
    /// Name, text.
    pub(super) files: Vec<(String, String)>,
    pub(super) programs: Vec<(String, String)>,
    pub(super) answers: Vec<(String, String)>,
    /// Name, type, value.
    pub(super) dns: Vec<(String, String, String)>,
    pub(super) env: Vec<(String, String)>,
    pub(super) shows: Vec<String>,
    pub(super) sessions: Vec<Vec<Step>>,
}

/// The cases of one file; panics at a line that cannot be read.
pub(super) fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            let plugins = vec!["rcpt_ok".into(), "queue/maildir {work}/Maildir".into()];
            let sessions = vec![vec![]];
            cases.push(Case { name: name.into(), plugins, sessions, ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("{line:?} in front of all cases"));
        if line == "again" {
            case.sessions.push(vec![]);
        } else if line.starts_with(['>', '@', '.']) || line.starts_with("cram ") {
            steps(line, case.sessions.last_mut().expect("there is one from the start"));
        } else {
            let mut value = String::new();
            let (head, rest) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
            value.push_str(rest.trim_start());
            while let Some(more) = lines.next_if(|line| line.starts_with("    ")) {
                if !value.is_empty() {
                    value.push('\n');
                }
                value.push_str(&more[4..]);
            }
            setting(case, head, value);
        }
    }
    cases
}

fn setting(case: &mut Case, head: &str, value: String) {
    let words: Vec<String> = head.split(' ').map(str::to_owned).collect();
    let name = words.get(1).cloned().unwrap_or_default();
    match words[0].as_str() {
        "plugin" => {
            let at = case.plugins.len() - 2;
            case.plugins.insert(at, value);
        }
        "plugins" => case.plugins = value.lines().map(str::to_owned).collect(),
        "config" => case.config.push((name, value)),
        "file" => case.files.push((name, value + "\n")),
        "program" => case.programs.push((name, format!("#!/bin/sh\n{value}\n"))),
        "answer" => case.answers.push((name, value)),
        "dns" => case.dns.push((name, words[2].clone(), value)),
        "env" => case.env.push((name, value)),
        "show" => case.shows.push(value),
        other => panic!("{other:?} is nothing that a case has"),
    }
}

fn steps(line: &str, out: &mut Vec<Step>) {
    if let Some((_, lines)) = SHORTHANDS.iter().find(|row| row.0 == line) {
        lines.lines().for_each(|line| steps(line, out));
        return;
    }
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    let plain = |text: &str| text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t");
    let mut cram_md5 = None;
    let (bytes, replies) = match mark {
        "cram" => {
            cram_md5 = text.split_once(' ').map(|pair| (pair.0.to_owned(), pair.1.to_owned()));
            (String::new(), 1)
        }
        ">" => (format!("{text}\r\n"), 1),
        ">>" => {
            let text = plain(text);
            let count = text.matches('\n').count();
            (text, count)
        }
        ".." => (plain(text).replace('\n', "\r\n") + "\r\n.\r\n", 1),
        _ => panic!("{line:?} is nothing that a client sends"),
    };
    out.push(Step { shown: text.to_owned(), bytes: bytes.into_bytes(), replies, cram_md5 });
}
