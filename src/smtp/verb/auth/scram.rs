//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): each side proves to the other that it
//! knows of the password, which is not sent.  Whoever guesses user names cannot tell those that
//! there are from others before the end, at which all are refused alike.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::exchange::{
    Attempt, Mechanism, Outcome, challenge, decoded, discreet_challenge, malformed, may_try,
    not_now, random, refuse,
};
use crate::hook::{Call, Code, Scram, Verdict, mac};
use crate::log::Level;
use crate::settings::SCRAM_SECRET;
use crate::smtp::dialogue::{Answered, Dialogue};
use crate::smtp::syntax::sasl::is_user;
use crate::smtp::syntax::scram::{Binding, First, Last};

/// The kind of channel binding that is done (RFC 9266).
const BINDING: &str = "tls-exporter";

pub(super) fn run(dialogue: &mut Dialogue, attempt: &Attempt<'_>) -> Result<Outcome, Answered> {
    let mechanism = attempt.mechanism;
    let first = match attempt.initial {
        Some(initial) => decoded(dialogue, initial)?,
        None => challenge(dialogue, b"")?,
    };
    let Some(first) = First::parse(&first) else { return malformed(dialogue) };
    let bound = bound(dialogue, attempt, &first)?;
    let user = first.user.clone();
    if !is_user(&user) || first.identity.as_ref().is_some_and(|identity| *identity != user) {
        return refuse(dialogue, "Authentication invalid");
    }

    may_try(dialogue, &user)?;
    let scram = Scram::new(&user);
    let verdict = known(dialogue, mechanism, &scram)?;
    if verdict.code() == Code::Done {
        return Ok(Outcome { method: mechanism.name, user, verdict });
    }
    let keys = scram.into_keys(salt(dialogue, &user));

    let nonce = first.nonce.to_owned() + &BASE64_STANDARD.encode(random::<18>(dialogue)?);
    let salt = BASE64_STANDARD.encode(keys.salt());
    let server_first = format!("r={nonce},s={salt},i={}", keys.iterations());
    let last = discreet_challenge(dialogue, &server_first)?;
    let Some(last) = Last::parse(&last) else { return malformed(dialogue) };
    if last.nonce != nonce || last.bound != [first.header.as_bytes(), &bound].concat() {
        return refuse(dialogue, "Authentication invalid");
    }
    let messages = format!("{},{server_first},{}", first.bare, last.unproved);
    let is_proved = keys.are_proved(&last.proof, &messages);
    if !is_proved || verdict.code() != Code::Ok {
        let verdict = if verdict.code().is_deny() { verdict } else { Verdict::deny("") };
        return Ok(Outcome { method: mechanism.name, user, verdict });
    }
    let signature = BASE64_STANDARD.encode(keys.signature(&messages));
    match discreet_challenge(dialogue, &format!("v={signature}"))?.is_empty() {
        true => Ok(Outcome { method: mechanism.name, user, verdict }),
        false => malformed(dialogue),
    }
}

/// The octets of this connection's TLS that the client's last message must have.
fn bound(
    dialogue: &mut Dialogue,
    attempt: &Attempt<'_>,
    first: &First,
) -> Result<Vec<u8>, Answered> {
    let binds = attempt.mechanism.binds;
    match (&first.binding, dialogue.stream.channel_binding()) {
        (Binding::None, _) if !binds => Ok(vec![]),
        (Binding::NotOffered, _) if !binds => {
            // Somebody between us has changed what we offer (RFC 5802 6).
            let is_offered = |name: &&str| name.ends_with("-PLUS");
            match attempt.offered.iter().any(is_offered) {
                true => refuse(dialogue, "Authentication invalid, channel binding was offered"),
                false => Ok(vec![]),
            }
        }
        (Binding::Of(kind), Some(octets)) if binds => match kind == BINDING {
            true => Ok(octets),
            false => {
                let text = format!("Authentication invalid, channel binding has to be {BINDING}");
                refuse(dialogue, &text)
            }
        },
        _ => malformed(dialogue),
    }
}

/// Asks the plugins about the user.
fn known(
    dialogue: &mut Dialogue,
    mechanism: &Mechanism,
    scram: &Scram<'_>,
) -> Result<Verdict, Answered> {
    let verdict =
        dialogue.consult(mechanism.hook, &Call::Scram(scram)).map_err(|_| not_now(dialogue))?;
    if verdict.code() == Code::Ok && !scram.is_known() {
        dialogue.log(Level::Error, "a plugin knows the user and says nothing of the password");
        return Err(not_now(dialogue));
    }
    Ok(verdict)
}

/// A salt that is always the same for one name, whether there is such a user or not.
fn salt(dialogue: &mut Dialogue, user: &str) -> Vec<u8> {
    let secret = dialogue.session.setting(SCRAM_SECRET).unwrap_or_else(|| {
        let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        machine + &dialogue.session.me()
    });
    mac(secret.as_bytes(), user.to_lowercase().as_bytes())[..16].to_vec()
}
