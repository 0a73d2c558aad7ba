//! ```text
//! NAME
//!     bogus_bounce - refuses messages that only claim to be bounces
//!
//! SYNOPSIS
//!     bogus_bounce [log|deny|denysoft]
//!     bogus_bounce reject 0|1|naughty [reject_type TYPE]
//!
//! DESCRIPTION
//!     A bounce has the null sender <> and exactly one recipient, the person who sent the message
//!     that bounces, and has no Return-Path or an empty one (RFC 3834).  A message with the null
//!     sender that differs from this is written to the log or refused.
//!
//!     Unlike the Perl plugin of the same name, this one does refuse with "deny" and "denysoft".
//!
//! ARGUMENTS
//!     log              refuse nothing; write to the log what would be refused; the default
//!     deny             refuse permanently, with 552
//!     denysoft         refuse temporarily, with 452
//!     action WORD      one of these three words
//!     reject           0, 1 or naughty, instead of an action
//!     reject_type      perm, temp, disconnect or temp_disconnect
//!
//! SEE ALSO
//!     headers, naughty
//! ```

use crate::error::Result;
use crate::hook::{Args, Code, Hooks, Session, Verdict};

/// The actions, with the verdict of each.
const ACTIONS: [(&str, Code); 3] =
    [("log", Code::Declined), ("deny", Code::Deny), ("denysoft", Code::DenySoft)];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let args = match args.positional()[..] {
        [word] => &Args::new(["action", word]),
        _ => args,
    };
    args.only(&["action"])?;
    let action = args.one_of("action", &ACTIONS.map(|(name, code)| (name, Some(code))), None)?;
    hooks.data_post(move |session| {
        if !session.transaction.sender().is_some_and(|sender| sender.is_null()) {
            return session.pass("not a null sender");
        }
        let recipients = session.transaction.recipients();
        if recipients.len() != 1 {
            let to: Vec<_> = recipients.iter().map(ToString::to_string).collect();
            let detail = format!("bogus bounce to: {}", to.join(","));
            let text = "fail, this bounce message does not have 1 recipient";
            return refuse(session, action, text, &detail);
        }
        let is_path = |path: &str| !matches!(path.trim(), "" | "<>");
        if session.transaction.header.get_all("Return-Path").any(|path| is_path(&path)) {
            let text = "a bounce return path must be empty (RFC 3834)";
            return refuse(session, action, text, "the bounce has a Return-Path");
        }
        session.pass("single recipient, empty Return-Path")
    });
    Ok(())
}

/// By the argument `reject` where there is one, else by the action.
fn refuse(session: &mut Session, action: Option<Code>, text: &'static str, why: &str) -> Verdict {
    let action = action.filter(|code| code.is_deny());
    if session.reject().is_none() && action.is_none() {
        return session.fail(format_args!("tolerated, {why}"));
    }
    let verdict = session.get_reject_logged(text, why);
    if !verdict.code().is_deny() {
        return verdict;
    }
    verdict.with_code(session.get_reject_type(action.unwrap_or(Code::Deny)))
}

#[cfg(test)]
mod tests {
    use crate::hook::{Code, Hook, NAUGHTY, Verdict};
    use crate::testing::Trial;

    const TWO: &str = "fail, this bounce message does not have 1 recipient";
    const PATH: &str = "a bounce return path must be empty (RFC 3834)";

    fn bounce(line: &str, recipients: &[&str], message: &str) -> (Trial, Verdict) {
        let mut trial = Trial::new(line, &[]);
        trial.mail("<>");
        for recipient in recipients {
            trial.rcpt(recipient);
        }
        trial.message(message);
        let verdict = trial.plain(Hook::DataPost);
        (trial, verdict)
    }

    fn to_two(line: &str) -> Verdict {
        bounce(line, &["<a@x.test>", "<b@x.test>"], "Subject: x\n\n").1
    }

    #[test]
    fn it_logs_unless_told_otherwise() {
        let two = ["<a@x.test>", "<b@x.test>"];
        for line in
            ["bogus_bounce", "bogus_bounce log", "bogus_bounce reject 0", "check_bogus_bounce"]
        {
            let (trial, verdict) = bounce(line, &two, "Subject: x\n\n");
            assert_eq!(verdict.code(), Code::Declined, "{line}");
            let said = "fail, tolerated, bogus bounce to: <a@x.test>,<b@x.test>";
            assert!(trial.log().contains(said), "{line}: {}", trial.log());
        }
    }

    #[test]
    fn actions_and_reject_refuse() {
        for (line, code) in [
            ("bogus_bounce deny", Code::Deny),
            ("bogus_bounce DenySoft", Code::DenySoft),
            ("bogus_bounce action denysoft", Code::DenySoft),
            ("bogus_bounce deny reject_type disconnect", Code::DenyDisconnect),
            ("bogus_bounce reject 1", Code::Deny),
            ("bogus_bounce reject 1 reject_type temp", Code::DenySoft),
            ("bogus_bounce denysoft reject 1", Code::DenySoft),
            ("bogus_bounce deny reject 0", Code::Declined),
        ] {
            let verdict = to_two(line);
            assert_eq!(verdict.code(), code, "{line}");
            assert!(!code.is_deny() || verdict.text() == TWO, "{line}");
        }
        let (trial, verdict) =
            bounce("bogus_bounce reject naughty", &["<a@x.test>", "<b@x.test>"], "A: b\n\n");
        assert_eq!(verdict.code(), Code::Declined);
        assert_eq!(trial.session.connection.notes.get(NAUGHTY).as_deref(), Some(TWO));
    }

    #[test]
    fn a_return_path_says_that_it_is_none() {
        for (message, code) in [
            ("Subject: x\n\n", Code::Declined),
            ("Return-Path: <>\n\n", Code::Declined),
            ("Return-Path:\n\n", Code::Declined),
            ("Return-Path: <a@x.test>\n\n", Code::Deny),
            ("Return-Path: <>\nReturn-Path: <a@x.test>\n\n", Code::Deny),
        ] {
            let (_, verdict) = bounce("bogus_bounce deny", &["<a@x.test>"], message);
            assert_eq!(verdict.code(), code, "{message}");
            assert!(code == Code::Declined || verdict.text() == PATH, "{message}");
        }
    }

    #[test]
    fn what_is_no_bounce_passes() {
        let mut trial = Trial::new("bogus_bounce deny", &[]);
        trial.mail("<s@x.test>");
        trial.rcpt("<a@x.test>");
        trial.rcpt("<b@x.test>");
        assert_eq!(trial.plain(Hook::DataPost).code(), Code::Declined);
        assert!(trial.log().contains("pass, not a null sender"));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (line, why) in [
            (
                "bogus_bounce refuse",
                "argument action has the value 'refuse' (expected: log, deny, denysoft)",
            ),
            ("bogus_bounce action refuse", "has the value 'refuse'"),
            ("bogus_bounce deny soft", "unknown argument 'deny'"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
