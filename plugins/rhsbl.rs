//! ```text
//! NAME
//!     rhsbl - refuses senders whose domain is on block lists
//!
//! SYNOPSIS
//!     rhsbl
//!     rhsbl reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Asks the lists in config/rhsbl_zones about the sender's domain and the name that the client
//!     gave in HELO, all lists at once.  What counts as an entry is the same as in dnsbl.
//!
//!     The null sender <> is not looked up.  Neither is a sender of a client that may relay or is
//!     on a white list.
//!
//! ARGUMENTS
//!     reject 1         refuse; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!     disconnect       alone: an older form of reject_type disconnect
//!
//! CONFIG
//!     rhsbl_zones   one ZONE[=CODES] [TEXT] per line, for example
//!
//!                       abuse.example.org   does not take complaints
//!
//! REPLIES
//!     550 Mail from HOST rejected because it TEXT
//!     550 Mail from HELO HOST rejected because it TEXT
//!
//!     TEXT is the text in the file, else the list's TXT record, else "is listed in ZONE".
//!
//! SEE ALSO
//!     dnsbl, badmailfrom
//! ```

use crate::dns::Dns;
use crate::dns::lists::{self, Zone};
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Settings, Verdict};
use crate::mail::host;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let code = Settings::lone_reject_type(args)?;
    if code.is_none() {
        args.only(&["reject", "reject_type"])?;
    }
    let code = code.unwrap_or(Code::Deny);
    let zones = hooks.rows("rhsbl_zones", |line| Ok(Zone::parse(&line.text, true)?));
    hooks.mail(move |session, sender, _params| {
        if session.is_immune() {
            return DECLINED;
        }
        if sender.is_null() {
            return session.pass("null sender");
        }
        let zones = session.derived(&zones);
        let helo = session.connection.hello_host.clone();
        let mut named =
            vec![("", host::canonical(sender.host())), ("HELO ", host::canonical(&helo))];
        named.retain(|(_, name)| name.contains('.') && !name.starts_with('['));
        // What is asked about both at once is known when each is judged.
        let questions = named.iter().flat_map(|(_, name)| lists::questions(&zones, name));
        session.dns().ask(&questions.collect::<Vec<_>>());
        for (what, name) in &named {
            if let Some(verdict) = check(session, code, &zones, what, name) {
                return verdict;
            }
        }
        session.pass("")
    });
    Ok(())
}

fn check(
    session: &mut Session,
    code: Code,
    zones: &[Zone],
    what: &str,
    name: &str,
) -> Option<Verdict> {
    let (zone, text) = session.listed(zones, name, &[]).next()?;
    let text = zone.text.clone().or(text).unwrap_or_else(|| format!("is listed in {zone}"));
    let reply = format!("Mail from {what}{name} rejected because it {text}");
    Some(session.get_reject_as(code, &reply, zone))
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{Declined, Deny, DenyDisconnect};
    use crate::testing::Trial;

    const DNS: &str = "bad.example.a.list A 127.0.0.2\nbad.example.a.list TXT sends spam\n\
        helo.example.b.list A 127.0.0.2\nerror.example.a.list A 127.255.255.255";

    fn trial(arguments: &str) -> Trial {
        let files = [("rhsbl_zones", "a.list\nb.list  is not wanted\n")];
        Trial::new(&format!("rhsbl {arguments}"), &files).with_dns(DNS)
    }

    #[test]
    fn senders_and_names_in_helo_are_looked_up() {
        let mut trial = trial("");
        let verdict = trial.mail("<a@Bad.Example>");
        assert_eq!(verdict.text(), "Mail from bad.example rejected because it sends spam");
        assert_eq!(verdict.code(), Deny);
        assert_eq!(trial.mail("<a@good.example>").code(), Declined);
        assert_eq!(trial.mail("<a@error.example>").code(), Declined);
        assert!(trial.log().contains("a.list: the list answers with an error"));
        assert_eq!(trial.mail("<>").code(), Declined);
        trial.session.connection.hello_host = "helo.example".into();
        let text = "Mail from HELO helo.example rejected because it is not wanted";
        assert_eq!(trial.mail("<a@good.example>").text(), text);
    }

    #[test]
    fn arguments_of_old() {
        assert_eq!(trial("disconnect").mail("<a@bad.example>").code(), DenyDisconnect);
        assert_eq!(trial("reject 0").mail("<a@bad.example>").code(), Declined);
        assert!(Trial::load("rhsbl rejects 1", &[]).is_err());
    }
}
