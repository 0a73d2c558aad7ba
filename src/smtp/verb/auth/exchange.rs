//! One attempt at AUTH: what is tried, the lines of the exchange, challenges and responses in base64
//! (RFC 4954 4), and what comes of it.

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::hook::{Call, Code, Credentials, Heard, Hook, Secret, Verdict};
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::refusals::refusal;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::sasl::{self, Refused};
use crate::smtp::waits::State;

/// The longest line of an exchange in octets (RFC 4954 4).
const LONGEST: usize = 12288;

/// How many failed attempts close the connection.
const MOST_FAILURES: u32 = 5;

/// What a response is to those who listen.
pub(crate) const HIDDEN: &str = "********";

/// One mechanism: its name, its own hook, and how it is done.
pub(super) struct Mechanism {
    pub(super) name: &'static str,
    pub(super) hook: Hook,
    /// Does the hook `auth` do in place of its own?
    pub(super) is_general: bool,
    /// Does it bind the client to this connection's TLS (RFC 5056)?
    pub(super) binds: bool,
    pub(super) run: Run,
}

/// Talks with the client and asks the hooks.
pub(super) type Run = fn(&mut Dialogue, &Attempt<'_>) -> Result<Outcome, Answered>;

/// What a client tries.
pub(super) struct Attempt<'a> {
    pub(super) mechanism: &'a Mechanism,
    /// The names of the mechanisms that the session offers.
    pub(super) offered: &'a [&'static str],
    /// The initial response, in base64.
    pub(super) initial: Option<&'a str>,
}

/// As whom a client wanted to authenticate, and what came of it.
pub(super) struct Outcome {
    /// The mechanism's name.
    pub(super) method: &'static str,
    pub(super) user: String,
    pub(super) verdict: Verdict,
}

/// What a client presented; it has no Debug, so that it cannot be printed by mistake.
pub(super) struct Presented {
    pub(super) user: String,
    pub(super) password: Option<Vec<u8>>,
    pub(super) hash: Option<Vec<u8>>,
    pub(super) ticket: String,
}

/// Asks the hooks about what was presented.
pub(super) fn ask(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    presented: Presented,
) -> Result<Outcome, Answered> {
    let credentials = Credentials {
        mechanism: &mechanism.name.to_ascii_lowercase(),
        user: &presented.user,
        password: presented.password.as_deref().map(Secret::new),
        hash: presented.hash.as_deref().map(Secret::new),
        ticket: &presented.ticket,
    };
    let call = Call::Credentials(&credentials);
    may_try(dialogue, &presented.user)?;
    let mut consult = |hook| dialogue.consult(hook, &call).map_err(|_| not_now(dialogue));
    let mut verdict = consult(mechanism.hook)?;
    if verdict.code() == Code::Declined {
        verdict = consult(Hook::Auth)?.told_as(&verdict);
    }
    Ok(Outcome { method: mechanism.name, user: presented.user, verdict })
}

/// Asks whether this client may try to authenticate as that user at all.
pub(super) fn may_try(dialogue: &mut Dialogue, user: &str) -> Result<(), Answered> {
    user.clone_into(&mut dialogue.auth_tried);
    let verdict =
        dialogue.consult(Hook::AuthAttempt, &Call::User(user)).map_err(|_| not_now(dialogue))?;
    let Some((reply, close)) = refusal(Hook::AuthAttempt, &Ok(verdict), "") else { return Ok(()) };
    let text = reply.text().to_owned();
    let refused = refuse_with(dialogue, &reply, &text);
    if close {
        dialogue.disconnect();
    }
    refused
}

/// Says that nobody can tell whether it is right.
pub(super) fn not_now(dialogue: &mut Dialogue) -> Answered {
    metrics::add(Metric::Auth, &["failed"], 1);
    dialogue.reply(&Reply::new(454, "4.7.0", "Temporary authentication failure"));
    Answered
}

/// Sends a challenge and reads the response.
pub(super) fn challenge(dialogue: &mut Dialogue, text: &[u8]) -> Result<Vec<u8>, Answered> {
    dialogue.reply(&Reply::new(334, "", BASE64_STANDARD.encode(text)));
    response(dialogue)
}

/// The same with a challenge that is not to be logged, and may be long.
pub(super) fn discreet_challenge(dialogue: &mut Dialogue, text: &str) -> Result<Vec<u8>, Answered> {
    dialogue.log(Level::Info, "334");
    let line = format!("334 {}\r\n", BASE64_STANDARD.encode(text));
    dialogue.stream.out().extend_from_slice(line.as_bytes());
    let _ = dialogue.session.overhear(&Heard::Reply(&format!("334 {HIDDEN}")));
    response(dialogue)
}

/// Reads a response.
pub(super) fn response(dialogue: &mut Dialogue) -> Result<Vec<u8>, Answered> {
    let line = match dialogue.stream.line(State::Auth) {
        Ok(line) => line,
        Err(end) => return Err(dialogue.give_up(end)),
    };
    dialogue.session.keep_secret(&String::from_utf8_lossy(&line));
    let _ = dialogue.session.overhear(&Heard::Line(HIDDEN));
    if line.len() + 2 > LONGEST {
        let text = "Authentication exchange line is too long";
        return refuse_with(dialogue, &Reply::new(500, "5.5.6", text), text);
    }
    decoded(dialogue, &String::from_utf8_lossy(&line))
}

/// A response out of its base64.
pub(super) fn decoded(dialogue: &mut Dialogue, text: &str) -> Result<Vec<u8>, Answered> {
    let (code, status, text) = match sasl::response(text) {
        Ok(octets) => return Ok(octets),
        Err(Refused::Canceled) => (501, "5.7.0", "Authentication canceled"),
        Err(Refused::Malformed) => (501, "5.5.2", "Cannot decode the response"),
    };
    refuse_with(dialogue, &Reply::new(code, status, text), text)
}

/// Says that a response is not what the mechanism wants.
pub(super) fn malformed<T>(dialogue: &mut Dialogue) -> Result<T, Answered> {
    let text = "Invalid authentication string";
    refuse_with(dialogue, &Reply::new(501, "5.5.4", text), text)
}

/// Says that user and password do not go together.
pub(super) fn refuse<T>(dialogue: &mut Dialogue, text: &str) -> Result<T, Answered> {
    refuse_with(dialogue, &Reply::new(535, "5.7.8", text.to_owned()), text)
}

/// Refuses an attempt.  The log has `why` and not the reply, in which the client's words may be.
pub(super) fn refuse_with<T>(
    dialogue: &mut Dialogue,
    reply: &Reply,
    why: &str,
) -> Result<T, Answered> {
    dialogue.session.log_refusal(Hook::Auth, reply.code(), why, "");
    dialogue.send(reply);
    count(dialogue, why);
    Err(Answered)
}

/// Counts an attempt that was refused, whatever the reason, and ends the session after too many.
pub(super) fn count(dialogue: &mut Dialogue, why: &str) {
    metrics::add(Metric::Auth, &["refused"], 1);
    // The address stands in front, before anything that the client chose: programs that ban
    // addresses read this line.  Nothing in front of `why` is ever taken for a secret.
    let ip = dialogue.session.connection.remote_ip;
    let why = dialogue.session.discreet(why.to_owned());
    let user = std::mem::take(&mut dialogue.auth_tried);
    // What plugins make of it changes nothing.
    let _ = dialogue.consult(Hook::AuthFailed, &Call::User(&user));
    dialogue.session.forget_secrets();
    dialogue.log(Level::Warn, format_args!("client {ip} failed AUTH: {why}"));
    dialogue.auth_failures += 1;
    if dialogue.auth_failures >= MOST_FAILURES {
        dialogue.disconnect();
    }
}

/// Octets that nobody can guess.  They come from the kernel: a worker inherits nothing from its
/// parent that could make two of them say the same.
pub(super) fn random<const N: usize>(dialogue: &mut Dialogue) -> Result<[u8; N], Answered> {
    let mut octets = [0; N];
    let read =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut octets));
    match read {
        Ok(()) => Ok(octets),
        Err(_) => Err(not_now(dialogue)),
    }
}
