//! The lines of an exchange: challenges and responses in base64 (RFC 4954 4).

use std::io::Read;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

use super::MOST_FAILURES;
use crate::log::Level;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::waits::State;

/// The longest line of an exchange in octets (RFC 4954 4).
const LONGEST: usize = 12288;

/// What clients send: some leave out the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Sends a challenge and reads the response.  None: the client has been told what was wrong.
pub(super) fn challenge(dialogue: &mut Dialogue, text: &[u8]) -> Option<Vec<u8>> {
    dialogue.say(334, "", &BASE64_STANDARD.encode(text));
    response(dialogue)
}

/// The same with a challenge that is not to be logged, and may be long.
pub(super) fn discreet_challenge(dialogue: &mut Dialogue, text: &str) -> Option<Vec<u8>> {
    dialogue.log(Level::Info, "334");
    let line = format!("334 {}\r\n", BASE64_STANDARD.encode(text));
    dialogue.stream.out().extend_from_slice(line.as_bytes());
    response(dialogue)
}

/// Reads a response.
pub(super) fn response(dialogue: &mut Dialogue) -> Option<Vec<u8>> {
    let line = match dialogue.stream.line(State::Auth) {
        Ok(line) => line,
        Err(end) => {
            dialogue.give_up(end);
            return None;
        }
    };
    dialogue.session.keep_secret(&String::from_utf8_lossy(&line));
    if line.len() + 2 > LONGEST {
        let text = "Authentication exchange line is too long";
        return refuse_with(dialogue, &Reply::new(500, "5.5.6", text), text);
    }
    decoded(dialogue, &String::from_utf8_lossy(&line))
}

/// A response out of its base64; `*` cancels, `=` is an empty initial response.
pub(super) fn decoded(dialogue: &mut Dialogue, text: &str) -> Option<Vec<u8>> {
    match text.trim() {
        "*" => {
            let text = "Authentication canceled";
            refuse_with(dialogue, &Reply::new(501, "5.7.0", text), text)
        }
        "=" => Some(vec![]),
        text => match LENIENT.decode(text) {
            Ok(octets) => Some(octets),
            Err(_) => {
                let text = "Cannot decode the response";
                refuse_with(dialogue, &Reply::new(501, "5.5.2", text), text)
            }
        },
    }
}

/// Says that a response is not what the mechanism wants.
pub(super) fn malformed<T>(dialogue: &mut Dialogue) -> Option<T> {
    let text = "Invalid authentication string";
    refuse_with(dialogue, &Reply::new(501, "5.5.4", text), text)
}

/// Says that user and password do not go together.
pub(super) fn refuse<T>(dialogue: &mut Dialogue, text: &str) -> Option<T> {
    refuse_with(dialogue, &Reply::new(535, "5.7.8", text), text)
}

/// Refuses an attempt.  The log has `why` and not the reply, in which the client's words may be.
pub(super) fn refuse_with<T>(dialogue: &mut Dialogue, reply: &Reply, why: &str) -> Option<T> {
    dialogue.send(reply);
    count(dialogue, why);
    None
}

/// Counts an attempt that was refused, whatever the reason, and ends the session after too many.
pub(super) fn count(dialogue: &mut Dialogue, why: &str) {
    // The address stands in front, before anything that the client chose: programs that ban
    // addresses read this line.  Nothing in front of `why` is ever taken for a secret.
    let ip = dialogue.session.connection.remote_ip;
    let why = dialogue.session.discreet(why.to_owned());
    dialogue.session.forget_secrets();
    dialogue.log(Level::Warn, format_args!("client {ip} failed AUTH: {why}"));
    dialogue.auth_failures += 1;
    if dialogue.auth_failures >= MOST_FAILURES {
        dialogue.disconnect();
    }
}

/// Octets that nobody can guess.  They come from the kernel: a worker inherits nothing from its
/// parent that could make two of them say the same.  None: the client has been told that there are
/// none.
pub(super) fn random<const N: usize>(dialogue: &mut Dialogue) -> Option<[u8; N]> {
    let mut octets = [0; N];
    let read =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut octets));
    if read.is_err() {
        dialogue.say(454, "4.7.0", "Temporary authentication failure");
    }
    read.is_ok().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_left_out_and_nothing_else() {
        for text in ["AGEAYg==", "AGEAYg=", "AGEAYg"] {
            assert_eq!(LENIENT.decode(text).as_deref(), Ok(&b"\0a\0b"[..]), "{text}");
        }
        for text in ["AGEAY", "AGEAYg===", "AGE AYg", "AGEAYh", "AGE=AYg", "AGEAY_", "=", "A"] {
            assert!(LENIENT.decode(text).is_err(), "{text}");
        }
    }
}
