//! STARTTLS (RFC 3207), and ports where TLS comes first (RFC 8314 3.3).

use crate::hook::Heard;
use crate::log::Level;
use crate::metrics::{self, Metric};
use crate::smtp::dialogue::{Answer, Answered, Dialogue};
use crate::smtp::syntax::reply::Reply;
use crate::smtp::verb::unknown::unrecognized;
use crate::state::Note;
use crate::sys::deadline;

/// Is this client under TLS?
pub(super) const TLS_ENABLED: Note<bool> = Note::new("tls_enabled");

/// Can this client start TLS?
pub(crate) fn is_offered(dialogue: &Dialogue) -> bool {
    dialogue.session.tls().is_some() && dialogue.session.connection.encryption.is_none()
}

pub(crate) fn starttls(dialogue: &mut Dialogue, argument: &str) -> Answer {
    if dialogue.session.connection.encryption.is_some() {
        return Ok(Reply::new(503, "5.5.1", "TLS is active already"));
    }
    if !is_offered(dialogue) || !dialogue.session.connection.is_esmtp() {
        return unrecognized(dialogue, "starttls", argument);
    }
    if !argument.is_empty() {
        return Ok(Reply::new(501, "5.5.4", "Syntax error (no parameters allowed)"));
    }
    dialogue.reset_transaction();
    dialogue.reply(&Reply::new(220, "2.0.0", "Go ahead with TLS"));
    handshake(dialogue);
    Err(Answered)
}

/// Does the handshake before the greeting.  False: it failed, and the session is over.
pub(crate) fn is_done_first(dialogue: &mut Dialogue) -> bool {
    handshake(dialogue);
    !dialogue.is_closing()
}

/// After it, nothing that the client said before counts (RFC 3207 4.2).
fn handshake(dialogue: &mut Dialogue) {
    let Some(choose) = dialogue.session.tls() else { return };
    let done = choose(&mut dialogue.session).and_then(|config| {
        deadline::set_client(None);
        dialogue.stream.start_tls(config).map_err(|failed| failed.to_string())
    });
    match done {
        Ok(encryption) => {
            metrics::add(Metric::Tls, &[&encryption.protocol], 1);
            dialogue.junk.got_on();
            dialogue.session.forget_client();
            let connection = &mut dialogue.session.connection;
            connection.notes.set(TLS_ENABLED, true);
            let text = format!("TLS: {} {}", encryption.protocol, encryption.cipher);
            connection.encryption = Some(encryption);
            dialogue.log(Level::Info, text);
            let _ = dialogue.session.overhear(&Heard::Encrypted);
        }
        Err(why) => {
            metrics::add(Metric::Tls, &["failed"], 1);
            let ip = dialogue.session.connection.remote_ip;
            dialogue.log(Level::Warn, format_args!("TLS with {ip} failed: {why}"));
            dialogue.disconnect();
        }
    }
}
