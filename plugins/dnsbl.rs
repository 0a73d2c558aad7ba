//! ```text
//! NAME
//!     dnsbl - refuses clients that are on block lists
//!
//! SYNOPSIS
//!     dnsbl
//!     dnsbl reject 0|1|naughty reject_type TYPE threshold N
//!
//! DESCRIPTION
//!     Asks the lists in config/dnsbl_zones about the client's address, IPv4 or IPv6, all lists at
//!     once (RFC 5782).  A client that is listed is refused at connect.
//!
//!     Only an answer from 127.0.0.0/8 is an entry.  With 127.255.255.x a list says that it does
//!     not answer this resolver, and no list uses 127.0.0.1 for an entry: these answers are written
//!     to the log, and the client is not listed.  A list that does not answer lists nobody.
//!
//!     Most lists do not answer the big public resolvers; run your own resolver beside this server
//!     (config/dns_servers).
//!
//!     A client that may relay or is on a white list is not looked up.
//!
//! ARGUMENTS
//!     reject 1         refuse; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later; messages to
//!                      postmaster, abuse, mailer-daemon or root are then accepted
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!     threshold N      refuse if the weights of the lists that have the client add up to N or more;
//!                      1 by default
//!     TYPE             a type alone: an older form of reject_type TYPE
//!
//! CONFIG
//!     dnsbl_zones       one ZONE[=CODES][*WEIGHT][:TEXT] per line
//!
//!                           zen.example.org                    any answer counts
//!                           zen.example.org=127.0.0.2..11      one of these answers
//!                           weak.example.org*2                 with the weight 2 instead of 1
//!                           bl.example.org:See http://x/?%IP%  a text of your own; %IP% is the address
//!
//!                       Without a text the reply is the list's TXT record, or "Blocked by
//!                       ZONE".
//!     dnsbl_allow       addresses, networks, or beginnings of addresses (192.0.2.) that are not
//!                       looked up
//!     dnsbl_rejectmsg   a text to put before that of the list
//!
//! ENVIRONMENT
//!     RBLSMTPD          set by tcpserver.  If it is empty the client is not looked up; else the
//!                       client is refused with this text
//!
//! SEE ALSO
//!     naughty, rhsbl, dns_whitelist_soft
//! ```

use crate::dns::lists::Zone;
use crate::dns::{Question, reversed};
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, NAUGHTY, Session, Settings, Verdict};
use crate::log::Level;

/// Who is there for those who want to complain about being refused.
const SPECIAL: [&str; 4] = ["postmaster", "abuse", "mailer-daemon", "root"];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, std::env::var("RBLSMTPD").ok())
}

fn register_with(hooks: &mut Hooks, args: &Args, environment: Option<String>) -> Result<()> {
    let code = Settings::lone_reject_type(args)?;
    if code.is_none() {
        args.only(&["reject", "reject_type", "threshold"])?;
    }
    let code = code.unwrap_or(Code::Deny);
    let threshold = args.parsed("threshold", 1)?;
    let zones = hooks.rows("dnsbl_zones", |line| Ok(Zone::parse(&line.text, false)?));
    hooks.connect(move |session| {
        if session.is_immune() {
            return DECLINED;
        }
        match environment.as_deref() {
            Some("") => {
                return session.skip("RBLSMTPD is set and empty");
            }
            Some(text) => {
                let text = with_address(session, text.trim_start_matches('-'));
                return refuse(session, code, &text, "RBLSMTPD");
            }
            None => {}
        }
        if is_allowed(session) {
            return session.skip("dnsbl_allow");
        }
        let zones = session.derived(&zones);
        check(session, code, &zones, threshold)
    });
    hooks.rcpt(|session, recipient, _params| {
        let user = recipient.user();
        let is_special = SPECIAL.iter().any(|special| special.eq_ignore_ascii_case(user));
        if is_special && session.connection.notes.is_true(NAUGHTY) {
            session.log(Level::Warn, format_args!("skip, {user} is there for complaints"));
            session.connection.notes.unset(NAUGHTY);
        }
        DECLINED
    });
    Ok(())
}

fn check(session: &mut Session, code: Code, zones: &[Zone], threshold: i64) -> Verdict {
    if zones.is_empty() {
        session.log(Level::Debug, "skip, no zones");
        return DECLINED;
    }
    let ip = session.connection.remote_ip;
    // The greeting is going to ask for the client's name.
    let name = [Question::name_of(ip)];
    let (mut weight, mut found) = (0, None);
    let mut names = Vec::new();
    for (zone, text) in session.listed(zones, &reversed(ip), &name) {
        weight += zone.weight;
        names.push(zone.name.as_str());
        found.get_or_insert((zone, text));
    }
    let Some((zone, text)) = found.filter(|_| weight >= threshold) else {
        if names.is_empty() {
            return session.pass("");
        }
        let names = names.join(", ");
        return session.pass(format_args!("{weight} of {threshold}, {names}"));
    };
    session.adjust_karma(-1);
    let text = match (&zone.text, text) {
        (Some(own), _) => with_address(session, own),
        (None, Some(text)) => text,
        (None, None) => format!("Blocked by {zone}"),
    };
    refuse(session, code, &text, &names.join(", "))
}

fn refuse(session: &mut Session, code: Code, text: &str, detail: &str) -> Verdict {
    let text = match session.config_value("dnsbl_rejectmsg") {
        Some(first) => format!("{first} {text}"),
        None => text.to_owned(),
    };
    session.get_reject_as(code, &text, detail)
}

fn with_address(session: &Session, text: &str) -> String {
    text.replace("%IP%", &session.connection.remote_ip.to_string())
}

/// Is the client in dnsbl_allow: its address, a network that it is in, or the beginning of it?
fn is_allowed(session: &mut Session) -> bool {
    let ip = session.connection.remote_ip;
    let text = format!("{ip}.");
    session.config("dnsbl_allow").iter().any(|line| {
        let word = line.split_whitespace().next().unwrap_or(line);
        let network = crate::settings::network(word);
        network.is_some_and(|network| network.contains(&ip))
            || text.starts_with(&format!("{}.", word.trim_end_matches('.')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Code::{Declined, Deny, DenyDisconnect};
    use crate::hook::{Hook, KARMA};
    use crate::testing::Trial;

    const DNS: &str = "\
        1.2.0.192.a.example A 127.0.0.2\n\
        1.2.0.192.a.example TXT Listed, see http://a.example/\n\
        1.2.0.192.b.example A 127.0.0.3\n\
        1.2.0.192.error.example A 127.255.255.254\n\
        1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.a.example A 127.0.0.2";

    fn trial(arguments: &str, zones: &str) -> Trial {
        Trial::new(&format!("dnsbl {arguments}"), &[("dnsbl_zones", zones)]).with_dns(DNS)
    }

    #[test]
    fn who_is_listed_is_refused_with_the_lists_text() {
        let mut listed = trial("", "none.example\na.example\n");
        let verdict = listed.plain(Hook::Connect);
        assert_eq!((verdict.code(), verdict.text()), (Deny, "Listed, see http://a.example/"));
        assert_eq!(listed.session.connection.notes.get(KARMA), Some(-1));
        let text = trial("", "b.example").plain(Hook::Connect).text().to_owned();
        assert_eq!(text, "Blocked by b.example");
        let text = trial("", "a.example:See x/%IP%").plain(Hook::Connect).text().to_owned();
        assert_eq!(text, "See x/192.0.2.1");
        let mut v6 = trial("", "a.example").from_ip("2001:db8::1");
        assert_eq!(v6.plain(Hook::Connect).code(), Deny);
        let mut first = trial("", "a.example");
        first.set_config("dnsbl_rejectmsg", "Sorry.\n");
        assert_eq!(first.plain(Hook::Connect).text(), "Sorry. Listed, see http://a.example/");
    }

    #[test]
    fn a_list_that_does_not_answer_lists_nobody() {
        let mut failing = trial("", "error.example\n").with_dns("1.2.0.192.error.example A failed");
        assert_eq!(failing.plain(Hook::Connect).code(), Declined);
        assert!(failing.log().contains("error.example: no answer in time"));
        let mut blocked = trial("", "error.example\n");
        assert_eq!(blocked.plain(Hook::Connect).code(), Declined);
        assert!(blocked.log().contains("error.example: the list answers with an error"));
    }

    #[test]
    fn weights_are_added() {
        let zones = "a.example\nb.example*2\n";
        assert_eq!(trial("threshold 3", zones).plain(Hook::Connect).code(), Deny);
        assert_eq!(trial("threshold 4", zones).plain(Hook::Connect).code(), Declined);
    }

    #[test]
    fn arguments_of_old_and_exceptions() {
        assert_eq!(trial("disconnect", "a.example").plain(Hook::Connect).code(), DenyDisconnect);
        assert!(Trial::load("dnsbl rejct 1", &[]).is_err());
        for allowed in ["192.0.2.1", "192.0.2.", "192.0.2.0/24", "192.0"] {
            let mut trial = trial("", "a.example");
            trial.set_config("dnsbl_allow", allowed);
            assert_eq!(trial.plain(Hook::Connect).code(), Declined, "{allowed}");
        }
        let mut near = trial("", "a.example");
        near.set_config("dnsbl_allow", "192.0.2.11\n192.0.20.");
        assert_eq!(near.plain(Hook::Connect).code(), Deny);
        let with = |text: &'static str| {
            let register: crate::hook::Register = match text {
                "" => |hooks, args| register_with(hooks, args, Some(String::new())),
                _ => |hooks, args| register_with(hooks, args, Some("-Go away".into())),
            };
            let mut trial =
                Trial::with(register, "", &[("dnsbl_zones", "a.example")]).with_dns(DNS);
            trial.plain(Hook::Connect)
        };
        assert_eq!(with("").code(), Declined);
        assert_eq!((with("x").code(), with("x").text()), (Deny, "Go away"));
    }

    #[test]
    fn complaints_are_heard() {
        let mut trial = trial("reject naughty", "a.example");
        assert_eq!(trial.plain(Hook::Connect).code(), Declined);
        assert!(trial.session.connection.notes.is_true(NAUGHTY));
        trial.rcpt("<user@example.com>");
        assert!(trial.session.connection.notes.is_true(NAUGHTY));
        trial.rcpt("<Postmaster@example.com>");
        assert!(!trial.session.connection.notes.is_true(NAUGHTY));
    }
}
