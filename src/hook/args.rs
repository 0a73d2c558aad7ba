//! The arguments of a plugin: the words after its name in `config/plugins`.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Error, meant};
use crate::settings::yes_or_no;

/// Arguments that mean the same for every plugin; each is followed by its value.
pub(crate) const UNIVERSAL: [&str; 5] =
    ["loglevel", "reject", "reject_type", "timeout", "on_error"];

/// The words after a plugin's name.
///
/// A plugin reads them by position, `queue/maildir ~/Maildir`, or by name, `earlytalker wait 2`.
/// The universal arguments (`loglevel`, `reject`, `reject_type`, `timeout`, `on_error`) are
/// handled by the core and do not count as positions.
#[derive(Debug, Clone, Default)]
pub struct Args {
    words: Vec<String>,
}

impl Args {
    /// The arguments in `words`.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Args {
        Args { words: words.into_iter().map(Into::into).collect() }
    }

    /// All words as they stand in the file.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Are there none at all?
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words that are not part of a universal argument, in order.
    pub fn positional(&self) -> Vec<&str> {
        let mut rest = self.words.iter().map(String::as_str);
        let mut found = vec![];
        while let Some(word) = rest.next() {
            if is_universal(word) {
                rest.next();
            } else {
                found.push(word);
            }
        }
        found
    }

    /// The universal argument that is the last word, so that no value follows.
    pub(crate) fn lacks_value(&self) -> Option<&'static str> {
        let mut rest = self.words.iter();
        while let Some(word) = rest.next() {
            let name = UNIVERSAL.iter().find(|name| name.eq_ignore_ascii_case(word));
            if name.is_some() && rest.next().is_none() {
                return name.copied();
            }
        }
        None
    }

    /// The word at `position` of [`Args::positional`].
    pub fn get(&self, position: usize) -> Option<&str> {
        self.positional().get(position).copied()
    }

    /// The word at `position`, or an error that says what should stand there.
    ///
    /// # Errors
    /// There is no such word.
    pub fn required(&self, position: usize, what: &str) -> Result<&str, Error> {
        self.get(position).ok_or_else(|| Error::new(format!("argument missing: {what}")))
    }

    /// The value after `name`; names do not depend on case.  The last one counts.
    pub fn named(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().rposition(|word| word.eq_ignore_ascii_case(name))?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// Do they say that what cannot be decided is put off?  For plugins that let it through where the
    /// universal argument `on_error` is not given.
    pub(crate) fn fail_closed(&self) -> bool {
        self.named("on_error").is_some_and(|word| word.eq_ignore_ascii_case("tempfail"))
    }

    /// All values of a name that may be given more than once.
    pub fn all_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.words.windows(2);
        pairs.filter(move |pair| pair[0].eq_ignore_ascii_case(name)).map(|pair| pair[1].as_str())
    }

    /// The value after `name` as a number or other readable type, or `default`.
    ///
    /// # Errors
    /// There is a value that cannot be read.
    pub fn parsed<T>(&self, name: &str, default: T) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: Display,
    {
        read(name, self.named(name), default)
    }

    /// The word at `position` as a number or other readable type, or `default`.
    ///
    /// # Errors
    /// There is a word that cannot be read.
    pub fn parsed_at<T>(&self, position: usize, default: T) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: Display,
    {
        read(&(position + 1).to_string(), self.get(position), default)
    }

    /// The value after `name` as yes or no, or `default`: 1, yes, on and true, or 0, no, off and false;
    /// any number but 0 is yes, as in Perl.
    ///
    /// # Errors
    /// Any other word.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        let Some(word) = self.named(name) else { return Ok(default) };
        truth(word).ok_or_else(|| Error::value(name, word, "0, 1"))
    }

    /// What the word after `name` stands for, or `default`.  Words do not depend on case.
    ///
    /// # Errors
    /// A word that is not among those of `known`.
    pub fn one_of<T: Clone>(
        &self,
        name: &str,
        known: &[(&str, T)],
        default: T,
    ) -> Result<T, Error> {
        let Some(word) = self.named(name) else { return Ok(default) };
        let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            Error::not_one_of(name, word, &known)
        })
    }

    /// Takes out the word `name`, which has no value; true where it was there.
    pub fn take_flag(&mut self, name: &str) -> bool {
        let count = self.words.len();
        let mut is_value = false;
        self.words.retain(|word| {
            let is_flag = !is_value && word.eq_ignore_ascii_case(name);
            is_value = !is_value && is_universal(word);
            !is_flag
        });
        self.words.len() < count
    }

    /// Takes out `name` with its value.  The last one counts.
    ///
    /// # Errors
    /// There is no word after `name`.
    pub fn take_named(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut found = None;
        while let Some(at) = self.words.iter().position(|word| word.eq_ignore_ascii_case(name)) {
            if at + 1 == self.words.len() {
                return Err(Error::new(format!("argument {name} has no value")));
            }
            found = self.words.drain(at..=at + 1).next_back();
        }
        Ok(found)
    }

    /// Takes out `name` with its value, and reads the value as [`Args::parsed`] does: for plugins that
    /// have positional words, too.
    ///
    /// # Errors
    /// There is no word after `name`, or one that cannot be read.
    pub fn take_parsed<T>(&mut self, name: &str, default: T) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: Display,
    {
        read(name, self.take_named(name)?.as_deref(), default)
    }

    /// The positional words as names with values, each of which must be one of `known`.
    ///
    /// # Errors
    /// All names that are not known, or one without a value.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        // All plugins have the universal ones.
        let more = UNIVERSAL.iter().filter(|name| !known.contains(name));
        let all: Vec<&str> = known.iter().chain(more).copied().collect();
        let fault = |pair: &[&str]| {
            let name = pair[0];
            if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Some(Error::unknown("argument", name, &all));
            }
            (pair.len() == 1).then(|| Error::new(format!("argument {name} has no value")))
        };
        let errors = self.positional().chunks(2).filter_map(fault).collect();
        Error::all(errors).map_or(Ok(()), Err)
    }

    /// An error where there are more than `most` positional words.
    ///
    /// # Errors
    /// There are more.
    pub fn at_most(&self, most: usize) -> Result<(), Error> {
        match self.positional().get(most) {
            Some(word) => {
                let meant = meant(word, UNIVERSAL);
                Err(Error::new(format!("unexpected argument '{word}'{meant}")))
            }
            None => Ok(()),
        }
    }
}

fn is_universal(word: &str) -> bool {
    UNIVERSAL.iter().any(|name| name.eq_ignore_ascii_case(word))
}

fn read<T>(name: &str, text: Option<&str>, default: T) -> Result<T, Error>
where
    T: FromStr,
    T::Err: Display,
{
    let Some(text) = text else { return Ok(default) };
    text.parse().map_err(|why: T::Err| match why.to_string().as_str() {
        // What the standard library says of numbers is for programmers.
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            Error::value(name, text, "a whole number")
        }
        why => Error::new(format!("argument {name} has the value '{text}': {why}")),
    })
}

/// Yes or no as an argument says it.  Perl takes every number but 0 for yes; what it takes 0.0 for is
/// not what that means.
pub(crate) fn truth(word: &str) -> Option<bool> {
    let is_number = |number: &f64| number.is_finite() && *number != 0.0;
    yes_or_no(word).or_else(|| word.parse().ok().filter(is_number).map(|_| true))
}

/// Yes or no as arguments and files of plugins say it: what is not no is yes.
pub(crate) fn is_yes(text: &str) -> bool {
    !text.is_empty() && yes_or_no(text) != Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace())
    }

    #[test]
    fn universal_arguments_are_no_positions() {
        let args = args("loglevel +1 ~/Maildir timeout 30 %d/%l 770");
        assert_eq!(args.positional(), ["~/Maildir", "%d/%l", "770"]);
        assert_eq!(args.get(1), Some("%d/%l"));
        assert_eq!(args.named("timeout"), Some("30"));
        assert!(args.at_most(3).is_ok());
        assert_eq!(args.at_most(2).unwrap_err().to_string(), "unexpected argument '770'");
    }

    #[test]
    fn named_values_are_read_and_checked() {
        let args = args("wait 2 check-at CONNECT check-at DATA only 1");
        assert_eq!(args.parsed("wait", 1u32), Ok(2));
        assert_eq!(args.parsed("absent", 7u32), Ok(7));
        assert_eq!(args.all_named("check-at").collect::<Vec<_>>(), ["CONNECT", "DATA"]);
        assert_eq!(args.flag("only", false), Ok(true));
        assert_eq!(args.flag("absent", true), Ok(true));
        assert_eq!(args.flag("wait", false), Ok(true));
        assert_eq!(
            args.flag("check-at", true).unwrap_err().to_string(),
            "argument check-at has the value 'DATA' (expected: 0, 1)"
        );
        assert_eq!(
            args.parsed("check-at", 0u32).unwrap_err().to_string(),
            "argument check-at has the value 'DATA' (expected: a whole number)"
        );
        assert!(args.only(&["wait", "check-at", "only"]).is_ok());
        let unknown = Args::new(["chek-at", "DATA", "rejct", "1", "wait", "1", "wai", "2"]);
        let errors = unknown.only(&["wait", "check-at"]).unwrap_err().to_string();
        let errors: Vec<&str> =
            errors.lines().map(|line| line.split(" (").next().unwrap()).collect();
        assert_eq!(
            errors,
            [
                "unknown argument 'chek-at'; did you mean 'check-at'?",
                "unknown argument 'rejct'; did you mean 'reject'?",
                "unknown argument 'wai'; did you mean 'wait'?",
            ]
        );
        let error = args.only(&["wait", "reject"]).unwrap_err().to_string();
        assert!(error.starts_with("unknown argument 'check-at' (known: wait, reject, loglevel, "));
    }

    #[test]
    fn positions_are_read_and_checked() {
        let args = args("timeout 30 qmqp.example 629");
        assert_eq!(args.parsed_at(1, 628u16), Ok(629));
        assert_eq!(args.parsed_at(2, 628u16), Ok(628));
        assert_eq!(
            args.parsed_at(0, 628u16).unwrap_err().to_string(),
            "argument 1 has the value 'qmqp.example' (expected: a whole number)"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = args("").required(0, "the folder").unwrap_err();
        assert_eq!(error.to_string(), "argument missing: the folder");
        assert!(args("wait").only(&["wait"]).unwrap_err().to_string().contains("no value"));
    }

    #[test]
    fn one_of_some_words_is_read_and_others_are_named() {
        let known = [("lenient", 0), ("strict", 2)];
        assert_eq!(args("policy STRICT").one_of("policy", &known, 0), Ok(2));
        assert_eq!(args("").one_of("policy", &known, 7), Ok(7));
        assert_eq!(
            args("policy lax").one_of("policy", &known, 0).unwrap_err().to_string(),
            "argument policy has the value 'lax' (expected: lenient, strict)"
        );
        let near = args("policy srtict").one_of("policy", &known, 0).unwrap_err().to_string();
        assert!(near.ends_with("(expected: lenient, strict); did you mean 'strict'?"), "{near}");
        let near = args("loglevle 3").at_most(0).unwrap_err().to_string();
        assert_eq!(near, "unexpected argument 'loglevle'; did you mean 'loglevel'?");
    }

    #[test]
    fn a_number_that_is_not_0_is_yes() {
        for (word, expected) in [
            ("1", Some(true)),
            ("12", Some(true)),
            ("0.5", Some(true)),
            ("-1", Some(true)),
            ("YES", Some(true)),
            ("0", Some(false)),
            ("off", Some(false)),
            ("0.0", None),
            ("00", None),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
            ("", None),
            ("maybe", None),
        ] {
            assert_eq!(truth(word), expected, "{word}");
        }
    }

    #[test]
    fn flags_and_names_are_taken_out() {
        let mut args = args("server DSN reject dsn format text tls must format json dsn");
        assert!(args.take_flag("dsn") && !args.take_flag("dsn"));
        assert_eq!(args.take_named("format"), Ok(Some("json".into())));
        assert_eq!(args.take_named("format"), Ok(None));
        assert_eq!(args.words().join(" "), "server reject dsn tls must");
        let error = args.take_named("must").unwrap_err();
        assert_eq!(error.to_string(), "argument must has no value");
    }

    #[test]
    fn a_value_is_taken_out_and_read() {
        let mut args = args("server wait 20 idle soon");
        assert_eq!(args.take_parsed("wait", 5u64), Ok(20));
        assert_eq!(args.take_parsed("wait", 5u64), Ok(5));
        assert_eq!(
            args.take_parsed("idle", 5u64).unwrap_err().to_string(),
            "argument idle has the value 'soon' (expected: a whole number)"
        );
        assert!(args.at_most(1).is_ok());
    }
}
