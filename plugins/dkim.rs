//! ```text
//! NAME
//!     dkim - checks DKIM signatures, and signs the mail of our own users
//!
//! SYNOPSIS
//!     dkim
//!     dkim reject 0|1|naughty reject_type TYPE
//!
//! DESCRIPTION
//!     Checks the first ten DKIM signatures of a message (RFC 6376, RFC 8301, RFC 8463): rsa-sha256
//!     with keys of 1024 to 4096 bits, and ed25519-sha256.  The results go to the log and into
//!     Authentication-Results, and dmarc uses them.
//!
//!     An invalid signature is no reason to refuse a message (RFC 6376 6.1): mailing lists break
//!     signatures.  So nothing is refused unless the argument reject says so.
//!
//!     A message of a client that may relay, by its address or after AUTH, is not checked but
//!     signed, if there is a key for the domain in its From or for a parent of that domain.
//!
//! ARGUMENTS
//!     reject 0         refuse nothing; the default
//!     reject 1         refuse a message that has signatures if none of them is valid, unless a key
//!                      could not be looked up or is being tested (t=y)
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!
//! KEYS
//!     config/dkim/DOMAIN is a folder, or a link to one, with the files
//!
//!     private          the secret key in PEM: RSA of 2048 to 4096 bits, or Ed25519
//!     selector         its selector, in one line
//!
//!     With several keys, in private.NAME and selector.NAME, each makes its own signature; that of
//!     an RSA key comes first.  Only the user of the sessions should be able to read the keys.
//!
//! REPLIES
//!     552 DKIM signature invalid
//!
//! NOTES
//!     dkim_result         on the connection: pass, fail, none, invalid or temperror
//!     dkim_pass_domains   on the connection: the domains with a valid signature
//!
//! SEE ALSO
//!     dmarc, sender_permitted_from
//! ```

pub(in crate::plugins) mod keys;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, Reject, Session, Verdict};
use crate::log::Level;
use crate::origin::dkim::{self, Finding, Outcome, Signing};
use crate::state::Note;

const RESULT: Note<String> = Note::new("dkim_result");
const PASS_DOMAINS: Note<Vec<String>> = Note::new("dkim_pass_domains");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["reject", "reject_type"])?;
    hooks.default_reject(Reject::No);
    hooks.data_post_headers(|session| match session.connection.relay_client {
        true => sign(session).map(|()| DECLINED),
        false if session.is_immune() => Ok(DECLINED),
        false => check(session),
    });
    Ok(())
}

fn check(session: &mut Session) -> std::io::Result<Verdict> {
    let findings = session.check_signatures()?.to_vec();
    let has = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    let passed: Vec<String> = findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Pass)
        .map(|finding| finding.domain.clone())
        .collect();
    let result = match () {
        () if findings.is_empty() => "none",
        () if !passed.is_empty() => "pass",
        () if has(Outcome::TempError) => "temperror",
        () if has(Outcome::Fail) => "fail",
        () => "invalid",
    };
    session.connection.notes.set(RESULT, result.into());
    session.connection.notes.set(PASS_DOMAINS, passed);
    let detail = findings.iter().map(shown).collect::<Vec<_>>().join("; ");
    Ok(match result {
        "pass" => {
            session.adjust_karma(1);
            session.pass(detail)
        }
        "none" => session.skip("no signature"),
        "temperror" => session.fail(format_args!("tolerated, {detail}")),
        _ => {
            session.adjust_karma(-1);
            // They count for nothing while the domain tries keys out (RFC 6376 3.6.1).
            if findings.iter().all(|finding| finding.testing) {
                session.fail(format_args!("tolerated, {detail}, a key is being tested"))
            } else {
                session.get_reject_logged("DKIM signature invalid", detail)
            }
        }
    })
}

/// A signature in a few words.
fn shown(finding: &Finding) -> String {
    let Finding { outcome, domain, selector, reason, .. } = finding;
    let domain = if domain.is_empty() { "unknown" } else { domain };
    match reason.as_str() {
        "" => format!("{domain} {selector} {}", outcome.name()),
        reason => format!("{domain} {selector} {} ({reason})", outcome.name()),
    }
}

/// Signs the message of the transaction if there is a key for its author.
///
/// # Errors
/// A key or the message cannot be read.
pub(in crate::plugins) fn sign(session: &mut Session) -> std::io::Result<()> {
    let Some(author) = session.authors().into_iter().next() else {
        session.skip("no author with a domain");
        return Ok(());
    };
    let Some((domain, keys)) = keys::of_domain(session, &author)? else {
        session.skip(format_args!("no key for {author}"));
        return Ok(());
    };
    let mut hash = dkim::TextHash::default();
    session.each_piece_of_text(|octets| hash.update(octets))?;
    let hash = hash.finish();
    let header = session.transaction.header.clone();
    let fields: Vec<&[u8]> = header.fields().collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    // The first key's signature ends up on top.
    for (selector, key) in keys.iter().rev() {
        let signing = Signing { domain: &domain, selector, now };
        let value = dkim::sign(key, signing, &fields, &hash).map_err(std::io::Error::other)?;
        session.transaction.header.add_at(0, "DKIM-Signature", &value.replace("\r\n", "\n"));
        session.log(Level::Info, format_args!("signed for {domain}, {}", key.algorithm().name()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::hook::Code::{self, Declined, Deny};
    use crate::hook::{Call, Hook, KARMA};
    use crate::testing::Trial;

    const MESSAGE: &str =
        "From: a@mail.example.com\r\nSubject:  hi\r\n there\r\n\r\nHello \r\n\r\n";

    /// An Ed25519 key as PKCS #8 in PEM, and the record with its other half; the example of
    /// RFC 8463 A.2.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    const RECORD: &str = "ed._domainkey.example.com TXT \
        v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn signer() -> Trial {
        let mut trial = Trial::new("dkim", &[]);
        let folder = trial.dir().join("config/dkim/example.com");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("private"), SECRET).unwrap();
        std::fs::write(folder.join("selector"), "ed\n").unwrap();
        trial.session.connection.relay_client = true;
        trial
    }

    fn run(trial: &mut Trial) -> Code {
        trial.call(Hook::DataPostHeaders, &Call::Nothing).code()
    }

    /// The message as the plugin signs it.
    fn signed() -> String {
        let mut trial = signer();
        trial.message(MESSAGE);
        assert_eq!(run(&mut trial), Declined, "{}", trial.log());
        let mut message = Vec::new();
        trial.session.transaction.write_message(&mut message).unwrap();
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn signatures_count_for_the_karma() {
        let message = signed();
        let broken = message.replace("Hello", "Hallo");
        let none = "From: a@mail.example.com\r\n\r\nHello\r\n";
        for (message, karma) in [(&*message, Some(1)), (&*broken, Some(-1)), (none, None)] {
            let mut trial = Trial::new("dkim", &[]).with_dns(RECORD);
            trial.message(message);
            run(&mut trial);
            assert_eq!(trial.session.connection.notes.get(KARMA), karma);
        }
    }

    fn verdict(arguments: &str, message: &str) -> (Code, String) {
        let mut trial = Trial::new(&format!("dkim {arguments}"), &[]).with_dns(RECORD);
        trial.message(message);
        let code = run(&mut trial);
        (code, trial.session.connection.notes.get(super::RESULT).unwrap_or_default())
    }

    #[test]
    fn what_is_signed_holds_until_it_is_changed() {
        let message = signed();
        assert!(message.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{message}");
        assert!(message.contains("d=example.com") && message.ends_with(MESSAGE), "{message}");
        assert_eq!(verdict("", &message), (Declined, "pass".into()));
        for (old, new) in [("Hello", "Hallo"), ("hi", "ho"), ("a@mail", "b@mail")] {
            let changed = message.replace(old, new);
            assert_eq!(verdict("", &changed), (Declined, "fail".into()), "{changed}");
            assert_eq!(verdict("reject 0", &changed).0, Declined);
            assert_eq!(verdict("reject 1", &changed).0, Deny);
        }
        let changed = message.replace("Hello", "Hallo");
        let record = RECORD.replace("k=ed25519;", "k=ed25519; t=y;");
        let mut testing = Trial::new("dkim reject 1", &[]).with_dns(&record);
        testing.message(&changed);
        assert_eq!(run(&mut testing), Declined, "{}", testing.log());
        let two = format!("From: evil@example.com\r\n{message}");
        assert_eq!(verdict("", &two).1, "fail");
        assert_eq!(verdict("", MESSAGE), (Declined, "none".into()));
    }

    #[test]
    fn who_has_no_key_signs_nothing() {
        let mut trial = signer();
        trial.message("From: a@example.net\r\n\r\nHello\r\n");
        assert_eq!(run(&mut trial), Declined);
        assert_eq!(trial.session.transaction.header.count("DKIM-Signature"), 0);
        assert!(trial.log().contains("skip, no key for example.net"));
        for from in ["../../x@..", "a@../example.com", ""] {
            let mut trial = signer();
            trial.message(&format!("From: {from}\r\n\r\nHello\r\n"));
            assert_eq!(run(&mut trial), Declined, "{from}");
        }
    }

    #[test]
    fn a_key_that_is_none_fails_closed() {
        let mut trial = signer();
        std::fs::write(trial.dir().join("config/dkim/example.com/private"), "none\n").unwrap();
        trial.message(MESSAGE);
        assert_eq!(run(&mut trial), Code::DenySoft);
        assert!(trial.log().contains("config/dkim/example.com/private: "), "{}", trial.log());
    }

    /// Debian's python3-dkim, where it is installed, holds our signatures for good.
    #[test]
    fn other_programs_agree() {
        let Ok(output) =
            Command::new("/usr/bin/python3").args(["-c", "import dkim, nacl"]).output()
        else {
            return;
        };
        if !output.status.success() {
            return;
        }
        let (_, record) = RECORD.split_once(" TXT ").unwrap();
        let script = format!(
            "import sys, dkim\nok = dkim.verify(sys.stdin.buffer.read(), \
             dnsfunc=lambda *a, **k: b'{record}')\nsys.exit(0 if ok else 1)"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("message");
        std::fs::write(&path, signed()).unwrap();
        let input = std::fs::File::open(&path).unwrap();
        let status =
            Command::new("/usr/bin/python3").args(["-c", &script]).stdin(input).status().unwrap();
        assert!(status.success());
    }
}
