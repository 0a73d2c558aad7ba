//! Text of a client's, a plugin's or another server's choice stays where it was put: no line of a
//! reply, a header section, a log or a configuration begins because of it, and no terminal obeys it.

// What clients say.
mod clients;
// What Perl plugins say.
mod perl;
// What native plugins say.
mod plugins;

/// What ends lines somewhere, starts something, or steers a terminal.
const HOSTILE: [&str; 16] = [
    "a\nb",
    "a\r\nb",
    "a\rb",
    "a\n\nb",
    "a\r\n\r\nb",
    "a\r\n.\r\nb",
    "a\0b",
    "a\tb",
    "a\x07\x08\x0b\x0cb",
    "a\x1b[2J\x1b]0;title\x07b",
    "a\x7fb",
    "a\u{85}b",
    "a\u{9b}2Jb",
    "a\u{2028}b\u{2029}c",
    "a\u{202e}b\u{2066}c",
    "\r\n250 OK\r\nX-Evil: yes\r\n\r\nevil",
];

/// Each line is one of a reply, and says nothing to a terminal.
fn check_replies(answers: &str) {
    assert!(answers.ends_with("\r\n"), "{answers:?}");
    for line in answers.split_terminator("\r\n") {
        assert!(!line.contains(char::is_control), "{line:?} in {answers:?}");
        let (code, rest) = line.split_at_checked(3).unwrap_or_else(|| panic!("{answers:?}"));
        assert!(code.bytes().all(|octet| octet.is_ascii_digit()), "{answers:?}");
        assert!(rest.starts_with([' ', '-']), "{answers:?}");
    }
}

/// Nothing in a log ends a line but the end of an entry, and nothing steers a terminal.  A tab does
/// neither.
fn check_log(log: &str) {
    let is_bad = |c: char| {
        c.is_control() && !"\t\n".contains(c)
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let bad = log.lines().find(|line| line.contains(is_bad));
    assert_eq!(bad, None);
}

/// The names of the fields, and that nothing else is in the header section; lines end in `end`.
fn field_names(message: &str, end: &str) -> Vec<String> {
    let (header, _) = message.split_once(&end.repeat(2)).expect("a header section");
    let fields = header.split(end).filter(|line| !line.starts_with([' ', '\t']));
    let name = |line: &str| {
        let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} in {message:?}"));
        assert!(name.bytes().all(|octet| octet.is_ascii_graphic()), "{message:?}");
        name.to_owned()
    };
    for line in header.split(end) {
        assert!(!line.trim().is_empty(), "a line of blanks in {message:?}");
        assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{line:?} in {message:?}");
    }
    fields.map(name).collect()
}
