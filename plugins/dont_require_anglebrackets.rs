//! ```text
//! NAME
//!     dont_require_anglebrackets - accepts addresses without angle brackets
//!
//! SYNOPSIS
//!     dont_require_anglebrackets
//!
//! DESCRIPTION
//!     Accepts MAIL FROM:user@example.com and RCPT TO:user@example.com as if the address were in
//!     angle brackets, which RFC 5321 4.1.2 demands.  The client loses karma.
//!
//!     A missing address is not taken as the null sender <>.
//! ```

use crate::error::Result;
use crate::hook::{Args, Hooks, Session};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(0)?;
    hooks.mail_pre(|session, path| with_brackets(session, path, "MAIL"));
    hooks.rcpt_pre(|session, path| with_brackets(session, path, "RCPT"));
    Ok(())
}

fn with_brackets(session: &mut Session, path: &str, command: &str) -> Option<String> {
    if path.is_empty() || (path.starts_with('<') && path.ends_with('>')) {
        return None;
    }
    session.adjust_karma(-2);
    session.fail(format_args!("added {command} angle brackets"));
    Some(format!("<{path}>"))
}

#[cfg(test)]
mod tests {
    use crate::hook::{Call, Code, Hook, KARMA};
    use crate::state::Params;
    use crate::testing::Trial;

    #[test]
    fn brackets_are_added_where_there_are_none() {
        let mut trial = Trial::new("dont_require_anglebrackets", &[]);
        for (hook, command) in [(Hook::MailPre, "MAIL"), (Hook::RcptPre, "RCPT")] {
            for path in ["<a@example.net>", "<>", ""] {
                let verdict = trial.call(hook, &Call::Path(path, &Params::default()));
                assert_eq!(verdict.code(), Code::Declined, "{command} {path}");
            }
            let verdict = trial.call(hook, &Call::Path("a@example.net", &Params::default()));
            assert_eq!((verdict.code(), verdict.text()), (Code::Ok, "<a@example.net>"));
            assert!(trial.log().contains(&format!("fail, added {command} angle brackets")));
        }
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-4));
        assert!(Trial::load("dont_require_anglebrackets either", &[]).is_err());
    }

    #[test]
    fn half_a_pair_stays_wrong() {
        let mut trial = Trial::new("dont_require_anglebrackets", &[]);
        let verdict = trial.call(Hook::MailPre, &Call::Path("<a@example.net", &Params::default()));
        assert!(verdict.text().parse::<crate::mail::Address>().is_err(), "{}", verdict.text());
    }
}
