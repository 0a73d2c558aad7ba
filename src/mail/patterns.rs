//! Lists of unwelcome addresses, each line with a reason: what badmailfrom and badrcptto share.
//!
//! A line is an address, an `@host`, or a regular expression, and then perhaps blanks and a reason.
//! It is a regular expression if it has one of the characters `/ ^ $ * + ! % ? \`.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

use crate::config::Lines;
use crate::error::{Error, Result};
use crate::mail::entries;
use crate::mail::{Address, host};

/// The characters that make a line a regular expression.
const SPECIAL: [char; 9] = ['/', '^', '$', '*', '+', '!', '%', '?', '\\'];

/// One line of the list.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The address, host or pattern as it was written.
    pub(crate) bad: String,
    /// The reason; empty where the line has none.
    pub(crate) reason: String,
}

/// A list, ready to be searched.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    entries: Vec<Entry>,
    /// An address or `@host` as it is looked up, and the first entry that is it.
    words: HashMap<String, usize>,
    /// Regular expressions with their entries, in order.
    regexes: Vec<(usize, Regex)>,
}

impl Patterns {
    /// Reads the lines; one that is no address and no regular expression is a problem.
    pub(crate) fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Patterns {
        let mut list = Patterns::default();
        lines.read_each(problems, |line| {
            let (bad, reason) = line.word_and_rest();
            let at = list.entries.len();
            if bad.contains(SPECIAL) {
                list.regexes.push((at, compile(bad)?));
            } else {
                list.words.entry(entries::address_or_at_host(bad)?).or_insert(at);
            }
            list.entries.push(Entry { bad: bad.to_owned(), reason: reason.trim().to_owned() });
            Ok::<_, Error>(())
        });
        list
    }

    /// Is there no usable line?
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first entry that is the address or its host, or matches the address.
    pub(crate) fn find(&self, address: &Address) -> Option<&Entry> {
        let key = address.key();
        let host = key.rfind('@').map_or("", |at| &key[at..]);
        let word = [&key, host].iter().filter_map(|word| self.words.get(*word)).min().copied();
        let before = |(at, _): &&(usize, Regex)| word.is_none_or(|word| *at < word);
        let mut regexes = self.regexes.iter().take_while(before);
        let spellings = spellings(address);
        let regex = regexes.find(|(_, regex)| fits(regex, &spellings)).map(|(at, _)| *at);
        self.entries.get(regex.or(word)?)
    }
}

/// A regular expression in which case does not matter.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern).case_insensitive(true).build().map_err(|error| {
        Error::new(format!("pattern '{pattern}' does not compile: {}", last_line(&error)))
    })
}

/// `user@host` in lower case as regular expressions see it: with the host in A-labels and, where
/// that differs, in U-labels.
pub(crate) fn spellings(address: &Address) -> [Option<String>; 2] {
    let key = address.key();
    let unicode = key
        .contains("xn--")
        .then(|| format!("{}@{}", address.user().to_lowercase(), host::unicode(address.host())));
    [Some(key), unicode]
}

/// Does the expression match one of the spellings?
pub(crate) fn fits(regex: &Regex, spellings: &[Option<String>]) -> bool {
    spellings.iter().flatten().any(|spelling| regex.is_match(spelling))
}

/// Has the address a local part and a host?  The null reverse-path and `postmaster` have not.
pub(crate) fn is_whole(address: &Address) -> bool {
    !address.user().is_empty() && !address.host().is_empty()
}

/// What is wrong with a pattern; the lines above it only show the pattern again.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> (Patterns, Vec<String>) {
        let mut problems = vec![];
        let lines = lines.iter().map(|line| line.to_string()).collect();
        let list = Patterns::parse(&Lines::from_values(lines), &mut problems);
        (list, problems.iter().map(Error::to_string).collect())
    }

    fn found<'a>(list: &'a Patterns, user: &str, host: &str) -> Option<&'a str> {
        list.find(&Address::new(user, host)).map(|entry| entry.bad.as_str())
    }

    #[test]
    fn addresses_hosts_and_patterns_are_found_without_regard_to_case() {
        let (list, problems) =
            parse(&["Bad@Example.NET", "@Evil.test", r"^RETURN.*@.*\.Verp\.test$", r"\+tag@", "%"]);
        assert_eq!(problems, [""; 0]);
        for (user, host, entry) in [
            ("bad", "example.net", Some("Bad@Example.NET")),
            ("BAD", "EXAMPLE.NET", Some("Bad@Example.NET")),
            ("xbad", "example.net", None),
            ("anybody", "evil.test", Some("@Evil.test")),
            ("anybody", "sub.evil.test", None),
            ("odd@evil.test", "good.test", None),
            ("return-1", "a.verp.test", Some(r"^RETURN.*@.*\.Verp\.test$")),
            ("no-return", "a.verp.test", None),
            ("a+tag", "good.test", Some(r"\+tag@")),
            ("a%b", "good.test", Some("%")),
            ("a", "good.test", None),
        ] {
            assert_eq!(found(&list, user, host), entry, "{user} at {host}");
        }
    }

    #[test]
    fn hosts_have_several_spellings() {
        let lines = ["@b\u{fc}cher.example", "a@xn--mller-kva.example", "@dot.test."];
        for line in lines.iter().chain(&[r"@b\u{fc}cher\.example$", r"@xn--bcher-kva\.example$"]) {
            let (list, problems) = parse(&[line]);
            assert_eq!(problems, [""; 0]);
            let found =
                ["b\u{fc}cher.example", "XN--BCHER-KVA.example", "m\u{fc}ller.example", "DOT.test"]
                    .map(|host| found(&list, "a", host).is_some());
            let wanted = match *line {
                "a@xn--mller-kva.example" => [false, false, true, false],
                "@dot.test." => [false, false, false, true],
                _ => [true, true, false, false],
            };
            assert_eq!(found, wanted, "{line}");
        }
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let (list, _) =
            parse(&["^a@ one", "a@x.test two", "@x.test three", "b@x.test four", "x. five"]);
        let reason = |user| &list.find(&Address::new(user, "x.test")).unwrap().reason;
        assert_eq!(reason("a"), "one");
        assert_eq!(reason("b"), "three");
        let (list, _) = parse(&["a@x.test first", "a@x.test second", "^a"]);
        assert_eq!(list.find(&Address::new("a", "x.test")).unwrap().reason, "first");
    }

    #[test]
    fn a_slash_is_part_of_the_pattern() {
        let (list, _) = parse(&["a/b@"]);
        assert_eq!(found(&list, "a/b", "x.test"), Some("a/b@"));
        assert_eq!(found(&list, "ab", "x.test"), None);
    }

    #[test]
    fn what_cannot_be_used_is_a_problem_with_its_place() {
        let (list, problems) =
            parse(&["nobody", "a(^b", "^(?!good)", r"^(.)\1", "b@x.test\t too bad "]);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "config hook:1: no @ sign in 'nobody' (@nobody means the host)");
        assert_eq!(problems[1], "config hook:2: pattern 'a(^b' does not compile: unclosed group");
        assert!(problems[2].starts_with("config hook:3: ") && problems[2].contains("look-around"));
        assert!(problems[3].contains("backreferences are not supported"), "{}", problems[3]);
        assert!(!list.is_empty());
        assert_eq!(list.find(&Address::new("b", "x.test")).unwrap().reason, "too bad");
        assert!(parse(&["nobody"]).0.is_empty());
    }

    #[test]
    fn whole_addresses_have_two_parts() {
        assert!(is_whole(&Address::new("a", "b.test")));
        assert!(!is_whole(&Address::null()) && !is_whole(&Address::new("postmaster", "")));
    }
}
