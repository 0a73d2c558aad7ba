//! What in a Perl plugin's file cannot work here, and which module it lacks.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::error::nearest;
use crate::hook::{Hook, TABLE};

/// Why a Perl plugin's file cannot work here, if it cannot: the client's socket is the worker's,
/// and Perl's STDIN and STDOUT are not the client.
pub fn cannot_work(file: &Path) -> Option<&'static str> {
    static SOCKET: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let regex = |text: &str| Regex::new(text).expect("these are constants, and tested");
        [
            (
                regex(r"\*STD(IN|OUT)\s*=[^=~]|start_SSL|new_from_fd\s*\(\s*(fileno|\\?\*?STDIN)"),
                "it puts another socket in the place of the client's",
            ),
            (
                regex(
                    r"<\s*STDIN\s*>|\\\*STDIN|(read|recv|readline)\s*\(\s*\*?STDIN|fileno\s*\(\s*\*?STDIN",
                ),
                "it reads from the client's socket",
            ),
            (
                regex(
                    r"Danga::|->(watch_read|watch_write|pause_read|continue_read|AddTimer)\b|\bYIELD\b",
                ),
                "it is written for the asynchronous server",
            ),
            (
                regex(r"\bsub\s+hook_(set_hooks|valid_auth)\b"),
                "it is written for hooks that only SME Server has",
            ),
        ]
    });
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let code = code_of(&text);
    SOCKET.iter().find(|(pattern, _)| pattern.is_match(&code)).map(|(_, why)| *why)
}

/// What to say of a plugin's file that has a handler, by its name, for a hook that there is not, and
/// whose name is nearly that of one.
pub fn misspelt_hook(file: &str) -> Option<String> {
    static HANDLER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\bsub\s+hook_(\w+)").expect("a constant"));
    let text = std::fs::read(file).ok()?;
    let code = code_of(&String::from_utf8_lossy(&text));
    let mut names = HANDLER.captures_iter(&code).map(|found| found[1].to_owned());
    names.find_map(|name| {
        let hooks = || TABLE.iter().map(|row| row.name);
        let meant = nearest(&name, hooks()).filter(|_| Hook::from_name(&name).is_none())?;
        let meant = meant.replace('-', "_");
        Some(format!("{file}: there is no hook '{name}', so nobody calls hook_{name}; did you mean 'hook_{meant}'?"))
    })
}

/// Perl's source without comments, POD, the text of strings, and what follows `__END__`.
///
/// It does not know all of Perl: a quote that could be something else, and is not closed in its line,
/// begins no string.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut is_pod = false;
    let mut documents: Vec<String> = vec![];
    for line in text.lines() {
        let command = line.strip_prefix('=').filter(|rest| rest.starts_with(char::is_alphabetic));
        if let Some(end) = documents.first() {
            if line.trim_start() == end {
                documents.remove(0);
            }
        } else if let Some(command) = command {
            is_pod = !command.starts_with("cut");
        } else if matches!(line.trim_end(), "__END__" | "__DATA__") {
            break;
        } else if !is_pod {
            documents.extend(here_documents(line));
            code_of_line(line, &mut code);
            code.push('\n');
        }
    }
    code
}

/// The words that end the texts which follow a line.
fn here_documents(line: &str) -> impl Iterator<Item = String> + '_ {
    static START: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"<<~?(?:"([^"]+)"|'([^']+)'|([A-Z_][A-Z0-9_]*)\b)"#).expect("a constant")
    });
    let word = |found: regex::Captures<'_>| {
        (1..4).find_map(|at| found.get(at)).map(|word| word.as_str().to_owned())
    };
    let is_comment = line.trim_start().starts_with('#');
    START.captures_iter(if is_comment { "" } else { line }).filter_map(word)
}

fn code_of_line(line: &str, code: &mut String) {
    let mut rest = line;
    let mut last = ' ';
    while let Some(first) = rest.chars().next() {
        let after_blank = last.is_whitespace() || matches!(last, ';' | '{' | '}' | '(' | ')' | ',');
        if first == '#' && after_blank {
            return;
        }
        let opens_word =
            !last.is_alphanumeric() && !matches!(last, '_' | '$' | '@' | '%' | '&' | '>');
        let string = match first {
            '"' | '\'' if !last.is_alphanumeric() && last != '$' => string_end(&rest[1..], first),
            'q' if opens_word => quoted_end(rest),
            _ => None,
        };
        let length = match string {
            Some(end) => {
                code.push_str("''");
                end + 1
            }
            None => {
                code.push(first);
                first.len_utf8()
            }
        };
        last = if string.is_some() { '\'' } else { first };
        rest = &rest[length..];
    }
}

/// Where in `text` the string ends that began with `quote`.
fn string_end(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The same for `q(...)` and `qq{...}`, where `text` begins with their names.
fn quoted_end(text: &str) -> Option<usize> {
    static QUOTE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^qq?\s*([(\[{<|!/])").expect("a constant"));
    let found = QUOTE.captures(text)?;
    let opening = found.get(1)?;
    let closing = match opening.as_str() {
        "(" => ')',
        "[" => ']',
        "{" => '}',
        "<" => '>',
        same => same.chars().next()?,
    };
    string_end(&text[opening.end()..], closing).map(|end| opening.end() + end - 1)
}

/// The Perl module that is not installed, where that is why a plugin cannot be loaded.
pub fn missing_module(why: &str) -> Option<String> {
    static MISSING: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        let regex = |text: &str| Regex::new(text).expect("these are constants, and tested");
        [regex(r"Can't locate (\S+)\.pm in @INC"), regex(r"Perl module (\S+) is not installed")]
    });
    let found = MISSING.iter().find_map(|pattern| pattern.captures(why))?;
    Some(found[1].replace('/', "::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_that_want_the_socket_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plugin");
        for (source, why) in [
            ("*STDIN = *STDOUT = $socket;", Some("puts another socket")),
            ("my $line = <STDIN>;", Some("reads from the client")),
            ("$select->add(\\*STDIN) or return DECLINED;", Some("reads from the client")),
            ("return YIELD;", Some("asynchronous")),
            ("# <STDIN>\n=pod\n\n<STDIN>\n\n=cut\nsub hook_rcpt { }\n__END__\n<STDIN>", None),
            ("open(SAVE_STDIN, \"<&STDIN\");\nif ($STDIN == 1) { print STDERR 'x' }", None),
        ] {
            std::fs::write(&file, source).unwrap();
            let found = cannot_work(&file);
            match why {
                Some(why) => assert!(found.is_some_and(|text| text.contains(why)), "{source}"),
                None => assert_eq!(found, None, "{source}"),
            }
        }
    }

    #[test]
    fn only_code_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for source in [
            "return DECLINED; # no YIELD, and <STDIN> is not read",
            "$self->log(LOGINFO, 'we do not YIELD here');",
            "$self->log(LOGINFO, \"read(STDIN)\", q{\\*STDIN}, qq(start_SSL));",
            "print $out <<EOT, 1;\n<STDIN> and YIELD\nEOT\nreturn OK;",
            "print $out <<'END';\n*STDIN = 1\nEND\n",
            "my $text = 'it\\'s a YIELD';",
            "$hash{q} = 1; # YIELD",
        ] {
            std::fs::write(&file, source).unwrap();
            assert_eq!(cannot_work(file.path()), None, "{source}");
        }
        for source in [
            "return YIELD; # 'a'",
            "my %h = (q => 1); my $x = <STDIN>;",
            "$line =~ s/don't//; my $x = <STDIN>;",
            "$#list; return YIELD",
            "print 'a', \"b\"; read(STDIN, $x, 1);",
            "print << 2; return YIELD",
        ] {
            std::fs::write(&file, source).unwrap();
            assert!(cannot_work(file.path()).is_some(), "{source}");
        }
    }

    #[test]
    fn modules_that_are_not_there_are_named() {
        let why = "x: Can't locate Some/Where.pm in @INC (you may need to install the Some::Where";
        assert_eq!(missing_module(why).as_deref(), Some("Some::Where"));
        let why = "the Perl module Net::DNS is not installed (libnet-dns-perl)";
        assert_eq!(missing_module(why).as_deref(), Some("Net::DNS"));
        assert_eq!(missing_module("syntax error"), None);
    }
}
