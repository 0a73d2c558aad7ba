//! ```text
//! NAME
//!     dmarc - is a message from the domain of its author?
//!
//! SYNOPSIS
//!     dmarc
//!     dmarc reject 0|1|naughty reject_type TYPE discovery walk|suffixes reports ADDRESS
//!
//! DESCRIPTION
//!     Looks up what the domain in From wants to be done with mail that only claims to come from it
//!     (DMARC, RFC 9989), and whether this message passes: SPF or a DKIM signature has to pass for
//!     that domain, or for another domain of the same organization.  The organization is found by a
//!     walk up the tree of names, or by a list of public suffixes (RFC 7489), as older servers do
//!     it.  The result goes to the log and into Authentication-Results.
//!
//!     A message that fails is refused if the domain asks for that (p=reject).  If the domain asks
//!     for quarantine the message is accepted, and the result is in a note and in
//!     Authentication-Results, for filters after this server.  The plugins dkim and
//!     sender_permitted_from need not be loaded: without them this plugin finds out the same
//!     itself.
//!
//!     A message whose From names more than ten domains is refused in the same way.  No real mail
//!     has so many, and whichever domain a reader is shown could be forged.
//!
//!     A failed look-up never makes a message fail.  If the look-up could make a difference, and
//!     the domain asks for reject, the answer is temporary.
//!
//!     A client that may relay or is on a white list is not tested.
//!
//! ARGUMENTS
//!     reject 1         refuse the messages that their domain wants to be refused; the default
//!     reject 0         refuse nothing
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!     discovery walk       find organizations by a walk up the tree of names; the default
//!     discovery suffixes   find them by the list of public suffixes in
//!                          /usr/share/publicsuffix/public_suffix_list.dat (Debian: publicsuffix)
//!     suffixes FILE    use this list instead
//!     reports ADDRESS  collect data for the reports (RFC 9990) that domains ask for; ADDRESS is the
//!                      reporter, such as dmarc-reports@mx.example.com; see REPORTS
//!     reports_sender ADDRESS|<>   the envelope sender of reports; ADDRESS of reports by default
//!     reporting 0|1    accepted for old configurations; has no effect
//!
//! REPORTS
//!     A domain can ask for a report on the mail that came in its name (rua= in its record).  With
//!     the argument reports, the data for such a report is kept in the store, counted for each day
//!     (UTC): the domain's record, the address that mail came from, the domains in From and in the
//!     envelope sender, what SPF and DKIM found, what was done with the mail, and why that differs
//!     from what the domain asks for.  No address of a person and no text of a message is kept.
//!
//!     Not counted: mail of clients that are not tested, mail whose From names several domains, and
//!     mail of which nobody knows whether it passes.  A report has at most 1000 rows, and a day at
//!     most 20000; rows above that are left out, which the log says.  Data is deleted after a week.
//!
//!     "qpsmtpd --dmarc-reports" sends the reports.  Call it from a timer every hour:
//!
//!         17 * * * *  root  qpsmtpd --dmarc-reports
//!
//!     Each domain has its own time of the day, at most 20 hours after the end of the day, so that
//!     reports are not all sent at once.  "--dmarc-reports all" sends all reports of past days, and
//!     "--dmarc-reports show" prints these reports and changes nothing.  "qpsmtpd --store explain
//!     dmarc_rows" shows what is counted.
//!
//!     A report goes only by mail, and to at most five addresses.  To an address of another
//!     organization it goes only if that organization says in the DNS that it wants such reports
//!     (DOMAIN._report._dmarc.HOST).  A size limit in the address (!10m) is kept to.  The report is
//!     signed as in the plugin dkim if there is a key for ADDRESS, and is handed to the queue
//!     plugins; no other plugin sees it.  The queue plugins have to take mail for everybody, as
//!     queue/smtp-forward and queue/qmail-queue do.
//!
//!     A report that cannot be queued is tried again for four days.  No report is sent twice: it is
//!     claimed before it is sent.  If the process dies after that, whether before or after the
//!     report is queued, the report is not sent again, and the log says so.
//!
//!     Without the store mail is judged all the same, but not counted.
//!
//! REPLIES
//!     552 failed DMARC policy
//!     452 DMARC could not be checked, try again later
//!
//! NOTES
//!     dmarc_result   on the transaction: pass, fail, none or temperror
//!
//! SEE ALSO
//!     dkim, sender_permitted_from; docs/dmarc-reports.md, docs/store.md
//! ```

mod elements;
mod kept;
mod mail;
mod organization;
mod recipients;
mod rows;
mod send;
mod xml;

use std::rc::Rc;

use self::organization::{discovery, organization};
use self::send::Reporter;
use crate::error::Result;
use crate::hook::{Args, Code, DECLINED, Hooks, Reject, Session, Verdict};
use crate::origin::dmarc::{Finding, MOST_AUTHORS, Outcome, Policy};
use crate::state::Note;

const RESULT: Note<String> = Note::new("dmarc_result");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&[
        "reject",
        "reject_type",
        "reporting",
        "discovery",
        "suffixes",
        "reports",
        "reports_sender",
    ])?;
    let suffixes = Rc::new(organization::read(args)?);
    let reporter = Reporter::from_args(args)?;
    let reports = reporter.is_some();
    if let Some(reporter) = reporter {
        rows::explain(hooks);
        let suffixes = suffixes.clone();
        hooks.job("dmarc-reports", move |session, word| {
            let organization = organization(&suffixes);
            send::run(session, &reporter, discovery(&suffixes, &organization), word)
        });
    }
    hooks.data_post_headers(move |session| {
        if session.is_immune() {
            return Ok(DECLINED);
        }
        if session.authors().len() > MOST_AUTHORS {
            session.transaction.notes.set(RESULT, "fail".into());
            let detail = format!("From names more than {MOST_AUTHORS} domains");
            return Ok(session.get_reject_logged("failed DMARC policy", detail));
        }
        let organization = organization(&suffixes);
        let discovery = discovery(&suffixes, &organization);
        let findings = session.check_dmarc(discovery)?.to_vec();
        let verdict = judge(session, &findings);
        if let ([finding], true) = (&findings[..], reports) {
            let refused = verdict.code().is_deny() || is_refused_later(session, finding);
            // The log has it already where the store does not answer, and the message is none the worse.
            let _ = rows::count(session, finding, discovery, refused);
        }
        Ok::<_, std::io::Error>(verdict)
    });
    Ok(())
}

/// Will the plugin naughty refuse the client because of the message?
fn is_refused_later(session: &Session, finding: &Finding) -> bool {
    (finding.outcome, finding.policy) == (Outcome::Fail, Policy::Reject)
        && session.reject() == Some(Reject::Later)
        && session.has_plugin("naughty")
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
        Outcome::Pass => session.pass(domain),
        Outcome::None => session.skip(format_args!("{domain} has no record")),
        Outcome::Fail => {
            // Where the domain asks for nothing, mailing lists are as likely as forgers.
            if worst.policy != Policy::None {
                session.adjust_karma(-3);
            }
            if worst.policy == Policy::Reject {
                let detail = format!("{domain} p={policy}, {why}");
                return session.get_reject_logged("failed DMARC policy", detail);
            }
            session.fail(format_args!("tolerated, {domain} p={policy}, {why}"))
        }
        Outcome::TempError => {
            if worst.policy == Policy::Reject && session.reject() != Some(Reject::No) {
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
    use crate::hook::{Call, Hook, KARMA};
    use crate::testing::Trial;

    const DNS: &str = "\
        _dmarc.reject.example TXT v=DMARC1; p=reject\n\
        _dmarc.quarantine.example TXT v=DMARC1; p=quarantine\n\
        _dmarc.nothing.example TXT v=DMARC1; p=none\n\
        _dmarc.later.example TXT failed\n\
        reject.example TXT v=spf1 ip4:192.0.2.1 -all\n\
        up.example TXT v=spf1 -all\n\
        _dmarc.up.partly.example TXT v=DMARC1; p=reject\n\
        _dmarc.partly.example TXT failed\n\
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
        let is = |from: &str, expected: Code, note: &str| {
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
        let many: Vec<String> = (0..11).map(|at| format!("a@{at}.example")).collect();
        is(&many[..10].join(", "), Declined, "none");
        is(&many.join(", "), Deny, "fail");
        // However the address is hidden from us, somebody shows it.
        is("\"Bank <a@reject.example>", Deny, "fail");
        is("(Bank <a@reject.example>", Deny, "fail");
        is("<a@reject.example x>", Deny, "fail");
        is("Bank: a@reject.example;", Deny, "fail");
        is("a@other.example\r\nFrom: b@reject.example", Deny, "fail");
        is("a@other.example\r\nfrom : b@REJECT.example.", Deny, "fail");
        assert_eq!(code("reject_type temp", other, "a@reject.example").0, DenySoft);
    }

    #[test]
    fn only_where_its_domain_asks_for_something_does_mail_from_others_cost_karma() {
        for (from, karma) in [
            ("a@reject.example", Some(-3)),
            ("a@quarantine.example", Some(-3)),
            ("a@nothing.example", None),
            ("a@other.example", None),
        ] {
            let mut trial = Trial::new("dmarc reject 0", &[]).with_dns(DNS);
            trial.mail("<x@other.example>");
            trial.message(&format!("From: {from}\r\n\r\nHello\r\n"));
            trial.call(Hook::DataPostHeaders, &Call::Nothing);
            assert_eq!(trial.session.connection.notes.get(KARMA), karma, "{from}");
        }
    }

    #[test]
    fn mail_of_the_domain_passes() {
        let own = code("", "<x@reject.example>", "a@reject.example");
        assert_eq!(own, (Declined, "pass".into()));
        assert_eq!(code("", "<x@reject.example>", "a@sub.reject.example").1, "pass");
    }

    #[test]
    fn organizations_are_found_by_a_list_as_well() {
        let list = "// ===BEGIN ICANN DOMAINS===\nexample\nshops.example\n";
        let dns = "_dmarc.shops.example TXT v=DMARC1; p=reject\n\
            _dmarc.one.shops.example TXT v=DMARC1; p=reject\n\
            www.one.shops.example TXT v=spf1 ip4:192.0.2.1 -all";
        let result = |discovery: &str, from: &str| {
            let line = format!("dmarc discovery {discovery} suffixes {{dir}}/config/list");
            let mut trial = Trial::new(&line, &[("list", list)]).with_dns(dns);
            trial.mail("<x@www.one.shops.example>");
            trial.message(&format!("From: a@{from}\r\n\r\nHello\r\n"));
            trial.call(Hook::DataPostHeaders, &Call::Nothing);
            trial.session.transaction.notes.get(super::RESULT).unwrap_or_default()
        };
        assert_eq!(result("walk", "mail.one.shops.example"), "pass");
        assert_eq!(result("suffixes", "mail.one.shops.example"), "pass");
        // By the records the shops are one organization, by the list each is its own.
        assert_eq!(result("walk", "two.shops.example"), "pass");
        assert_eq!(result("suffixes", "two.shops.example"), "none");
        assert!(Trial::load("dmarc discovery x", &[]).is_err());
        assert!(Trial::load("dmarc discovery suffixes suffixes /nonexistent", &[]).is_err());
    }

    #[test]
    fn what_nobody_knows_is_deferred_where_it_matters() {
        let unsure = |arguments| code(arguments, "<x@bounce.unsure.example>", "a@unsure.example");
        assert_eq!(unsure(""), (DenySoft, "temperror".into()));
        assert_eq!(unsure("reject 0"), (Declined, "temperror".into()));
        // The domain's own record is known, though not whose domain it is.
        let partly = |sender| code("", sender, "a@up.partly.example");
        assert_eq!(partly("<x@other.example>"), (Deny, "fail".into()));
        let mut trial = Trial::new("dmarc", &[])
            .with_dns(&format!("{DNS}\nsender.partly.example TXT v=spf1 ip4:192.0.2.1 -all"));
        trial.mail("<x@sender.partly.example>");
        trial.message("From: a@up.partly.example\r\n\r\nHello\r\n");
        assert_eq!(trial.call(Hook::DataPostHeaders, &Call::Nothing).code(), DenySoft);
    }
}
