//! ```text
//! NAME
//!     rcpt_map - decides about the recipients of a domain by a list of them
//!
//! SYNOPSIS
//!     rcpt_map domain NAME file MAP [default CODE[=TEXT]]
//!
//! DESCRIPTION
//!     Looks a recipient in one domain up in a map, which says what to answer.  A recipient in that
//!     domain that is not in the map gets the default answer.  Recipients in other domains are left
//!     to the next plugins.
//!
//!     For several domains give several lines: rcpt_map:0, rcpt_map:1.  Each has its own map.  Case
//!     does not matter in a map, unlike in the Perl plugin of the same name.
//!
//! ARGUMENTS
//!     domain NAME        the domain
//!     file MAP           the map: a path, or the name of a file in config/
//!     default CODE       the answer to a recipient that is not in the map: one of the return codes
//!     default CODE=TEXT  the same with a text, in which each _ stands for a blank;
//!                        DENY=No_such_user._(#5.1.1) by default
//!
//! CONFIG
//!     MAP   one ADDRESS CODE [TEXT] per line; the text is "No such user." by default, with the
//!           status 5.1.1, or 4.1.1 for now; a TEXT may have one at its end, "Moved. (#5.1.6)"
//!
//!               me@example.org      OK
//!               list@example.org    DECLINED
//!               former@example.org  DENY     User not found.
//!
//!     A line with an unknown code, or whose ADDRESS is not in the domain, is skipped, and reported
//!     in the log with its place.  A map without any valid line stops the start; in a running
//!     server the map of before stays in use.
//!
//! SEE ALSO
//!     rcpt_regexp, rcpt_ok
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::absolute;
use std::rc::Rc;

use crate::config::{Line, Lines, word_and_rest};
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, Verdict};
use crate::log::Level;
use crate::mail::entries;
use crate::mail::host;
use crate::mail::patterns::is_whole;

const NO_SUCH_USER: &str = "No such user.";

/// The same with its status (RFC 3463), which Perl qpsmtpd does not give.
const REFUSED: &str = "No such user. (#5.1.1)";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["domain", "file", "default"])?;
    let domain = args.named("domain").ok_or("no domain name given")?;
    let domain: Rc<str> = host::canonical(domain).into();
    let file = args.named("file").ok_or("no map file given")?;
    let default = default_answer(args.named("default").unwrap_or("DENY"))?;
    let file = match hooks.config().expand(file) {
        path if file.contains('/') => {
            let path = absolute(path).map_err(|error| format!("{file}: {error}"))?;
            path.to_string_lossy().into_owned()
        }
        _ => file.to_owned(),
    };
    let first = parse(&hooks.config().load(&file)?, &domain, &mut vec![]);
    if first.is_empty() {
        return Err(Error::new(format!("empty map file {file}")));
    }
    let good = RefCell::new(Rc::new(first));
    let (name, of) = (file.clone(), domain.clone());
    let map = hooks.derived_checked(file, move |lines, problems| {
        let map = parse(lines, &of, problems);
        if map.is_empty() {
            problems
                .push(Error::new(format!("empty map file {name}: the one before stays in use")));
        } else {
            good.replace(Rc::new(map));
        }
        good.borrow().clone()
    });
    hooks.rcpt(move |session, recipient, _params| {
        if !is_whole(recipient) || recipient.canonical_host() != *domain {
            return DECLINED;
        }
        match session.derived(&map).get(&recipient.key()) {
            Some(answer) => {
                session.log(Level::Info, format_args!("{recipient} is {}", answer.code()));
                answer.clone()
            }
            None => {
                session.log(Level::Info, format_args!("{recipient} is not in the map"));
                default.clone()
            }
        }
    });
    Ok(())
}

/// Addresses as they are looked up with their answers.
type Map = HashMap<String, Verdict>;

fn parse(lines: &Lines, domain: &str, problems: &mut Vec<Error>) -> Map {
    let mut map = Map::new();
    for line in lines.entries() {
        match entry(line) {
            Ok((address, answer)) => {
                if address.rsplit('@').next() != Some(domain) {
                    let text = format!("not in the domain {domain}: '{address}'");
                    problems.push(Error::at(&line.file, line.number, text));
                }
                map.insert(address, answer);
            }
            Err(error) => problems.push(error.or_at(&line.file, line.number)),
        }
    }
    map
}

fn entry(line: &Line) -> Result<(String, Verdict)> {
    let (address, rest) = line.word_and_rest();
    let (code, text) = word_and_rest(rest);
    let answer = answer(code, text)?;
    Ok((entries::address(address)?, answer))
}

/// `CODE=TEXT`.
fn default_answer(word: &str) -> Result<Verdict> {
    let (code, text) = word.split_once('=').unwrap_or((word, ""));
    answer(code, &text.replace('_', " ")).map_err(|error| error.within("argument default"))
}

fn answer(code: &str, text: &str) -> Result<Verdict> {
    let code = Code::from_name(code).ok_or_else(|| format!("not a return code: '{code}'"))?;
    let text = match text {
        "" if code.is_deny() => REFUSED,
        "" => NO_SUCH_USER,
        text => text,
    };
    Ok(Verdict::new(code, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::OK;
    use crate::testing::Trial;

    const MAP: &str = "# ours\nMe@Example.org OK\nlist@example.org DECLINED\n\
        former@example.org\tDENY   User  not found.\nbusy@example.org DENYSOFT\n";

    fn is(verdict: Verdict, code: Code, text: &str) {
        assert_eq!((verdict.code(), verdict.text()), (code, text));
    }

    #[test]
    fn recipients_of_the_domain_are_looked_up() {
        let mut trial = Trial::new("rcpt_map domain Example.ORG file map", &[("map", MAP)]);
        for (path, code, text) in [
            ("<ME@example.org>", Code::Ok, NO_SUCH_USER),
            ("<list@example.org>", Code::Declined, NO_SUCH_USER),
            ("<former@example.org>", Code::Deny, "User  not found."),
            ("<busy@example.org>", Code::DenySoft, REFUSED),
            ("<other@Example.org>", Code::Deny, REFUSED),
            ("<me@example.net>", Code::Declined, ""),
            ("<postmaster>", Code::Declined, ""),
        ] {
            is(trial.rcpt(path), code, text);
        }
        assert!(trial.log().contains("(rcpt) rcpt_map: <other@Example.org> is not in the map"));
    }

    #[test]
    fn the_default_answer_is_an_argument() {
        for (argument, code, text) in [
            ("DENYSOFT=Ask_me_later", Code::DenySoft, "Ask me later"),
            ("DENY_DISCONNECT", Code::DenyDisconnect, REFUSED),
            ("DECLINED", Code::Declined, NO_SUCH_USER),
        ] {
            let line = format!("rcpt_map domain example.org file map default {argument}");
            is(Trial::new(&line, &[("map", MAP)]).rcpt("<x@example.org>"), code, text);
        }
    }

    #[test]
    fn instances_have_maps_of_their_own_and_paths_are_taken() {
        let lines = "rcpt_map:0 domain a.test file ~/config/a\n\
            rcpt_map:1 domain b.test file {dir}/config/b";
        let files = [("a", "x@a.test OK"), ("b", "x@b.test OK\ny@a.test OK")];
        let mut trial = Trial::new(lines, &files);
        assert_eq!(trial.rcpt("<x@a.test>").code(), OK.code());
        assert_eq!(trial.rcpt("<x@b.test>").code(), OK.code());
        assert!(trial.rcpt("<y@a.test>").code().is_deny());
    }

    #[test]
    fn a_map_that_changes_is_read_again_and_an_empty_one_is_not() {
        let mut trial = Trial::new("rcpt_map domain example.org file map", &[("map", MAP)]);
        trial.set_config("map", "new@example.org OK\nnew2@example.org NO\nnew3@example.org");
        assert_eq!(trial.rcpt("<new@example.org>").code(), Code::Ok);
        assert!(trial.rcpt("<me@example.org>").code().is_deny());
        assert!(trial.log().contains("map:2: not a return code: 'NO'"));
        assert!(trial.log().contains("map:3: not a return code: ''"));
        trial.set_config("map", "# nothing\n");
        assert_eq!(trial.rcpt("<new@example.org>").code(), Code::Ok);
        assert!(trial.log().contains("empty map file map: the one before stays in use"));
    }

    #[test]
    fn what_is_missing_or_wrong_stops_the_start() {
        for (arguments, error) in [
            ("domain example.org", "no map file given"),
            ("file map", "no domain name given"),
            ("domain example.org file none", "empty map file none"),
            ("domain example.org file bad", "empty map file bad"),
            (
                "domain example.org file map default NO=x",
                "argument default: not a return code: 'NO'",
            ),
            ("domain example.org file map colour red", "unknown argument 'colour'"),
        ] {
            let line = format!("rcpt_map {arguments}");
            let files = [("map", MAP), ("bad", "x@example.org nonsense")];
            let found = Trial::load(&line, &files).err().unwrap().to_string();
            assert!(found.contains(error), "{found}");
        }
    }
}
