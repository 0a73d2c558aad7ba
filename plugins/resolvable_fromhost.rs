//! ```text
//! NAME
//!     resolvable_fromhost - checks whether the sender's domain takes mail
//!
//! SYNOPSIS
//!     resolvable_fromhost
//!     resolvable_fromhost reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Refuses a sender whose domain has neither a mail exchanger with an address nor an address of
//!     its own, so that nobody could answer.  A sender is also refused if the domain says that it
//!     takes no mail (a null MX, RFC 7505).  If a domain cannot be looked up now the sender is
//!     refused temporarily, whatever reject_type says; with reject 0 and reject naughty it is left
//!     to other plugins.
//!
//!     The null sender <> is never refused, nor is a client that may relay or is on a white list.
//!     require_resolvable_fromhost is another name of this plugin.
//!
//! ARGUMENTS
//!     reject 1         refuse; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; temp by default
//!
//! REPLIES
//!     450 FQDN required in the envelope sender
//!     450 Could not resolve HOST, try again later
//!
//! CONFIG
//!     invalid_resolvable_fromhost   one network per line, such as 192.0.2.0/24: addresses in it do not
//!                                   count
//!
//! NOTES
//!     resolvable_fromhost        on the transaction: mx, a, ip, null, or what is wrong
//!     resolvable_fromhost_host   on the transaction: the domain
//!
//! SEE ALSO
//!     badmailfrom, sender_permitted_from, rhsbl
//! ```

use std::net::IpAddr;

use crate::config::Lines;
use crate::dns::{Answer, Dns, Kind, Question, Record};
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, Reject, Session, Verdict};
use crate::settings::{Networks, network};
use crate::state::Note;

const RESULT: Note<String> = Note::new("resolvable_fromhost");
const HOST: Note<String> = Note::new("resolvable_fromhost_host");

/// The most mail exchangers whose addresses are looked up; the best come first.
const MOST_EXCHANGERS: usize = 10;

/// What is known of a domain.
enum Found {
    /// It takes mail, for this reason, which is also the note.
    Good(&'static str),
    /// It does not: what that is for the karma, and why.
    Bad(i64, String),
    /// Nobody knows now.
    Unknown(String),
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    let invalid = hooks.derived_checked("invalid_resolvable_fromhost", networks);
    hooks.mail(move |session, sender, _params| {
        if session.is_immune() {
            return DECLINED;
        }
        if sender.is_null() {
            session.transaction.notes.set(RESULT, "null".into());
            return session.pass("null sender");
        }
        let host = sender.host().to_owned();
        session.transaction.notes.set(HOST, host.clone());
        let invalid = session.derived(&invalid);
        let found = if host.starts_with('[') {
            Found::Good("ip")
        } else if host.contains('.') {
            look_up(&session.dns(), &host, &invalid)
        } else {
            Found::Bad(-1, format!("'{host}' is not a full domain name"))
        };
        judge(session, &host, found)
    });
    Ok(())
}

/// The networks of a list.
fn networks(lines: &Lines, problems: &mut Vec<Error>) -> Networks {
    let networks = lines.read_each(problems, |line| {
        let wrong = || format!("not an address or network: '{}'", line.text);
        network(&line.text).ok_or_else(wrong)
    });
    networks.into_iter().collect()
}

fn judge(session: &mut Session, host: &str, found: Found) -> Verdict {
    match found {
        Found::Good(how) => {
            session.transaction.notes.set(RESULT, how.into());
            if how != "mx" {
                session.adjust_karma(-1);
            }
            session.pass(format_args!("{host} has {how}"))
        }
        Found::Bad(karma, why) => {
            session.transaction.notes.set(RESULT, why.clone());
            session.adjust_karma(karma);
            let text = "FQDN required in the envelope sender";
            session.get_reject_as(Code::DenySoft, text, why)
        }
        Found::Unknown(why) => {
            session.transaction.notes.set(RESULT, why.clone());
            if matches!(session.reject(), Some(Reject::No | Reject::Later)) {
                return session.fail(format_args!("tolerated, {why}"));
            }
            session.fail(&why);
            let text = format!("Could not resolve {host}, try again later");
            Verdict::new(Code::DenySoft, text)
        }
    }
}

/// Asks for exchangers and addresses of a domain at once, then for the addresses of all exchangers.
fn look_up(dns: &impl Dns, host: &str, invalid: &Networks) -> Found {
    let kinds = [Kind::Mx, Kind::A, Kind::Aaaa];
    let answers = dns.ask(&kinds.map(|kind| Question::new(host, kind)));
    let mut exchangers: Vec<(u16, &str)> = Vec::new();
    for record in answers[0].records() {
        if let Record::Mx(preference, name) = record {
            exchangers.push((*preference, name));
        }
    }
    match (exchangers.as_slice(), &answers[0]) {
        ([(_, "")], _) => return Found::Bad(-2, format!("{host} takes no mail")),
        ([], Answer::Failed(why)) => return Found::Unknown(format!("MX of {host}: {why}")),
        ([], _) => return usable(&answers[1..], "a", host, invalid),
        _ => {}
    }
    exchangers.sort_unstable();
    let names = exchangers.iter().take(MOST_EXCHANGERS).map(|(_, name)| *name);
    let questions: Vec<Question> = names
        .flat_map(|name| [Question::new(name, Kind::A), Question::new(name, Kind::Aaaa)])
        .collect();
    usable(&dns.ask(&questions), "mx", host, invalid)
}

fn usable(answers: &[Answer], how: &'static str, host: &str, invalid: &Networks) -> Found {
    let is_valid = |ip: IpAddr| !invalid.contains(ip);
    if answers.iter().flat_map(Answer::addresses).any(is_valid) {
        return Found::Good(how);
    }
    let failed = answers.iter().find_map(|answer| match answer {
        Answer::Failed(why) => Some(why),
        _ => None,
    });
    match failed {
        Some(why) => Found::Unknown(format!("addresses of {host}: {why}")),
        None if how == "mx" => Found::Bad(-2, format!("invalid MX for {host}")),
        None => Found::Bad(-1, format!("{host} has neither MX nor address")),
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{self, Declined, Deny, DenySoft};
    use crate::hook::{KARMA, NAUGHTY};
    use crate::testing::Trial;

    const DNS: &str = "\
        mx.example MX 10 gone.example\nmx.example MX 20 a.example\n\
        a.example A 192.0.2.25\naaaa.example AAAA 2001:db8::25\n\
        gone-mx.example MX 10 gone.example\ngone-mx.example A 192.0.2.26\n\
        later-mx.example MX 10 later.example\nlater.example MX failed\n\
        later.example A failed\nlater.example AAAA failed\n\
        text.example TXT nothing\nloop.example A 127.0.0.1";

    fn trial(arguments: &str) -> Trial {
        let files = [("invalid_resolvable_fromhost", "127.0.0.0/8\n10.0.0.0/8\n")];
        Trial::new(&format!("resolvable_fromhost {arguments}"), &files).with_dns(DNS)
    }

    fn code(arguments: &str, host: &str) -> Code {
        trial(arguments).mail(&format!("<a@{host}>")).code()
    }

    #[test]
    fn who_can_be_answered_passes() {
        for host in ["mx.example", "a.example", "aaaa.example", "A.Example", "[192.0.2.9]"] {
            assert_eq!(code("", host), Declined, "{host}");
        }
        assert_eq!(trial("").mail("<>").code(), Declined);
        let mut trial = trial("");
        trial.mail("<a@mx.example>");
        assert_eq!(trial.session.transaction.notes.get(super::RESULT).as_deref(), Some("mx"));
    }

    #[test]
    fn only_a_domain_with_an_exchanger_costs_no_karma() {
        for (host, karma) in [
            ("mx.example", None),
            ("a.example", Some(-1)),
            ("[192.0.2.9]", Some(-1)),
            ("none.example", Some(-1)),
            ("localhost", Some(-1)),
            ("gone-mx.example", Some(-2)),
            ("later.example", None),
        ] {
            let mut trial = trial("");
            trial.mail(&format!("<a@{host}>"));
            assert_eq!(trial.session.connection.notes.get(KARMA), karma, "{host}");
        }
    }

    #[test]
    fn who_cannot_is_refused() {
        for host in ["none.example", "text.example", "gone-mx.example", "loop.example", "localhost"]
        {
            assert_eq!(code("", host), DenySoft, "{host}");
            assert_eq!(code("reject_type perm", host), Deny, "{host}");
            assert_eq!(code("reject 0", host), Declined, "{host}");
        }
        let mut later = trial("reject naughty");
        assert_eq!(later.mail("<a@none.example>").code(), Declined);
        assert!(later.session.connection.notes.is_true(NAUGHTY));
        let null = Trial::new("resolvable_fromhost", &[]).with_dns("x.example MX 0 .");
        assert_eq!({ null }.mail("<a@x.example>").code(), DenySoft);
    }

    /// A temporary failure never becomes a permanent answer.
    #[test]
    fn what_nobody_knows_is_deferred() {
        for host in ["later.example", "later-mx.example"] {
            assert_eq!(code("reject_type perm", host), DenySoft, "{host}");
            assert_eq!(code("reject 0", host), Declined, "{host}");
            let mut trial = trial("reject naughty");
            assert_eq!(trial.mail(&format!("<a@{host}>")).code(), Declined, "{host}");
            assert!(!trial.session.connection.notes.is_true(NAUGHTY), "{host}");
        }
    }
}
