//! The lines of an exchange: challenges and responses in base64 (RFC 4954 4).

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::MOST_FAILURES;
use crate::log::Level;
use crate::smtp::session::Dialogue;

/// The longest line of an exchange in octets (RFC 4954 4).
const LONGEST: usize = 12288;

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
pub(super) fn decoded(dialogue: &mut Dialogue, text: &str) -> Option<Vec<u8>> {
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

/// Says that a response is not what the mechanism wants.
pub(super) fn malformed<T>(dialogue: &mut Dialogue) -> Option<T> {
    dialogue.say(501, "5.5.4", "Invalid authentication string");
    None
}

/// Refuses what a plugin need not see.
pub(super) fn refuse<T>(dialogue: &mut Dialogue, text: &str) -> Option<T> {
    fail(dialogue, text);
    None
}

/// Refuses, and counts it.
pub(super) fn fail(dialogue: &mut Dialogue, text: &str) {
    // The address stands in front, before anything that the client chose: programs that ban
    // addresses read this line.
    let ip = dialogue.session.connection.remote_ip;
    dialogue.log(Level::Warn, format_args!("client {ip} failed AUTH: {text}"));
    dialogue.say(535, "5.7.8", text);
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
