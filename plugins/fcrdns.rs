//! ```text
//! NAME
//!     fcrdns - checks whether the client's name leads back to its address
//!
//! SYNOPSIS
//!     fcrdns
//!     fcrdns reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Looks up the names of the client's address and the addresses of these names:
//!     forward-confirmed reverse DNS (iprev, RFC 8601 3).  The result goes into
//!     Authentication-Results and into the client's karma.  Many clients that send spam have no
//!     confirmed name, but neither do some others.  So nobody is refused unless the argument reject
//!     says so, and nobody is ever refused because of a failed look-up.
//!
//!     An address in the same /24 (IPv6: /64) as the client's is as good as the client's own.
//!
//!     A client that may relay or is on a white list is not looked up.
//!
//! ARGUMENTS
//!     reject 0         refuse nobody; the default
//!     reject 1         refuse a client without a name, or without one that leads back
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; temp by default
//!
//! REPLIES
//!     450 no name leads back to your address
//!
//! NOTES
//!     fcrdns   on the connection: the name that leads back
//!
//! SEE ALSO
//!     helo, dnsbl
//! ```

use crate::dns::Iprev;
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Reject, Session, Verdict};
use crate::state::Note;

const FCRDNS: Note<String> = Note::new("fcrdns");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["reject", "reject_type"])?;
    hooks.default_reject(Reject::No);
    hooks.connect(|session| {
        if session.is_immune() {
            return DECLINED;
        }
        let ip = session.connection.remote_ip;
        if ip.is_loopback() {
            return session.skip("this machine");
        }
        let iprev = Iprev::of(&session.dns(), ip);
        let result = match &iprev {
            Iprev::Pass(_) => "pass",
            Iprev::Fail(_) => "fail",
            Iprev::TempError(_) => "temperror",
            Iprev::PermError => "permerror",
        };
        session.store_auth_results(&format!(
            "iprev={result} policy.iprev={}",
            crate::state::results::quoted(&ip.to_string())
        ));
        judge(session, iprev)
    });
    Ok(())
}

fn judge(session: &mut Session, iprev: Iprev) -> Verdict {
    let why = match iprev {
        Iprev::Pass(name) => {
            session.adjust_karma(1);
            session.connection.notes.set(FCRDNS, name.clone());
            return session.pass(name);
        }
        Iprev::TempError(why) => return session.skip(why),
        Iprev::Fail(why) => why,
        Iprev::PermError => "no name".to_owned(),
    };
    session.adjust_karma(-1);
    session.get_reject_as(Code::DenySoft, "no name leads back to your address", &why)
}

#[cfg(test)]
mod tests {
    use super::FCRDNS;
    use crate::hook::Code::{self, Declined, Deny, DenySoft};
    use crate::hook::{AUTHENTICATION_RESULTS, Hook, KARMA};
    use crate::testing::Trial;

    fn connect(arguments: &str, dns: &str) -> (Code, String, i64) {
        let mut trial = Trial::new(&format!("fcrdns {arguments}"), &[]).with_dns(dns);
        let code = trial.plain(Hook::Connect).code();
        let notes = &trial.session.connection.notes;
        let results = notes.get(AUTHENTICATION_RESULTS).unwrap_or_default();
        let result = results.split([' ', '=']).nth(1).unwrap_or_default().to_owned();
        assert_eq!(notes.get(FCRDNS).is_some(), result == "pass");
        (code, result, notes.get(KARMA).unwrap_or(0))
    }

    #[test]
    fn names_that_lead_back_and_others() {
        let own = "1.2.0.192.in-addr.arpa PTR mx.example\n";
        let at = |ip: &str| format!("{own}mx.example A {ip}");
        assert_eq!(connect("", &at("192.0.2.1")), (Declined, "pass".into(), 1));
        assert_eq!(connect("reject 1", &at("192.0.2.99")), (Declined, "pass".into(), 1));
        assert_eq!(connect("", &at("198.51.100.1")), (Declined, "fail".into(), -1));
        assert_eq!(connect("reject 1", &at("198.51.100.1")).0, DenySoft);
        assert_eq!(connect("reject 1 reject_type perm", "").0, Deny);
        assert_eq!(connect("", ""), (Declined, "permerror".into(), -1));
        let later = (Declined, "temperror".into(), 0);
        assert_eq!(connect("reject 1", "1.2.0.192.in-addr.arpa PTR failed"), later);
        assert_eq!(connect("reject 1", &format!("{own}mx.example A failed")), later);
    }
}
