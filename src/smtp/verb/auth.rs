//! AUTH (RFC 4954).

mod cram_md5;
mod exchange;
mod passwords;
mod scram;

use crate::hook::{Call, Code, Credentials, Hook, NAUGHTY, Secret, Verdict};
use crate::log::Level;
use crate::settings::{AUTH_MECHANISMS, TLS_BEFORE_AUTH};
use crate::smtp::session::Dialogue;
use crate::smtp::verb::starttls;

/// One mechanism: its name, its own hook, and how it is done.
struct Mechanism {
    name: &'static str,
    hook: Hook,
    /// Does the hook `auth` do in place of its own?
    is_general: bool,
    /// Does it bind the client to this connection's TLS (RFC 5056)?
    binds: bool,
    /// Talks with the client and asks the hooks.  None: the client has been told what was wrong.
    run: fn(&mut Dialogue, &Mechanism, Option<&str>) -> Option<Outcome>,
}

/// The mechanisms, in the order in which they are offered.
const MECHANISMS: [Mechanism; 5] = [
    credentials("PLAIN", Hook::AuthPlain, passwords::plain),
    credentials("LOGIN", Hook::AuthLogin, passwords::login),
    credentials("CRAM-MD5", Hook::AuthCramMd5, cram_md5::run),
    scram("SCRAM-SHA-256", false),
    scram("SCRAM-SHA-256-PLUS", true),
];

const fn credentials(
    name: &'static str,
    hook: Hook,
    run: fn(&mut Dialogue, &Mechanism, Option<&str>) -> Option<Outcome>,
) -> Mechanism {
    Mechanism { name, hook, is_general: true, binds: false, run }
}

const fn scram(name: &'static str, binds: bool) -> Mechanism {
    Mechanism { name, hook: Hook::AuthScramSha256, is_general: false, binds, run: scram::run }
}

/// As whom a client wanted to authenticate, and what came of it.
struct Outcome {
    user: String,
    verdict: Verdict,
}

/// After so many failed attempts the connection is closed.
const MOST_FAILURES: u32 = 5;

/// What a client presented; it has no Debug, so that it cannot be printed by mistake.
struct Presented {
    user: String,
    password: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
    ticket: String,
}

/// The mechanisms that plugins can check in this session, or those of them that
/// `config/auth_mechanisms` names; none before TLS where `config/tls_before_auth` wants it first.
pub(crate) fn mechanisms(dialogue: &mut Dialogue) -> Vec<&'static str> {
    if must_encrypt_first(dialogue) {
        return vec![];
    }
    let plugins = dialogue.session.plugins();
    let any = plugins.has(Hook::Auth);
    let is_bound = dialogue.stream.channel_binding().is_some();
    let known: Vec<_> = MECHANISMS
        .iter()
        .filter(|known| plugins.has(known.hook) || any && known.is_general)
        .filter(|known| is_bound || !known.binds)
        .map(|known| known.name)
        .collect();
    if known.is_empty() {
        return known;
    }
    let wanted = dialogue.session.setting(AUTH_MECHANISMS);
    known.into_iter().filter(|name| wanted.is_empty() || wanted.contain(name)).collect()
}

pub(crate) use scram::read as read_scram;

pub(crate) fn auth(dialogue: &mut Dialogue, argument: &str) {
    if dialogue.session.connection.is_esmtp() && must_encrypt_first(dialogue) {
        return dialogue.say(503, "5.7.11", "SSL/TLS required before AUTH");
    }
    let offered = mechanisms(dialogue);
    if offered.is_empty() || !dialogue.session.connection.is_esmtp() {
        return super::small::unrecognized(dialogue, "auth", "");
    }
    let parsed = dialogue.ask(Hook::AuthParse, &Call::Line(argument));
    if parsed.is_failure() {
        return dialogue.say(454, "4.7.0", "Temporary authentication failure");
    }
    let line = match parsed.code() {
        Code::Declined => argument,
        Code::Ok => parsed.text(),
        _ => return dialogue.say(501, "5.5.4", or(parsed.text(), "Syntax error in command")),
    };
    let (name, initial) = match line.split_once(' ') {
        Some((name, initial)) => (name, Some(initial.trim())),
        None => (line, None),
    };
    if dialogue.session.auth_user().is_some() {
        return dialogue.say(503, "5.5.1", "but you already said AUTH ...");
    }
    if dialogue.session.transaction.sender().is_some() {
        return dialogue.say(503, "5.5.1", "AUTH is not allowed during a mail transaction");
    }
    if name.is_empty() {
        return dialogue.say(501, "5.5.4", "Syntax error in command");
    }
    let known = MECHANISMS.iter().find(|known| known.name.eq_ignore_ascii_case(name));
    let Some(mechanism) = known.filter(|known| offered.contains(&known.name)) else {
        let name = name.to_lowercase();
        let text = format!("Unimplemented authentication mechanism: {name}");
        return dialogue.say(504, "5.5.4", &text);
    };
    if let Some(outcome) = (mechanism.run)(dialogue, mechanism, initial) {
        finish(dialogue, mechanism, outcome);
    }
}

fn must_encrypt_first(dialogue: &mut Dialogue) -> bool {
    starttls::is_offered(dialogue) && dialogue.session.setting(TLS_BEFORE_AUTH)
}

/// Asks the hooks about what was presented.
fn ask(dialogue: &mut Dialogue, mechanism: &Mechanism, presented: Presented) -> Outcome {
    let credentials = Credentials {
        mechanism: &mechanism.name.to_ascii_lowercase(),
        user: &presented.user,
        password: presented.password.as_deref().map(Secret::new),
        hash: presented.hash.as_deref().map(Secret::new),
        ticket: &presented.ticket,
    };
    let call = Call::Credentials(&credentials);
    let mut verdict = dialogue.ask(mechanism.hook, &call);
    if verdict.code() == Code::Declined {
        let general = dialogue.ask(Hook::Auth, &call);
        if general.code() != Code::Declined || !general.text().is_empty() {
            verdict = general;
        }
    }
    Outcome { user: presented.user, verdict }
}

/// Answers.
fn finish(dialogue: &mut Dialogue, mechanism: &Mechanism, outcome: Outcome) {
    let Outcome { user, verdict } = outcome;
    if verdict.is_failure() {
        return dialogue.say(454, "4.7.0", "Temporary authentication failure");
    }
    let method = mechanism.name;
    let suffix = match verdict.text() {
        "" => String::new(),
        text => format!(" - {text}"),
    };
    if verdict.code() == Code::Done {
        return;
    }
    if verdict.code() != Code::Ok {
        let ip = dialogue.session.connection.remote_ip;
        let text = format!("{method} authentication failed for {user} from {ip}{suffix}");
        exchange::fail(dialogue, &text);
        if verdict.code().disconnects() {
            dialogue.disconnect();
        }
        return;
    }
    dialogue.unproven_until = None;
    dialogue.junk.got_on();
    dialogue.session.connection.relay_client = true;
    if dialogue.session.connection.notes.is_true(NAUGHTY) {
        dialogue.log(Level::Info, "auth success cleared naughty");
        dialogue.session.connection.notes.unset(NAUGHTY);
    }
    let text = format!("{method} authentication successful for {user}{suffix}");
    dialogue.session.connection.auth_user = Some(user);
    dialogue.session.connection.auth_mechanism = Some(method.to_ascii_lowercase());
    dialogue.say(235, "2.7.0", &text);
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
