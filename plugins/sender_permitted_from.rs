//! ```text
//! NAME
//!     sender_permitted_from - checks whether the client may send for the sender's domain (SPF)
//!
//! SYNOPSIS
//!     sender_permitted_from
//!     sender_permitted_from reject LEVEL [no_dmarc_policy LEVEL]
//!
//! DESCRIPTION
//!     Looks up the SPF records (RFC 7208) of the domain in MAIL FROM and of the name that the
//!     client gave in HELO or EHLO.  The result goes to the log, into Authentication-Results and
//!     into a field Received-SPF, and dmarc uses it.  For the null sender <> the name in HELO
//!     counts, and nobody is refused.
//!
//!     A client that may relay or is on a white list is not tested.
//!
//! ARGUMENTS
//!     reject 0|1   refuse nobody; the default
//!     reject 2     450 to a result fail or temperror
//!     reject 3     550 to fail; 450 to softfail and temperror
//!     reject 4     550 to softfail as well; 450 to permerror
//!     reject 5     550 to neutral as well
//!     reject 6     550 to none and permerror as well; a higher number means the same
//!     reject naughty
//!                  the same as reject 1, as with the Perl plugin: nobody is marked
//!     spf_deny 1   an older form of reject 3; spf_deny 2 is reject 4
//!
//!     no_dmarc_policy LEVEL
//!                  what to refuse with 552 when the message is there, if the domain of its author has
//!                  no DMARC record, as the plugin dmarc has found out: 1 a fail, 2 a softfail as
//!                  well, 3 neutral as well, 4 none and permerror as well; 0, the default, nothing.
//!                  For "reject 1", with which dmarc decides about domains that have a record
//!
//!     3 is a good start.  Higher levels refuse mail that its domains do not ask to refuse.
//!
//!     A result of temperror, a record that cannot be looked up now, is never refused permanently:
//!     it gets 450, from level 2 on.  With the Perl plugin "no_dmarc_policy 4" refuses it.
//!
//! REPLIES
//!     550 SPF - forgery: REASON    a fail; REASON is the domain's own explanation, if it has one
//!     450 SPF - fail: REASON       a fail at level 2, a softfail at level 3
//!     550 SPF - fail: REASON       a softfail
//!     SPF - RESULT: REASON         another result, 550 or 450
//!
//! CONFIG
//!     spfbehavior   the level, if there is no argument reject
//!
//! NOTES
//!     spfquery        on the transaction: the result, such as `pass`
//!     dmarc_spf       on the transaction: the domain, the scope (mfrom or helo), and the result
//!     spf_pass_host   on the transaction: the sender's domain, if the result is pass
//!
//! SEE ALSO
//!     dkim, dmarc, resolvable_fromhost
//! ```

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::origin::dmarc;
use crate::origin::spf::{Finding, Outcome};
use crate::settings::yes_or_no;
use crate::state::Note;
use crate::state::results::{Spf, comment, quoted_string};

/// The result, for Perl plugins.
const SPFQUERY: Note<String> = Note::new("spfquery");
/// The sender's domain where the result is pass.
const SPF_PASS_HOST: Note<String> = Note::new("spf_pass_host");
/// What DMARC takes into account.
const DMARC_SPF: Note<BTreeMap<String, String>> = Note::new("dmarc_spf");

/// The highest level.
const MOST: u8 = 6;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    hooks.reads_reject();
    args.only(&["reject", "spf_deny", "no_dmarc_policy"])?;
    let level = level(args)?;
    let without_dmarc = level_without_dmarc(args)?;
    hooks.mail(move |session, sender, _params| {
        if session.is_immune() {
            return DECLINED;
        }
        let level = level.unwrap_or_else(|| behavior(session));
        check(session, sender, level)
    });
    hooks.data_post(move |session| {
        if let Some(text) = received_spf(session) {
            session.transaction.header.add_at(0, "Received-SPF", &text);
        }
        if session.is_immune() { DECLINED } else { judge_without_dmarc(session, without_dmarc) }
    });
    Ok(())
}

/// The level that the arguments name.
fn level(args: &Args) -> Result<Option<u8>> {
    match (args.named("spf_deny"), args.named("reject")) {
        (Some("1"), _) => Ok(Some(3)),
        (Some("2"), _) => Ok(Some(4)),
        (Some("0") | None, None) => Ok(None),
        (Some("0") | None, Some(word)) => match (word.parse::<u32>(), yes_or_no(word)) {
            (Ok(level), _) => Ok(Some(at_most(level, MOST))),
            // To Perl each of these words is yes, and as a level less than 2.
            (_, Some(yes)) => Ok(Some(u8::from(yes))),
            _ if word.eq_ignore_ascii_case("naughty") => Ok(Some(1)),
            _ => Err(Error::value("reject", word, "0 to 6")),
        },
        (Some(word), _) => Err(Error::value("spf_deny", word, "0, 1, 2")),
    }
}

/// The level for authors whose domains have no DMARC record; 0: nothing is refused.
fn level_without_dmarc(args: &Args) -> Result<u8> {
    Ok(at_most(args.parsed("no_dmarc_policy", 0)?, 4))
}

/// A level above the highest one is as the highest.
fn at_most(level: u32, most: u8) -> u8 {
    u8::try_from(level).unwrap_or(most).min(most)
}

fn behavior(session: &mut Session) -> u8 {
    let level = session.config_number("spfbehavior", 0);
    u8::try_from(level).unwrap_or(MOST).min(MOST)
}

fn check(session: &mut Session, sender: &Address, level: u8) -> Verdict {
    session.check_spf_of(Some(sender));
    let results = session.transaction.results.clone();
    match (results.spf, results.helo) {
        (Some(of_sender), _) => {
            note(session, "mfrom", &of_sender);
            judge(session, sender, &of_sender.finding, level)
        }
        (None, of_helo) => {
            session.skip("null sender");
            if let Some(of_helo) = of_helo {
                note(session, "helo", &of_helo);
            }
            DECLINED
        }
    }
}

/// Leaves the result for other plugins.
fn note(session: &mut Session, scope: &str, result: &Spf) {
    let name = result.finding.outcome.name();
    let known = [("domain", result.domain.as_str()), ("scope", scope), ("result", name)];
    let known = known.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    session.transaction.notes.set(SPFQUERY, name.to_owned());
    session.transaction.notes.set(DMARC_SPF, known);
}

fn judge(session: &mut Session, sender: &Address, finding: &Finding, level: u8) -> Verdict {
    let name = finding.outcome.name();
    let why = finding.explanation.as_deref().unwrap_or(&finding.reason).to_owned();
    let (code, text) = match finding.outcome {
        Outcome::Pass => {
            session.adjust_karma(1);
            let host = sender.host().to_ascii_lowercase();
            session.transaction.notes.set(SPF_PASS_HOST, host);
            return session.pass(&why);
        }
        Outcome::Fail if level >= 3 => (Code::Deny, format!("SPF - forgery: {why}")),
        Outcome::Fail if level >= 2 => (Code::DenySoft, format!("SPF - fail: {why}")),
        Outcome::SoftFail if level >= 4 => (Code::Deny, format!("SPF - fail: {why}")),
        Outcome::SoftFail if level >= 3 => (Code::DenySoft, format!("SPF - fail: {why}")),
        Outcome::Neutral if level >= 5 => (Code::Deny, format!("SPF - neutral: {why}")),
        Outcome::None if level >= 6 => (Code::Deny, format!("SPF - none: {why}")),
        Outcome::PermError if level >= 6 => (Code::Deny, format!("SPF - permerror: {why}")),
        Outcome::PermError if level >= 4 => (Code::DenySoft, format!("SPF - permerror: {why}")),
        Outcome::TempError if level >= 2 => (Code::DenySoft, format!("SPF - temperror: {why}")),
        _ => (Code::Declined, String::new()),
    };
    if matches!(finding.outcome, Outcome::Fail | Outcome::SoftFail) {
        session.adjust_karma(-1);
    }
    if code == Code::Declined {
        let word = if finding.outcome == Outcome::None { "skip" } else { "fail" };
        session.log(Level::Info, format_args!("{word}, tolerated, {name}, {why}"));
        return DECLINED;
    }
    session.fail(format_args!("{name}, {why}"));
    Verdict::new(code, text)
}

/// Refuses for what SPF says of the sender if DMARC has nothing to say of any author.
fn judge_without_dmarc(session: &Session, level: u8) -> Verdict {
    let results = &session.transaction.results;
    let has_no_record = |finding: &dmarc::Finding| finding.outcome == dmarc::Outcome::None;
    let Some(Spf { finding, .. }) = &results.spf else { return DECLINED };
    if results.dmarc.is_empty() || !results.dmarc.iter().all(has_no_record) {
        return DECLINED;
    }
    let least = match finding.outcome {
        Outcome::Fail => 1,
        Outcome::SoftFail => 2,
        Outcome::Neutral => 3,
        Outcome::None | Outcome::PermError => 4,
        Outcome::Pass | Outcome::TempError => return DECLINED,
    };
    if !(1..=level).contains(&least) {
        return DECLINED;
    }
    let (name, why) = (finding.outcome.name(), &finding.reason);
    session.fail(format_args!("{name}, {why}, and no DMARC record"));
    Verdict::deny(format!("SPF - {name}: {why}"))
}

/// The value of the field Received-SPF (RFC 7208 9.1).
fn received_spf(session: &mut Session) -> Option<String> {
    let me = session.me();
    let results = &session.transaction.results;
    let (identity, spf) = match (&results.spf, &results.helo) {
        (Some(spf), _) => ("mailfrom", spf),
        (None, Some(helo)) => ("helo", helo),
        (None, None) => return None,
    };
    let sender = session.transaction.sender().map(Address::address).unwrap_or_default();
    let name = spf.finding.outcome.name();
    let ip = session.connection.remote_ip;
    let why = comment(&spf.finding.reason);
    let helo = value(&session.connection.hello_host);
    Some(format!(
        "{name} ({me}: {why}) receiver={}; identity={identity};\n envelope-from={}; helo={helo}; client-ip={}",
        value(&me),
        value(&sender),
        value(&ip.to_string()),
    ))
}

/// A value of that field: words with dots between them stand as they are, all else in quotes.
fn value(text: &str) -> String {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+=".contains(&b))
    };
    if text.split('.').all(is_word) { text.to_owned() } else { quoted_string(text) }
}

#[cfg(test)]
mod tests {
    use crate::hook::Code::{self, Declined, Deny, DenySoft};
    use crate::hook::{Call, Hook, KARMA, NAUGHTY};
    use crate::testing::Trial;

    const DNS: &str = "\
        pass.example TXT v=spf1 ip4:192.0.2.1 -all\n\
        fail.example TXT v=spf1 -all exp=why.example\n\
        why.example TXT Ask %{o} about %{i}\n\
        soft.example TXT v=spf1 ~all\n\
        neutral.example TXT v=spf1 ?all\n\
        broken.example TXT v=spf1 moo\n\
        later.example TXT failed";

    fn trial(arguments: &str) -> Trial {
        let mut trial =
            Trial::new(&format!("sender_permitted_from {arguments}"), &[]).with_dns(DNS);
        trial.session.connection.hello_host = "pass.example".into();
        trial
    }

    /// What comes of each result, at levels 1 to 6.
    #[test]
    fn levels() {
        let table: [(&str, [Code; 6]); 7] = [
            ("pass", [Declined; 6]),
            ("fail", [Declined, DenySoft, Deny, Deny, Deny, Deny]),
            ("soft", [Declined, Declined, DenySoft, Deny, Deny, Deny]),
            ("neutral", [Declined, Declined, Declined, Declined, Deny, Deny]),
            ("none", [Declined, Declined, Declined, Declined, Declined, Deny]),
            ("broken", [Declined, Declined, Declined, DenySoft, DenySoft, Deny]),
            ("later", [Declined, DenySoft, DenySoft, DenySoft, DenySoft, DenySoft]),
        ];
        for (name, codes) in table {
            for (level, code) in (1..).zip(codes) {
                let verdict =
                    trial(&format!("reject {level}")).mail(&format!("<a@{name}.example>"));
                assert_eq!(verdict.code(), code, "{name} at {level}: {}", verdict.text());
            }
        }
    }

    #[test]
    fn the_domains_own_words_are_the_reply() {
        let mut trial = trial("reject 3");
        let verdict = trial.mail("<a@Fail.Example>");
        assert_eq!(verdict.text(), "SPF - forgery: Ask Fail.Example about 192.0.2.1");
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-1));
        assert_eq!(trial.mail("<a@pass.example>").code(), Declined);
        assert_eq!(
            trial.session.transaction.notes.get(super::SPF_PASS_HOST).as_deref(),
            Some("pass.example")
        );
    }

    #[test]
    fn the_null_sender_is_judged_by_helo_and_not_refused() {
        let mut trial = trial("reject 6");
        trial.session.connection.hello_host = "fail.example".into();
        assert_eq!(trial.mail("<>").code(), Declined);
        let results = &trial.session.transaction.results;
        assert!(results.spf.is_none());
        assert_eq!(results.texts(), ["spf=fail smtp.helo=fail.example"]);
    }

    #[test]
    fn the_result_stands_in_a_field() {
        let mut trial = trial("");
        trial.message("Subject: x\r\n\r\n");
        trial.mail("<a@soft.example>");
        trial.call(Hook::DataPost, &Call::Nothing);
        let field = trial.session.transaction.header.get("Received-SPF").unwrap().into_owned();
        assert!(field.starts_with("softfail ("), "{field}");
        assert!(field.contains("envelope-from=\"a@soft.example\"; helo=pass.example"), "{field}");
        assert!(field.ends_with("client-ip=192.0.2.1"), "{field}");
    }

    #[test]
    fn arguments_of_old_and_wrong_ones() {
        assert_eq!(trial("spf_deny 1").mail("<a@fail.example>").code(), Deny);
        assert_eq!(trial("spf_deny 2").mail("<a@soft.example>").code(), Deny);
        let mut configured = trial("");
        configured.set_config("spfbehavior", "3\n");
        assert_eq!(configured.mail("<a@fail.example>").code(), Deny);
        for word in ["naughty", "yes", "1"] {
            let mut tolerant = trial(&format!("reject {word}"));
            assert_eq!(tolerant.mail("<a@fail.example>").code(), Declined, "{word}");
            assert_eq!(tolerant.session.connection.notes.get(NAUGHTY), None);
        }
        assert_eq!(trial("reject 12").mail("<a@fail.example>").code(), Deny);
        for wrong in ["reject maybe", "reject -1", "no_dmarc_policy x", "spf_deny 3", "rejct 1"] {
            assert!(Trial::load(&format!("sender_permitted_from {wrong}"), &[]).is_err());
        }
        let mut relay = trial("reject 3");
        relay.session.connection.relay_client = true;
        assert_eq!(relay.mail("<a@fail.example>").code(), Declined);
    }
    /// What comes of each result if the author's domain has no DMARC record, at levels 0 to 4.
    #[test]
    fn levels_without_a_dmarc_record() {
        let table: [(&str, u8); 7] = [
            ("pass", 5),
            ("fail", 1),
            ("soft", 2),
            ("neutral", 3),
            ("none", 4),
            ("broken", 4),
            ("later", 5),
        ];
        let dns = format!("{DNS}\n_dmarc.record.test TXT v=DMARC1; p=none");
        let lines =
            |level| format!("sender_permitted_from reject 1 no_dmarc_policy {level}\ndmarc");
        let code = |lines: &str, name: &str, author: &str| {
            let mut trial = Trial::new(lines, &[]).with_dns(&dns);
            trial.mail(&format!("<a@{name}.example>"));
            trial.message(&format!("From: b@{author}.test\n\nx\n"));
            trial.plain(Hook::DataPostHeaders);
            trial.plain(Hook::DataPost).code()
        };
        for (name, least) in table {
            for level in 0..=4 {
                let expected = if level >= least { Deny } else { Declined };
                assert_eq!(code(&lines(level), name, "none"), expected, "{name} at {level}");
            }
            assert_eq!(code(&lines(4), name, "record"), Declined, "{name} with a record");
        }
        let alone = "sender_permitted_from reject 1 no_dmarc_policy 4";
        assert_eq!(code(alone, "fail", "none"), Declined);
    }
}
