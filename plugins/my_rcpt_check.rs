//! ```text
//! NAME
//!     my_rcpt_check - an example: accepts recipients of one domain
//!
//! SYNOPSIS
//!     my_rcpt_check DOMAIN [MOST]
//!
//! DESCRIPTION
//!     Accepts recipients in DOMAIN, leaves others to the next plugins, and writes the sender to
//!     the log.  It may be loaded several times, for several domains:
//!
//!         my_rcpt_check example.com
//!         my_rcpt_check:0 example.org
//!
//!     An example from the guide, docs/plugins.md: arguments are read when the plugin is loaded,
//!     and handlers are functions of their own.
//!
//! ARGUMENTS
//!     DOMAIN   the domain
//!     MOST     how many recipients a message may have; 100 by default
//!
//! SEE ALSO
//!     rcpt_ok, docs/plugins.md
//! ```

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, OK, Session, Verdict};
use crate::log::Level;
use crate::mail::{Address, host};
use crate::state::Params;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(2)?;
    let domain = args.required(0, "the domain")?.to_owned();
    let most = args.parsed_at(1, 100)?;
    hooks.mail(mail_handler);
    hooks.rcpt(move |session, recipient, _params| rcpt_handler(session, recipient, &domain, most));
    Ok(())
}

fn mail_handler(session: &mut Session, sender: &Address, params: &Params) {
    let size = params.get("size").unwrap_or("some");
    session.log(Level::Info, format_args!("{sender} has {size} octets for us"));
}

fn rcpt_handler(session: &mut Session, recipient: &Address, domain: &str, most: usize) -> Verdict {
    if !host::same(recipient.host(), domain) {
        return DECLINED;
    }
    if session.transaction.recipients().len() >= most {
        return Verdict::denysoft("Too many recipients");
    }
    OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn each_instance_takes_its_domain() {
        let lines = "my_rcpt_check Example.com 1\nmy_rcpt_check:0 example.org";
        let mut trial = Trial::new(lines, &[]);
        trial.mail("<a@example.net>");
        assert_eq!(trial.rcpt("<b@example.COM>"), OK);
        assert_eq!(trial.rcpt("<c@example.com>"), Verdict::denysoft("Too many recipients"));
        assert_eq!(trial.rcpt("<c@example.org>"), OK);
        assert_eq!(trial.rcpt("<d@example.net>"), DECLINED);
        assert!(trial.log().contains("(mail) my_rcpt_check:0: <a@example.net> has some octets"));
    }

    #[test]
    fn arguments_are_read_when_it_is_loaded() {
        for (line, why) in [
            ("my_rcpt_check", "argument missing: the domain"),
            ("my_rcpt_check example.com many", "argument 2 has the value 'many'"),
            ("my_rcpt_check example.com 1 2", "unexpected argument '2'"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
