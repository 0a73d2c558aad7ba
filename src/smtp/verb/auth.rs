//! AUTH (RFC 4954) with PLAIN (RFC 4616), LOGIN and CRAM-MD5 (RFC 2195).

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::hook::{Call, Code, Credentials, Hook, NAUGHTY, Secret};
use crate::log::Level;
use crate::smtp::session::Dialogue;
use crate::smtp::verb::starttls;

/// One mechanism: its name, its own hook, and how it asks for the credentials.
struct Mechanism {
    name: &'static str,
    hook: Hook,
    exchange: fn(&mut Dialogue, Option<&str>) -> Option<Presented>,
}

/// The mechanisms, in the order in which they are offered.
const MECHANISMS: [Mechanism; 3] = [
    Mechanism { name: "PLAIN", hook: Hook::AuthPlain, exchange: plain },
    Mechanism { name: "LOGIN", hook: Hook::AuthLogin, exchange: login },
    Mechanism { name: "CRAM-MD5", hook: Hook::AuthCramMd5, exchange: cram_md5 },
];

/// The longest line of an exchange in octets (RFC 4954 4).
const LONGEST: usize = 12288;

/// After so many failed attempts the connection is closed.
const MOST_FAILURES: u32 = 5;

/// What a client presented; it has no Debug, so that it cannot be printed by mistake.
struct Presented {
    user: String,
    password: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
    ticket: String,
}

/// The mechanisms that plugins can check in this session; none before TLS where
/// `config/tls_before_auth` wants it first.
pub(crate) fn mechanisms(dialogue: &mut Dialogue) -> Vec<&'static str> {
    if must_encrypt_first(dialogue) {
        return vec![];
    }
    let plugins = dialogue.session.plugins();
    let any = plugins.has(Hook::Auth);
    let known = MECHANISMS.iter().filter(|known| any || plugins.has(known.hook));
    known.map(|known| known.name).collect()
}

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
    if let Some(presented) = (mechanism.exchange)(dialogue, initial) {
        check(dialogue, mechanism, &presented);
    }
}

fn must_encrypt_first(dialogue: &mut Dialogue) -> bool {
    starttls::is_offered(dialogue) && dialogue.session.config_flag("tls_before_auth")
}

/// Asks the hooks and answers.
fn check(dialogue: &mut Dialogue, mechanism: &Mechanism, presented: &Presented) {
    let name = mechanism.name.to_ascii_lowercase();
    let credentials = Credentials {
        mechanism: &name,
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
    if verdict.is_failure() {
        return dialogue.say(454, "4.7.0", "Temporary authentication failure");
    }
    let (method, user) = (mechanism.name, &presented.user);
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
        log_failure(dialogue, &text);
        dialogue.say(535, "5.7.8", &text);
        dialogue.auth_failures += 1;
        if dialogue.auth_failures >= MOST_FAILURES || verdict.code().disconnects() {
            dialogue.disconnect();
        }
        return;
    }
    dialogue.session.connection.relay_client = true;
    if dialogue.session.connection.notes.is_true(NAUGHTY) {
        dialogue.log(Level::Info, "auth success cleared naughty");
        dialogue.session.connection.notes.unset(NAUGHTY);
    }
    dialogue.session.connection.auth_user = Some(user.clone());
    dialogue.session.connection.auth_mechanism = Some(name.clone());
    let text = format!("{method} authentication successful for {user}{suffix}");
    dialogue.say(235, "2.7.0", &text);
}

fn plain(dialogue: &mut Dialogue, initial: Option<&str>) -> Option<Presented> {
    let message = match initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => {
            // Not "334 " but as clients of qpsmtpd have always seen it.
            dialogue.say(334, "", " ");
            response(dialogue)?
        }
    };
    let mut parts = message.split(|byte| *byte == 0);
    let (Some(identity), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse(dialogue, "Authentication invalid");
    };
    let user = String::from_utf8_lossy(user).into_owned();
    if user.is_empty() {
        return refuse(dialogue, "Authentication invalid");
    }
    if !identity.is_empty() && identity != user.as_bytes() {
        return refuse(dialogue, &format!("Authentication invalid for {user}"));
    }
    presented(dialogue, user, Some(password.to_vec()), None, String::new())
}

fn login(dialogue: &mut Dialogue, initial: Option<&str>) -> Option<Presented> {
    let user = match initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => challenge(dialogue, b"Username:")?,
    };
    let password = challenge(dialogue, b"Password:")?;
    let user = String::from_utf8_lossy(&user).into_owned();
    presented(dialogue, user, Some(password), None, String::new())
}

fn cram_md5(dialogue: &mut Dialogue, initial: Option<&str>) -> Option<Presented> {
    if initial.is_some() {
        dialogue.say(501, "5.5.4", "CRAM-MD5 has no initial response");
        return None;
    }
    let Ok(ticket) = ticket(dialogue) else {
        dialogue.say(454, "4.7.0", "Temporary authentication failure");
        return None;
    };
    let answer = challenge(dialogue, ticket.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((user, hash)) = answer.rsplit_once(' ') else {
        dialogue.say(501, "5.5.4", "Invalid authentication string");
        return None;
    };
    let hash = hash.trim().to_ascii_lowercase().into_bytes();
    presented(dialogue, user.trim().to_owned(), None, Some(hash), ticket)
}

/// A user name is shown in replies, logs and headers: no control characters get in.
fn presented(
    dialogue: &mut Dialogue,
    user: String,
    password: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
    ticket: String,
) -> Option<Presented> {
    let empty = password.as_ref().or(hash.as_ref()).is_none_or(Vec::is_empty);
    if user.is_empty() || empty || user.chars().any(char::is_control) {
        return refuse(dialogue, "Authentication invalid");
    }
    Some(Presented { user, password, hash, ticket })
}

/// Sends a challenge and reads the response.
fn challenge(dialogue: &mut Dialogue, text: &[u8]) -> Option<Vec<u8>> {
    dialogue.say(334, "", &BASE64_STANDARD.encode(text));
    response(dialogue)
}

/// Reads a response.
fn response(dialogue: &mut Dialogue) -> Option<Vec<u8>> {
    let line = match dialogue.stream.line(dialogue.patience.command, false) {
        Ok(line) => line,
        Err(end) => {
            dialogue.give_up(end);
            return None;
        }
    };
    if line.len() + 2 > LONGEST {
        dialogue.say(500, "5.5.6", "Authentication exchange line is too long");
        return None;
    }
    decoded(dialogue, &String::from_utf8_lossy(&line))
}

/// A response out of its base64; `*` cancels, `=` is an empty initial response.
fn decoded(dialogue: &mut Dialogue, text: &str) -> Option<Vec<u8>> {
    match text.trim() {
        "*" => {
            dialogue.say(501, "5.7.0", "Authentication canceled");
            None
        }
        "=" => Some(vec![]),
        text => match BASE64_STANDARD.decode(text) {
            Ok(octets) => Some(octets),
            Err(_) => {
                dialogue.say(501, "5.5.2", "Cannot decode the response");
                None
            }
        },
    }
}

fn refuse(dialogue: &mut Dialogue, text: &str) -> Option<Presented> {
    log_failure(dialogue, text);
    dialogue.say(535, "5.7.8", text);
    dialogue.auth_failures += 1;
    if dialogue.auth_failures >= MOST_FAILURES {
        dialogue.disconnect();
    }
    None
}

/// The address stands in front, before anything that the client chose: programs that ban addresses
/// read this line.
fn log_failure(dialogue: &Dialogue, text: &str) {
    let ip = dialogue.session.connection.remote_ip;
    dialogue.log(Level::Warn, format_args!("client {ip} failed AUTH: {text}"));
}

/// A challenge that was never used before: random, with the time (RFC 2195 2).  The bits come from
/// the kernel: a worker inherits nothing from its parent that could make two of them say the same.
fn ticket(dialogue: &mut Dialogue) -> std::io::Result<String> {
    let mut octets = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    let random = u64::from_ne_bytes(octets);
    let me = dialogue.session.me();
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time = time.map_or(0, |time| time.as_secs());
    Ok(format!("<{random:x}.{time:x}@{me}>"))
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
