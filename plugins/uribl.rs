//! ```text
//! NAME
//!     uribl - looks up the hosts of a message's URLs in block lists
//!
//! SYNOPSIS
//!     uribl
//!     uribl action add-header|deny|denysoft|log scan-headers 0|1 checkip yes|no max_names N
//!
//! DESCRIPTION
//!     Looks for hosts in the text and HTML parts of a message, after decoding them: the hosts of
//!     URLs, even behind a redirection or in disguised writing, and words that end in a public
//!     suffix.  The name of each host, the domain of its organization and all names between them
//!     are looked up in the lists of config/uribl_zones; for an address its reverse is looked up.
//!     All look-ups of a message are sent at once, and after that those of the texts of entries.
//!
//!     At most 50 names are looked up, the domains of organizations first, and only the first 2 MB
//!     of the text are read.  Only an answer from 127.0.0.0/8 is an entry.  With 127.255.255.x,
//!     127.0.1.255 and 127.0.0.1 lists say that they do not answer; these answers are written to
//!     the log.  A list that does not answer lists nothing.
//!
//!     A refusal also hits people who complain about a message and forward it.  A client that may
//!     relay or is on a white list is not tested.
//!
//! ARGUMENTS
//!     action add-header   add a field X-URIBL-Match for each entry; the default
//!     action deny         refuse the message
//!     action denysoft     refuse the message temporarily
//!     action log          write entries to the log only
//!     scan-headers 1      look for hosts in the header section, too; check-headers is the same
//!     checkip no          do not look up addresses
//!     max_names N         look up at most N names
//!     mask N              without effect, as with the Perl plugin
//!     suffixes FILE       the list of public suffixes; by default
//!                         /usr/share/publicsuffix/public_suffix_list.dat (Debian: publicsuffix)
//!
//! CONFIG
//!     uribl_zones               one ZONE [MASK[,MASK ...] [ACTION]] per line.  An answer is an entry
//!                               if it has one of the bits of the masks, which are decimal numbers;
//!                               without a mask, and with a negative one, every answer is.
//!
//!                                   multi.uribl.example  2,8  deny
//!                                   dbl.example
//!
//!     uribl_whitelist_domains   names that are not looked up; nor are names below them
//!
//! REPLIES
//!     552 NAME in ZONE: TEXT   TEXT is the list's text or address; 452 with denysoft
//!
//! SEE ALSO
//!     dnsbl, rhsbl
//! ```

mod hosts;
mod names;
mod zones;

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;

use crate::dns::{Answer, Dns, Kind, Question};
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::mail::host;
use crate::mail::suffixes::{self, Suffixes};
use crate::mail::text::{self, Text};

use self::zones::{ACTIONS, Action, Zone};

/// The most octets of a message that are read.
const MOST_OCTETS: usize = 2 * 1024 * 1024;

/// The most characters of a list's text that are shown.
const MOST_TEXT: usize = 200;

struct Uribl {
    action: Action,
    scans_headers: bool,
    checks_addresses: bool,
    most_names: usize,
    suffixes: Rc<Suffixes>,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let known =
        ["action", "scan-headers", "check-headers", "checkip", "max_names", "suffixes", "mask"];
    args.only(&known)?;
    args.parsed("mask", 0u32)?;
    hosts::prepare();
    let uribl = Uribl {
        action: args.one_of("action", &ACTIONS, Action::AddHeader)?,
        scans_headers: args.flag("scan-headers", false)? | args.flag("check-headers", false)?,
        checks_addresses: args.flag("checkip", true)?,
        most_names: args.parsed("max_names", 50)?,
        suffixes: Suffixes::shared(Path::new(args.named("suffixes").unwrap_or(suffixes::FILE)))?,
    };
    let zones = hooks.rows("uribl_zones", |line| Zone::parse(&line.text));
    let exempt = hooks.derived("uribl_whitelist_domains", |lines| {
        let words = lines.entries().map(|line| line.word_and_rest().0);
        words.map(|word| host::canonical(word).into_owned()).collect::<Vec<String>>()
    });
    hooks.data_post(move |session| {
        if session.is_immune() {
            return Ok(DECLINED);
        }
        let (zones, exempt) = (session.derived(&zones), session.derived(&exempt));
        uribl.check(session, &zones, &exempt)
    });
    Ok(())
}

impl Uribl {
    fn check(
        &self,
        session: &mut Session,
        zones: &[Zone],
        exempt: &[String],
    ) -> io::Result<Verdict> {
        if zones.is_empty() {
            session.log(Level::Debug, "skip, no zones");
            return Ok(DECLINED);
        }
        let texts = self.texts(session)?;
        let names = self.names(&hosts::hosts(&texts, &self.suffixes), exempt);
        if names.is_empty() {
            return Ok(session.pass("no hosts"));
        }
        let found = self.look_up(session, zones, &names);
        let mut verdict = None;
        for (action, text) in &found {
            session.log(Level::Warn, format_args!("fail, {text}"));
            let code = match action {
                Action::AddHeader => {
                    session.transaction.header.add_at(0, "X-URIBL-Match", text);
                    continue;
                }
                Action::Log => continue,
                Action::Deny => Code::Deny,
                Action::DenySoft => Code::DenySoft,
            };
            // What is certain counts more than what is not.
            if verdict.is_none() || code == Code::Deny {
                verdict = Some(Verdict::new(code, text.clone()));
            }
        }
        if found.is_empty() {
            session.pass(format_args!("{} names", names.len()));
        }
        Ok(verdict.unwrap_or(DECLINED))
    }

    fn texts(&self, session: &Session) -> io::Result<Vec<Text>> {
        let mut body = Vec::new();
        session.each_piece_of_text(|octets| {
            let left = MOST_OCTETS.saturating_sub(body.len());
            body.extend_from_slice(&octets[..octets.len().min(left)]);
        })?;
        let header = &session.transaction.header;
        let mut texts = text::texts(header, &body);
        if self.scans_headers {
            let text = String::from_utf8_lossy(&header.to_bytes()).into_owned();
            texts.push(Text { is_html: false, text });
        }
        Ok(texts)
    }

    /// What is listed: what is to be done, and why.
    fn look_up(
        &self,
        session: &mut Session,
        zones: &[Zone],
        names: &[String],
    ) -> Vec<(Action, String)> {
        let pairs: Vec<(&Zone, &String)> =
            zones.iter().flat_map(|zone| names.iter().map(move |name| (zone, name))).collect();
        let ask = |kind: Kind, pairs: &[(&Zone, &String)]| {
            let question = |(zone, name): &(&Zone, &String)| {
                Question::new(&format!("{name}.{}", zone.name), kind)
            };
            session.dns().ask(&pairs.iter().map(question).collect::<Vec<_>>())
        };
        let mut failed: Vec<String> = Vec::new();
        let mut found = Vec::new();
        for (pair, answer) in pairs.iter().zip(ask(Kind::A, &pairs)) {
            match pair.0.entry(&answer) {
                Ok(entry) => found.extend(entry.map(|ip| (*pair, ip))),
                Err(why) => {
                    // A list that fails fails for all names alike.
                    let line = format!("{}: {why}", pair.0.name);
                    if !failed.contains(&line) {
                        failed.push(line);
                    }
                }
            }
        }
        let listed: Vec<(&Zone, &String)> = found.iter().map(|(pair, _)| *pair).collect();
        let texts = if listed.is_empty() { Vec::new() } else { ask(Kind::Txt, &listed) };
        failed.iter().for_each(|line| session.log(Level::Error, line));
        let entry = |(((zone, name), ip), text): ((_, Ipv4Addr), &Answer)| {
            let (zone, name): (&Zone, &String) = (zone, name);
            let text = text.texts().next().map_or_else(|| ip.to_string(), shown);
            (zone.action.unwrap_or(self.action), format!("{name} in {}: {text}", zone.name))
        };
        found.iter().copied().zip(&texts).map(entry).collect()
    }
}

/// A list's text as it may stand in a reply and in a header section.
fn shown(text: &[u8]) -> String {
    let shown = |octet: &u8| match octet {
        b' '..=b'~' => char::from(*octet),
        _ => '?',
    };
    text.iter().take(MOST_TEXT).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{self, Declined, Deny, DenySoft};
    use crate::hook::Hook;
    use crate::testing::Trial;

    const LIST: &str = "// ===BEGIN ICANN DOMAINS===\nexample\nco.example\n";
    const DNS: &str = "\
        spam.example.multi.test A 127.0.0.2\n\
        spam.example.multi.test TXT Listed, see http://multi.test/\n\
        bad.shop.co.example.multi.test A 127.0.0.8\n\
        1.2.0.192.multi.test A 127.0.0.4\n\
        spam.example.blocked.test A 127.255.255.254\n\
        7.2.0.192.blocked.test A 127.0.1.255\n\
        spam.example.away.test A failed";

    fn trial(arguments: &str, zones: &str) -> Trial {
        let line = format!("uribl suffixes {{dir}}/config/list {arguments}");
        let files =
            [("list", LIST), ("uribl_zones", zones), ("uribl_whitelist_domains", "good.example\n")];
        Trial::new(&line, &files).with_dns(DNS)
    }

    fn run(arguments: &str, zones: &str, text: &str) -> (Code, String, String) {
        let mut trial = trial(arguments, zones);
        trial.message(&format!("Subject: x\r\n\r\n{text}\r\n"));
        let verdict = trial.plain(Hook::DataPost);
        let field = trial.session.transaction.header.get("X-URIBL-Match");
        let field = field.map(|value| value.trim().to_owned()).unwrap_or_default();
        (verdict.code(), verdict.text().to_owned(), field)
    }

    #[test]
    fn entries_have_the_consequence_of_their_zone() {
        let spam = "http://www.spam.example/x";
        let why = "spam.example in multi.test: Listed, see http://multi.test/";
        assert_eq!(run("", "multi.test", spam), (Declined, String::new(), why.into()));
        assert_eq!(run("action deny", "multi.test", spam), (Deny, why.into(), String::new()));
        assert_eq!(run("", "multi.test -1 denysoft", spam).0, DenySoft);
        assert_eq!(run("action deny", "multi.test 2 log", spam).0, Declined);
        assert_eq!(run("", "multi.test 4,8 deny", spam).0, Declined);
        assert_eq!(run("", "multi.test 2,8 deny", "http://bad.shop.co.example").0, Deny);
        assert_eq!(run("", "multi.test 2,8 deny", "http://shop.co.example").0, Declined);
        let ip = run("", "multi.test 4 deny", "http://192.0.2.1/").1;
        assert_eq!(ip, "1.2.0.192 in multi.test: 127.0.0.4");
        assert_eq!(run("checkip no", "multi.test 4 deny", "http://192.0.2.1/").0, Declined);
        assert_eq!(run("", "multi.test 4 deny", "nothing here").0, Declined);
    }

    #[test]
    fn a_list_that_does_not_answer_lists_nothing() {
        let mut trial = trial("action deny", "blocked.test\naway.test\n");
        trial.message("Subject: x\r\n\r\nhttp://spam.example http://192.0.2.7/\r\n");
        assert_eq!(trial.plain(Hook::DataPost).code(), Declined);
        for line in [
            "blocked.test: the list answers with an error",
            "blocked.test: the list has no addresses",
            "away.test: no answer in time",
        ] {
            assert!(trial.log().contains(line), "{line}: {}", trial.log());
        }
    }

    #[test]
    fn exceptions_and_limits() {
        let mut trial = trial("action deny max_names 2", "multi.test");
        trial
            .message("Subject: x\r\n\r\nhttp://a.example http://b.example http://spam.example\r\n");
        assert_eq!(trial.plain(Hook::DataPost).code(), Declined);
        assert!(trial.log().contains("pass, 2 names"), "{}", trial.log());
        trial.message("Subject: x\r\n\r\nhttp://www.good.example good.example\r\n");
        trial.plain(Hook::DataPost);
        assert!(trial.log().contains("pass, no hosts"));
        let headers = "Subject: spam.example\r\n\r\nx\r\n";
        for (arguments, code) in
            [("", Declined), ("scan-headers 1", Deny), ("check-headers 1", Deny)]
        {
            let mut trial = self::trial(&format!("action deny {arguments}"), "multi.test");
            trial.message(headers);
            assert_eq!(trial.plain(Hook::DataPost).code(), code, "{arguments}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut trial = trial("", "nodot\nmulti.test x\nmulti.test 2 none\n");
        trial.message("Subject: x\r\n\r\nhttp://spam.example\r\n");
        assert_eq!(trial.plain(Hook::DataPost).code(), Declined);
        let log = trial.log();
        for line in
            ["uribl_zones:1: 'nodot'", "uribl_zones:2: 'x'", "uribl_zones:3: unknown action"]
        {
            assert!(log.contains(line), "{line}: {log}");
        }
        assert!(Trial::load("uribl action none", &[]).is_err());
        assert!(Trial::load("uribl suffixes /nonexistent", &[]).is_err());
    }
}
