//! ```text
//! NAME
//!     arc - verifies ARC seals, and seals messages
//!
//! SYNOPSIS
//!     arc
//!     arc seal DOMAIN
//!
//! DESCRIPTION
//!     A mailing list or a forwarder breaks SPF and often DKIM. With ARC (RFC 8617) each server
//!     that hands a message on writes down what it found out, and seals that.  This plugin verifies
//!     the chain of seals, at most 50, and puts the result into the log and into
//!     Authentication-Results.  It refuses no message, and lets none through, because of the
//!     result.
//!
//!     With seal DOMAIN it also adds a seal of that domain to messages from others: it tells the
//!     next servers what this server found out.  That is useful where this server hands messages on
//!     to servers elsewhere.  A seal over a broken chain says that the chain is broken, and is the
//!     last one.  A chain that could not be verified for now gets no seal.  A change after the seal
//!     breaks it, so place this plugin after all plugins that change messages.
//!
//!     The messages of a client that may relay are neither verified nor sealed; dkim signs them.
//!
//! ARGUMENTS
//!     seal DOMAIN   seal with the key in config/dkim/DOMAIN (see the manual of dkim); if there are
//!                   several keys, with the RSA key.  By default nothing is sealed
//!
//! NOTES
//!     arc_result    on the transaction: pass, fail, none or temperror
//!
//! SEE ALSO
//!     dkim, dmarc
//! ```

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::hook::{AUTHENTICATION_RESULTS, Args, DECLINED, Hooks, Session};
use crate::log::Level;
use crate::origin::arc::{self, Outcome, Sealing};
use crate::origin::dkim::TextHash;
use crate::plugins::dkim::keys;
use crate::settings::ME_AUTH_RESULTS;
use crate::state::Note;
use crate::state::results::folded;

const RESULT: Note<String> = Note::new("arc_result");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["seal"])?;
    hooks.data_post_headers(|session| {
        if !session.connection.relay_client {
            verify(session)?;
        }
        Ok::<_, io::Error>(DECLINED)
    });
    if let Some(domain) = args.named("seal").map(str::to_owned) {
        hooks.data_post(move |session| {
            if !session.connection.relay_client {
                seal(session, &domain)?;
            }
            Ok::<_, io::Error>(DECLINED)
        });
    }
    Ok(())
}

fn verify(session: &mut Session) -> io::Result<()> {
    let finding = session.check_seals()?.clone();
    let (name, sealers) = (finding.outcome.name(), finding.sealers.join(", "));
    session.transaction.notes.set(RESULT, name.into());
    match finding.outcome {
        Outcome::Pass => session.pass(sealers),
        Outcome::None => session.skip("no seal"),
        Outcome::Fail | Outcome::TempError => {
            session.fail(format_args!("tolerated, {}", finding.reason))
        }
    };
    Ok(())
}

fn seal(session: &mut Session, domain: &str) -> io::Result<()> {
    let finding = session.check_seals()?.clone();
    let state = finding.outcome;
    let Some(instance) = finding.next.filter(|_| state != Outcome::TempError) else {
        session.log(Level::Info, format_args!("no seal, the chain is {}", state.name()));
        return Ok(());
    };
    let Some((owner, keys)) = keys::of_domain(session, domain)? else {
        return Err(io::Error::other(format!("no key for {domain} in config/dkim")));
    };
    let Some((selector, key)) = keys.first() else { return Ok(()) };
    let mut hash = TextHash::default();
    session.each_piece_of_text(|octets| hash.update(octets))?;
    let results = results(session);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let sealing = Sealing { domain: &owner, selector, results: &results, instance, state, now };
    let header = session.transaction.header.clone();
    let fields: Vec<&[u8]> = header.fields().collect();
    let sealed = arc::seal(key, sealing, &fields, &hash.finish()).map_err(io::Error::other)?;
    for field in sealed.iter().rev() {
        let (name, value) = field.trim_end().split_once(": ").unwrap_or((field, ""));
        session.transaction.header.add_at(0, name, &value.replace("\r\n", "\n"));
    }
    session.log(Level::Info, format_args!("sealed for {owner}"));
    Ok(())
}

/// What this server found out.  It is not taken from the header section, where others may have
/// written something under our name.
fn results(session: &mut Session) -> String {
    let name = session.setting(ME_AUTH_RESULTS);
    let name = if name == "none" { session.me() } else { name };
    let mut all = vec![name];
    all.extend(session.connection.notes.get(AUTHENTICATION_RESULTS).filter(|own| !own.is_empty()));
    all.extend(session.transaction.results.texts());
    let is_odd = |c: char| !c.is_ascii() || c.is_control() && !"\n\t".contains(c);
    folded(&all).replace(is_odd, "?").replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use super::RESULT;
    use crate::hook::Code::{Declined, DenySoft};
    use crate::hook::{Call, Hook};
    use crate::testing::Trial;

    /// The example of RFC 8463 A.2.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    const RECORD: &str = "ed._domainkey.example.com TXT \
        v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const MESSAGE: &str = "From: a@example.net\r\nSubject: hi\r\n\r\nHello\r\n";

    /// The message as a server hands it on, and the state of the chain that it found.
    fn handed_on(message: &str) -> (String, String) {
        let mut trial = Trial::new("arc seal example.com", &[("me", "mx.test")]).with_dns(RECORD);
        let folder = trial.dir().join("config/dkim/example.com");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("private"), SECRET).unwrap();
        std::fs::write(folder.join("selector"), "ed\n").unwrap();
        trial.message(message);
        assert_eq!(trial.call(Hook::DataPostHeaders, &Call::Nothing).code(), Declined);
        assert_eq!(trial.plain(Hook::DataPost).code(), Declined, "{}", trial.log());
        let mut out = Vec::new();
        trial.session.transaction.write_message(&mut out).unwrap();
        let state = trial.session.transaction.notes.get(RESULT).unwrap();
        (String::from_utf8(out).unwrap(), state)
    }

    #[test]
    fn each_server_adds_a_seal_that_the_next_one_verifies() {
        let (first, state) = handed_on(MESSAGE);
        assert_eq!(state, "none");
        assert!(first.starts_with("ARC-Seal: i=1;"), "{first}");
        assert!(first.contains("ARC-Authentication-Results: i=1; mx.test; arc=none"), "{first}");
        let (second, state) = handed_on(&first);
        assert_eq!(state, "pass");
        assert!(second.contains("ARC-Seal: i=2; a=ed25519-sha256; cv=pass"), "{second}");
        assert_eq!(handed_on(&second).1, "pass");
        let (third, state) = handed_on(&second.replace("Hello", "Hallo"));
        assert_eq!(state, "fail");
        // The chain ends with the seal that says so.
        assert!(third.contains("ARC-Seal: i=3; a=ed25519-sha256; cv=fail"), "{third}");
        let (fourth, state) = handed_on(&third);
        assert_eq!((fourth.matches("ARC-Seal:").count(), state.as_str()), (3, "fail"), "{fourth}");
    }

    #[test]
    fn a_seal_without_a_key_fails_closed() {
        let mut trial = Trial::new("arc seal example.com", &[]);
        trial.message(MESSAGE);
        trial.call(Hook::DataPostHeaders, &Call::Nothing);
        assert_eq!(trial.plain(Hook::DataPost).code(), DenySoft);
        let mut plain = Trial::new("arc", &[]);
        plain.message(MESSAGE);
        plain.call(Hook::DataPostHeaders, &Call::Nothing);
        assert_eq!(plain.plain(Hook::DataPost).code(), Declined);
        assert_eq!(plain.session.transaction.header.count("ARC-Seal"), 0);
    }
}
