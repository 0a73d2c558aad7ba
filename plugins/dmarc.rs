//! ```text
//! NAME
//!     dmarc - is a message from the domain of its author?
//!
//! SYNOPSIS
//!     dmarc
//!     dmarc reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Looks up what the domain in From wants to be done with mail that only claims to be its own
//!     (DMARC, RFC 9989), and whether this message does: SPF or a DKIM signature has to pass for that
//!     domain, or for one of the same organization.  The organization is found by a walk up the
//!     tree of names.  The result is in the log and in Authentication-Results.
//!
//!     Mail that fails is refused where its author's domain asks for that (p=reject).  Where the
//!     domain asks for quarantine the result is a note and in Authentication-Results, for filters
//!     behind this server.  The plugins dkim and sender_permitted_from need not be loaded: what
//!     they find out is found out here if they are not.
//!
//!     A failure to look something up is never a failure of the message: where it could make a
//!     difference, and the domain asks for reject, the answer is temporary.
//!
//!     A client that may relay or is on a white list is not tested.
//!
//! ARGUMENTS
//!     reject 1         refuse what its domain wants to be refused; the default
//!     reject 0         refuse nothing
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, the default; temp, disconnect or temp_disconnect
//!     reporting 0|1    taken for the sake of old configurations; no reports are sent
//!
//! REPLIES
//!     550 failed DMARC policy
//!     450 DMARC could not be checked, try again later
//!
//! NOTES
//!     dmarc_result   of the transaction: pass, fail, none or temperror
//!
//! SEE ALSO
//!     dkim, sender_permitted_from
//! ```

use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Verdict};
use crate::origin::dmarc::{Finding, Outcome, Policy};
use crate::state::Note;

const RESULT: Note<String> = Note::new("dmarc_result");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["reject", "reject_type", "reporting"])?;
    hooks.data_post_headers(|session| {
        if session.is_immune() {
            return Ok(DECLINED);
        }
        let findings = session.check_dmarc()?.to_vec();
        Ok::<_, std::io::Error>(judge(session, &findings))
    });
    Ok(())
}

/// A message with several authors is as good as the worst of their domains' results.
fn judge(session: &mut Session, findings: &[Finding]) -> Verdict {
    let severity = |finding: &&Finding| match finding.outcome {
        Outcome::Fail => (3, finding.policy),
        Outcome::TempError => (2, finding.policy),
        Outcome::None => (1, Policy::None),
        Outcome::Pass => (0, Policy::None),
    };
    let Some(worst) = findings.iter().max_by_key(severity) else {
        session.transaction.notes.set(RESULT, "none".into());
        return session.skip("no author with a domain");
    };
    let name = worst.outcome.name();
    session.transaction.notes.set(RESULT, name.into());
    let (domain, policy, why) = (&worst.domain, worst.policy.name(), &worst.reason);
    match worst.outcome {
        Outcome::Pass => {
            session.adjust_karma(1);
            session.pass(&domain)
        }
        Outcome::None => session.skip(format_args!("{domain} has no record")),
        Outcome::Fail => {
            session.adjust_karma(-3);
            if worst.policy == Policy::Reject {
                let detail = format!("{domain} p={policy}, {why}");
                return session.get_reject_logged("failed DMARC policy", detail);
            }
            session.fail(format_args!("tolerated, {domain} p={policy}, {why}"))
        }
        Outcome::TempError => {
            let rejects = session.settings().is_none_or(|settings| settings.rejects());
            if worst.policy == Policy::Reject && rejects {
                session.fail(format_args!("{domain} p={policy}, {why}"));
                let text = "DMARC could not be checked, try again later";
                return Verdict::new(Code::DenySoft, text.to_owned());
            }
            session.fail(format_args!("tolerated, {domain}, {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{self, Declined, Deny, DenySoft};
    use crate::hook::{Call, Hook};
    use crate::testing::Trial;

    const DNS: &str = "\
        _dmarc.reject.example TXT v=DMARC1; p=reject\n\
        _dmarc.quarantine.example TXT v=DMARC1; p=quarantine\n\
        _dmarc.later.example TXT failed\n\
        reject.example TXT v=spf1 ip4:192.0.2.1 -all\n\
        unsure.example TXT v=spf1 -all\n\
        _dmarc.unsure.example TXT v=DMARC1; p=reject\n\
        bounce.unsure.example TXT failed";

    fn code(arguments: &str, sender: &str, from: &str) -> (Code, String) {
        let mut trial = Trial::new(&format!("dmarc {arguments}"), &[]).with_dns(DNS);
        trial.mail(sender);
        trial.message(&format!("From: {from}\r\n\r\nHello\r\n"));
        let code = trial.call(Hook::DataPostHeaders, &Call::Nothing).code();
        let note = trial.session.transaction.notes.get(super::RESULT);
        (code, note.unwrap_or_default())
    }

    #[test]
    fn mail_from_others_is_treated_as_its_domain_wishes() {
        let other = "<x@other.example>";
        let is = |from, expected: Code, note: &str| {
            assert_eq!(code("", other, from), (expected, note.into()), "{from}");
        };
        is("a@reject.example", Deny, "fail");
        is("a@sub.reject.example", Deny, "fail");
        is("Bank <a@reject.example>", Deny, "fail");
        is("a@quarantine.example", Declined, "fail");
        is("a@other.example", Declined, "none");
        is("a@later.example", Declined, "temperror");
        is("a@other.example, b@reject.example", Deny, "fail");
        is("nobody", Declined, "none");
        assert_eq!(code("reject 0", other, "a@reject.example").0, Declined);
        assert_eq!(code("reject_type temp", other, "a@reject.example").0, DenySoft);
    }

    #[test]
    fn mail_of_the_domain_passes() {
        let own = code("", "<x@reject.example>", "a@reject.example");
        assert_eq!(own, (Declined, "pass".into()));
        assert_eq!(code("", "<x@reject.example>", "a@sub.reject.example").1, "pass");
    }

    #[test]
    fn what_nobody_knows_is_deferred_where_it_matters() {
        let unsure = |arguments| code(arguments, "<x@bounce.unsure.example>", "a@unsure.example");
        assert_eq!(unsure(""), (DenySoft, "temperror".into()));
        assert_eq!(unsure("reject 0"), (Declined, "temperror".into()));
    }
}
