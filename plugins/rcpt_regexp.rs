//! ```text
//! NAME
//!     rcpt_regexp - decides about recipients by regular expressions
//!
//! SYNOPSIS
//!     rcpt_regexp
//!
//! DESCRIPTION
//!     The first matching line of config/rcpt_regexp says what to answer to a recipient; with
//!     DECLINED the recipient is left to the next plugins.  A recipient that matches no line, or
//!     that has no domain, is left to them, too.
//!
//! CONFIG
//!     rcpt_regexp   one ADDRESS CODE [TEXT] or /REGEXP/ CODE [TEXT] per line, without blanks in
//!                   the address or expression
//!
//!                       me@example.org               OK        Accepting mail
//!                       /^user\d+\@example\.org$/    OK        Accepting mail
//!                       info@example.com             DENY      User not found.
//!                       /^unused\@/                  DENY      User not found.
//!                       /^/                          DECLINED
//!
//!     An address has to be the whole recipient.  An expression is searched for in user@host, so
//!     anchor it with ^ and $ if it has to match the whole address.  Case does not matter.
//!
//!     Regular expressions are those of the Rust crate regex, without look-around and without
//!     backreferences.  A line is skipped, and reported in the log with its place, if its
//!     expression does not compile, if it has neither an expression nor an address, or if its code
//!     is unknown.  The Perl plugin of the same name fails on a line without a code.
//!
//! SEE ALSO
//!     rcpt_map, badrcptto, rcpt_ok
//! ```

use regex::Regex;

use crate::config::{Line, word_and_rest};
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Verdict};
use crate::log::Level;
use crate::mail::entries;
use crate::mail::patterns::{compile, fits, is_whole, spellings};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let rules = hooks.rows("rcpt_regexp", Rule::read);
    hooks.rcpt(move |session, recipient, _params| {
        if !is_whole(recipient) {
            return DECLINED;
        }
        let (address, spellings) = (recipient.key(), spellings(recipient));
        let rules = session.derived(&rules);
        let found = rules.iter().find(|rule| rule.fits(&address, &spellings));
        let Some(rule) = found else { return DECLINED };
        let (who, code) = (&rule.who, rule.answer.code());
        session.log(Level::Debug, format_args!("{who} matched {address}, returning {code}"));
        rule.answer.clone()
    });
    Ok(())
}

/// One line of the file.
struct Rule {
    /// The address as it is looked up, or the expression as it was written.
    who: String,
    regex: Option<Regex>,
    answer: Verdict,
}

impl Rule {
    fn read(line: &Line) -> Result<Rule> {
        let (who, rest) = line.word_and_rest();
        let (code, text) = word_and_rest(rest);
        let code = Code::from_name(code).ok_or_else(|| format!("not a return code: '{code}'"))?;
        let answer = Verdict::new(code, text.to_owned());
        match who.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(pattern) => {
                Ok(Rule { who: who.to_owned(), regex: Some(compile(pattern)?), answer })
            }
            None => Ok(Rule { who: entries::address(who)?, regex: None, answer }),
        }
    }

    fn fits(&self, address: &str, spellings: &[Option<String>]) -> bool {
        self.regex.as_ref().map_or(self.who == address, |regex| fits(regex, spellings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    const LIST: &str = "Me@Example.org OK Accepting mail\n\
        /^USER\\d+\\@example\\.org$/\tOK\n\
        info@example.org DENY   User  not found.\n\
        /^unused/ DENYSOFT Later\n\
        /@example\\.org$/ DECLINED\n\
        / DENY slash\n\
        /^/ DENY nobody\n";

    #[test]
    fn the_first_line_that_fits_decides() {
        let mut trial = Trial::new("rcpt_regexp", &[("rcpt_regexp", LIST)]);
        for (path, code, text) in [
            ("<ME@example.ORG>", Code::Ok, "Accepting mail"),
            ("<User12@example.org>", Code::Ok, ""),
            ("<info@example.org>", Code::Deny, "User  not found."),
            ("<unused-1@example.org>", Code::DenySoft, "Later"),
            ("<xinfo@example.org>", Code::Declined, ""),
            ("<xuser12@example.org>", Code::Declined, ""),
            ("<me@example.net>", Code::Deny, "nobody"),
            ("<postmaster>", Code::Declined, ""),
        ] {
            let verdict = trial.rcpt(path);
            assert_eq!((verdict.code(), verdict.text()), (code, text), "{path}");
        }
        assert!(trial.log().contains("me@example.org matched me@example.org, returning OK"));
    }

    #[test]
    fn lines_that_cannot_be_used_are_logged_and_skipped() {
        let list =
            "/(/ DENY\n/^(?=x)/ DENY\nb@example.com\nb@example.com deny\nb@example.com DENY x";
        let mut trial = Trial::new("rcpt_regexp", &[("rcpt_regexp", list)]);
        assert_eq!(trial.rcpt("<b@example.com>"), Verdict::deny("x"));
        for text in [
            "rcpt_regexp:1: pattern '(' does not compile: unclosed group",
            "rcpt_regexp:2: pattern '^(?=x)' does not compile: look-around",
            "rcpt_regexp:3: not a return code: ''",
            "rcpt_regexp:4: not a return code: 'deny'",
        ] {
            assert!(trial.log().contains(text), "{text}\n{}", trial.log());
        }
        trial.set_config("rcpt_regexp", "");
        assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
        assert!(Trial::load("rcpt_regexp file", &[]).is_err());
    }
}
