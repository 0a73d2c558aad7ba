//! THE table that makes a reply of a verdict.

use crate::hook::{Code, Decision, Hook};
use crate::smtp::syntax::reply::Reply;

/// The text for the client when a plugin could not do its work.
pub const INTERNAL_ERROR: &str = "Internal error - try again later";

/// What a refusal of one kind means at one hook.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The reply's code.
    pub code: u16,
    /// Its text where the plugin gives none; `{}` is what the command was about.
    pub text: &'static str,
    /// Is the connection closed?
    pub close: bool,
}

/// One row of the reply table: what the four refusals mean at a hook.  None: the refusal has no
/// meaning there, the default reply is given.
#[derive(Debug)]
pub struct Row {
    /// The hook.
    pub hook: Hook,
    /// DENY, DENYSOFT, DENY_DISCONNECT and DENYSOFT_DISCONNECT.
    pub answers: [Option<Answer>; 4],
}

const fn keep(code: u16, text: &'static str) -> Option<Answer> {
    Some(Answer { code, text, close: false })
}

const fn shut(code: u16, text: &'static str) -> Option<Answer> {
    Some(Answer { code, text, close: true })
}

const NOT_YOU: &str = "Sorry, service not available for you";
const LATER: &str = "Sorry, try again later";
const BYE: &str = "Connection from you denied, bye bye.";
const BYE_NOW: &str = "Connection from you temporarily denied, bye bye.";
const NOT_NOW: &str = "Too many attempts";
const DENIED: &str = "Message denied";
const DENIED_NOW: &str = "Message denied temporarily";

/// THE reply table.
pub const TABLE: &[Row] = &[
    row(
        Hook::PreConnection,
        [shut(550, NOT_YOU), shut(451, LATER), shut(550, NOT_YOU), shut(451, LATER)],
    ),
    row(Hook::Connect, [shut(550, BYE), shut(450, BYE_NOW), shut(550, BYE), shut(450, BYE_NOW)]),
    row(Hook::HeloParse, HELLO),
    row(Hook::Helo, HELLO),
    row(Hook::EhloParse, HELLO),
    row(Hook::Ehlo, HELLO),
    row(
        Hook::AuthAttempt,
        [keep(535, NOT_NOW), keep(454, NOT_NOW), shut(535, NOT_NOW), shut(421, NOT_NOW)],
    ),
    row(Hook::MailPre, MAIL),
    row(Hook::Mail, MAIL),
    row(Hook::RcptPre, RCPT),
    row(Hook::Rcpt, RCPT),
    row(
        Hook::Data,
        [keep(554, DENIED), keep(451, DENIED_NOW), shut(554, DENIED), shut(421, DENIED_NOW)],
    ),
    row(Hook::DataHeadersEnd, [None, None, shut(554, DENIED), shut(421, DENIED_NOW)]),
    row(Hook::DataPostHeaders, MESSAGE),
    row(Hook::DataPost, MESSAGE),
    row(Hook::QueuePre, MESSAGE),
    row(Hook::Queue, MESSAGE),
    row(Hook::Vrfy, [keep(554, "Access Denied"), None, shut(554, "Access Denied"), None]),
    row(
        Hook::Noop,
        [keep(500, "Stop wasting my time."), None, shut(500, "Stop wasting my time."), None],
    ),
    row(
        Hook::Help,
        [
            keep(500, "Syntax error, command not recognized"),
            None,
            shut(500, "Syntax error, command not recognized"),
            None,
        ],
    ),
    row(
        Hook::UnrecognizedCommand,
        [keep(500, "Unrecognized command"), None, shut(521, "Unrecognized command"), None],
    ),
];

const HELLO: [Option<Answer>; 4] = [
    keep(550, "{} is not welcome here"),
    keep(450, "{} is not welcome now"),
    shut(550, "{} is not welcome here"),
    shut(450, "{} is not welcome now"),
];

const MAIL: [Option<Answer>; 4] = [
    keep(550, "{}, denied"),
    keep(450, "{}, temporarily denied"),
    shut(550, "{}, denied"),
    shut(421, "{}, temporarily denied"),
];

const RCPT: [Option<Answer>; 4] = [
    keep(550, "relaying denied"),
    keep(450, "relaying denied"),
    shut(550, "delivery denied"),
    shut(421, "relaying denied"),
];

const MESSAGE: [Option<Answer>; 4] =
    [keep(552, DENIED), keep(452, DENIED_NOW), shut(552, DENIED), shut(452, DENIED_NOW)];

const fn row(hook: Hook, answers: [Option<Answer>; 4]) -> Row {
    Row { hook, answers }
}

/// The reply that refuses, and whether the connection is closed; None where nothing is refused.
/// `about` is what the command was about.
pub(crate) fn refusal(hook: Hook, decision: &Decision, about: &str) -> Option<(Reply, bool)> {
    let Ok(verdict) = decision else {
        let close = matches!(hook, Hook::PreConnection | Hook::Connect);
        let code = if close { 421 } else { 451 };
        return Some((Reply::new(code, "4.3.0", INTERNAL_ERROR), close));
    };
    let column = match verdict.code() {
        Code::Deny => 0,
        Code::DenySoft => 1,
        Code::DenyDisconnect => 2,
        Code::DenySoftDisconnect => 3,
        Code::Declined | Code::Ok | Code::Done => return None,
    };
    let answer = TABLE.iter().find(|row| row.hook == hook)?.answers[column]?;
    let text = match verdict.text() {
        "" => answer.text.replace("{}", about),
        text => text.to_owned(),
    };
    if let Some(code) = verdict.reply().filter(|code| code / 100 == answer.code / 100) {
        return Some((Reply::own(code, text), answer.close));
    }
    let status = match (hook, answer.code / 100) {
        (Hook::Noop | Hook::Help | Hook::UnrecognizedCommand, _) => "5.5.1",
        (_, 4) => "4.7.1",
        _ => "5.7.1",
    };
    Some((Reply::new(answer.code, status, text), answer.close))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{DECLINED, DONE, Failure, OK, Verdict};
    use crate::smtp::syntax::reply::Form;

    fn wire(reply: &Reply) -> String {
        let mut out = vec![];
        reply.write(Form { enhanced: true, utf8: false }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn verdicts_become_upstreams_replies() {
        let cases = [
            (Hook::Connect, Verdict::denysoft(""), 450, BYE_NOW, true),
            (Hook::Mail, Verdict::deny(""), 550, "<a@b>, denied", false),
            (Hook::Mail, Verdict::denysoft_disconnect("no"), 421, "no", true),
            (Hook::Rcpt, Verdict::deny(""), 550, "relaying denied", false),
            (Hook::Data, Verdict::denysoft(""), 451, DENIED_NOW, false),
            (Hook::DataPost, Verdict::deny(""), 552, DENIED, false),
            (Hook::DataPostHeaders, Verdict::deny("x"), 552, "x", false),
            (Hook::Queue, Verdict::denysoft(""), 452, DENIED_NOW, false),
            (Hook::UnrecognizedCommand, Verdict::deny_disconnect("x"), 521, "x", true),
        ];
        for (hook, verdict, code, text, close) in cases {
            let (reply, closes) = refusal(hook, &Ok(verdict), "<a@b>").unwrap();
            assert_eq!((reply.code(), reply.text(), closes), (code, text, close), "{hook:?}");
        }
        for verdict in [OK, DECLINED, DONE] {
            assert!(refusal(Hook::Rcpt, &Ok(verdict), "").is_none());
        }
        assert!(refusal(Hook::DataHeadersEnd, &Ok(Verdict::deny("")), "").is_none());
    }

    /// RFC 2034 4: a status whose first digit is the code's.
    #[test]
    fn every_refusal_has_a_status_of_its_class() {
        use crate::hook::TABLE as HOOKS;
        let verdicts = [
            Ok(Verdict::deny("")),
            Ok(Verdict::denysoft("text")),
            Ok(Verdict::deny_disconnect("text (#5.7.1)")),
            Ok(Verdict::denysoft_disconnect("text (#5.7.1)")),
            Ok(Verdict::denysoft("text (#9.9.9)")),
            Ok(Verdict::deny("").with_reply(550)),
            Ok(Verdict::denysoft("").with_reply(451)),
            Err(Failure::new("why")),
        ];
        let mut count = 0;
        for (row, verdict) in HOOKS.iter().flat_map(|row| verdicts.iter().map(move |v| (row, v))) {
            let Some((reply, _)) = refusal(row.hook, verdict, "x") else { continue };
            let line = wire(&reply);
            let (code, rest) = line.split_once(' ').unwrap();
            let status: Vec<&str> = rest.split(' ').next().unwrap().split('.').collect();
            let is_status = status.len() == 3 && status.iter().all(|n| n.parse::<u16>().is_ok());
            assert!(is_status && status[0] == &code[..1], "{} {verdict:?}: {line}", row.name);
            count += 1;
        }
        assert!(count > 4 * TABLE.len(), "{count}");
    }

    #[test]
    fn a_code_of_the_plugins_own_keeps_its_class() {
        for (verdict, want) in [
            (Verdict::deny("no (#5.1.1)").with_reply(550), "550 5.1.1 no\r\n"),
            (Verdict::deny("no").with_reply(554), "554 5.0.0 no\r\n"),
            (Verdict::denysoft("").with_reply(451), "451 4.0.0 Message denied temporarily\r\n"),
            (Verdict::deny("no").with_reply(250), "552 5.7.1 no\r\n"),
            (Verdict::denysoft("no").with_reply(550), "452 4.7.1 no\r\n"),
        ] {
            let (reply, _) = refusal(Hook::Queue, &Ok(verdict), "").unwrap();
            assert_eq!(wire(&reply), want);
        }
        assert!(refusal(Hook::Queue, &Ok(OK.with_reply(550)), "").is_none());
    }

    #[test]
    fn a_failing_plugin_never_accepts() {
        let failure = Err(Failure::new("why"));
        let (reply, close) = refusal(Hook::Rcpt, &failure, "").unwrap();
        assert_eq!((reply.code(), reply.text(), close), (451, INTERNAL_ERROR, false));
        assert_eq!(refusal(Hook::Connect, &failure, "").unwrap().0.code(), 421);
    }
}
