//! AUTH (RFC 4954).

mod cram_md5;
pub(crate) mod exchange;
mod passwords;
mod scram;

use self::exchange::{Attempt, Mechanism, Outcome, Run};
use crate::hook::{Call, Code, Hook, List, NAUGHTY, Plugins};
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::settings::{AUTH_MECHANISMS, TLS_BEFORE_AUTH};
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::verb::unknown::unrecognized;

/// The mechanisms, in the order in which they are offered.
const MECHANISMS: [Mechanism; 5] = [
    credentials("PLAIN", Hook::AuthPlain, passwords::plain),
    credentials("LOGIN", Hook::AuthLogin, passwords::login),
    credentials("CRAM-MD5", Hook::AuthCramMd5, cram_md5::run),
    scram("SCRAM-SHA-256", false),
    scram("SCRAM-SHA-256-PLUS", true),
];

const fn credentials(name: &'static str, hook: Hook, run: Run) -> Mechanism {
    Mechanism { name, hook, is_general: true, binds: false, run }
}

const fn scram(name: &'static str, binds: bool) -> Mechanism {
    Mechanism { name, hook: Hook::AuthScramSha256, is_general: false, binds, run: scram::run }
}

/// Is it the name of a mechanism, in any case?
pub(crate) fn is_mechanism(name: &str) -> bool {
    MECHANISMS.iter().any(|known| known.name.eq_ignore_ascii_case(name))
}

/// Is there a plugin in that list that can check a mechanism?
pub(crate) fn is_possible(plugins: &Plugins, list: List) -> bool {
    let has = |hook| plugins.has_in(list, hook);
    has(Hook::Auth) || MECHANISMS.iter().any(|known| has(known.hook))
}

/// The mechanisms that plugins can check in this session, or those of them that
/// `config/auth_mechanisms` names; none before TLS where `config/tls_before_auth` wants it first.
pub(crate) fn mechanisms(dialogue: &mut Dialogue) -> Vec<&'static str> {
    if must_encrypt_first(dialogue) {
        return vec![];
    }
    let any = dialogue.session.has(Hook::Auth);
    let is_bound = dialogue.stream.channel_binding().is_some();
    let known: Vec<_> = MECHANISMS
        .iter()
        .filter(|known| dialogue.session.has(known.hook) || any && known.is_general)
        .filter(|known| is_bound || !known.binds)
        .map(|known| known.name)
        .collect();
    if known.is_empty() {
        return known;
    }
    let wanted = dialogue.session.setting(AUTH_MECHANISMS);
    known.into_iter().filter(|name| wanted.is_empty() || wanted.contain(name)).collect()
}

pub(crate) fn auth(dialogue: &mut Dialogue, argument: &str) -> Answer {
    dialogue.auth_tried.clear();
    let outcome = attempt(dialogue, argument)?;
    finish(dialogue, outcome)
}

/// What comes of an attempt.
fn attempt(dialogue: &mut Dialogue, argument: &str) -> Result<Outcome, Answered> {
    let no = |dialogue: &mut Dialogue, code, status, text: &str, why: &str| {
        exchange::refuse_with(dialogue, &Reply::new(code, status, text.to_owned()), why)
    };
    if dialogue.session.connection.is_esmtp() && must_encrypt_first(dialogue) {
        let text = "SSL/TLS required before AUTH";
        return no(dialogue, 503, "5.7.11", text, text);
    }
    let offered = mechanisms(dialogue);
    if offered.is_empty() || !dialogue.session.connection.is_esmtp() {
        let answer = unrecognized(dialogue, "auth", "");
        dialogue.conclude(answer);
        exchange::count(dialogue, "it was not offered");
        return Err(Answered);
    }
    let parsed = dialogue
        .consult(Hook::AuthParse, &Call::Line(argument))
        .map_err(|_| exchange::not_now(dialogue))?;
    let syntax = "Syntax error in command";
    let line = match parsed.code() {
        Code::Declined => argument,
        Code::Ok => parsed.text(),
        _ => return no(dialogue, 501, "5.5.4", or(parsed.text(), syntax), syntax),
    };
    let (name, initial) = match line.split_once(' ') {
        Some((name, initial)) => (name, Some(initial.trim())),
        None => (line, None),
    };
    if dialogue.session.auth_user().is_some() {
        let text = "but you already said AUTH ...";
        return no(dialogue, 503, "5.5.1", text, text);
    }
    if dialogue.session.transaction.sender().is_some() {
        let text = "AUTH is not allowed during a mail transaction";
        return no(dialogue, 503, "5.5.1", text, text);
    }
    if name.is_empty() {
        return no(dialogue, 501, "5.5.4", syntax, syntax);
    }
    let known = MECHANISMS.iter().find(|known| known.name.eq_ignore_ascii_case(name));
    let Some(mechanism) = known.filter(|known| offered.contains(&known.name)) else {
        // Clients that leave out the mechanism say a secret in its place.
        let text = format!("Unimplemented authentication mechanism: {}", name.to_lowercase());
        return no(dialogue, 504, "5.5.4", &text, "Unimplemented authentication mechanism");
    };
    (mechanism.run)(dialogue, &Attempt { mechanism, offered: &offered, initial })
}

/// A client that cannot start TLS does not get AUTH then.
fn must_encrypt_first(dialogue: &mut Dialogue) -> bool {
    dialogue.session.connection.encryption.is_none() && dialogue.session.setting(TLS_BEFORE_AUTH)
}

/// Answers.
fn finish(dialogue: &mut Dialogue, outcome: Outcome) -> Answer {
    let Outcome { method, user, verdict } = outcome;
    let suffix = match verdict.text() {
        "" => String::new(),
        text => format!(" - {text}"),
    };
    if verdict.code() == Code::Done {
        return Err(Answered);
    }
    if verdict.code() != Code::Ok {
        let ip = dialogue.session.connection.remote_ip;
        let text = format!("{method} authentication failed for {user} from {ip}{suffix}");
        let refused = exchange::refuse(dialogue, &text);
        if verdict.code().disconnects() {
            dialogue.disconnect();
        }
        return refused;
    }
    metrics::add(Metric::Auth, &["ok"], 1);
    dialogue.stream.waits.is_proven();
    dialogue.junk.got_on();
    dialogue.secrets_may_follow = 0;
    dialogue.session.connection.relay_client = true;
    if dialogue.session.connection.notes.is_true(NAUGHTY) {
        dialogue.log(Level::Info, "auth success cleared naughty");
        dialogue.session.connection.notes.unset(NAUGHTY);
    }
    let text = format!("{method} authentication successful for {user}{suffix}");
    dialogue.session.connection.auth_user = Some(user);
    dialogue.session.connection.auth_mechanism = Some(method.to_ascii_lowercase());
    Ok(Reply::new(235, "2.7.0", text))
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
