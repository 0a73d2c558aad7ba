//! The trace fields that we add: Received (RFC 5321 4.4) and Authentication-Results (RFC 8601).

use std::cell::OnceCell;
use std::fmt::Write;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

use crate::hook::{AUTHENTICATION_RESULTS, Call, Code, Failure, Hook, Received, Session};
use crate::settings::ME_AUTH_RESULTS;
use crate::state::Hello;
use crate::state::results::{comment, folded, quoted};

const RESULTS: &str = "Authentication-Results";
/// What those that came with the message are called.
const FOREIGN: &str = "Original-Authentication-Results";

/// Room for the usual Received line, in octets.
const USUAL: usize = 256;

thread_local! {
    static ZONE: OnceCell<TimeZone> = const { OnceCell::new() };
}

/// Reads the system's time zone, once: the parent does it for all its workers.
fn zone() -> TimeZone {
    ZONE.with(|zone| zone.get_or_init(TimeZone::system).clone())
}

/// Adds our Received line, or what a `received_line` handler gives in its stead.
///
/// # Errors
/// A handler failed.
pub(crate) fn add_received(session: &mut Session) -> Result<(), Failure> {
    let (auth, tls) = (auth_comment(session), tls_comment(session));
    let is_utf8 = session.transaction.mail_params.get("smtputf8").is_some();
    let [plain, a, s, sa] = match (session.connection.hello, is_utf8) {
        (None | Some(Hello::Helo), _) => ["SMTP"; 4],
        (Some(Hello::Ehlo), false) => ["ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"],
        (Some(Hello::Ehlo), true) => ["UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"],
        (Some(Hello::Lhlo), false) => ["LMTP", "LMTPA", "LMTPS", "LMTPSA"],
        (Some(Hello::Lhlo), true) => ["UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"],
    };
    let protocol = match (tls.is_empty(), auth.is_empty()) {
        (true, true) => plain,
        (true, false) => a,
        (false, true) => s,
        (false, false) => sa,
    };
    let me = session.me();
    let mut default = String::with_capacity(USUAL);
    let written = write!(
        default,
        "from {} (HELO {}) ({})\n by {me} (qpsmtpd/{}) with {protocol}{tls}{auth}; {}",
        session.connection.remote_info(),
        word(&session.connection.hello_host),
        session.connection.remote_ip,
        env!("CARGO_PKG_VERSION"),
        date(),
    );
    written.expect("a String takes any text");
    let default = session.readable(default);
    let parts = Received { protocol, auth: &auth, tls: &tls, default: &default };
    let verdict = session.run(Hook::ReceivedLine, &Call::Received(&parts))?;
    let line = match verdict.code() {
        Code::Ok if !verdict.text().is_empty() => verdict.text(),
        _ => &default,
    };
    session.transaction.header.add_trace(line);
    Ok(())
}

/// Renames the Authentication-Results that came with the message, which anybody could have
/// written, and adds ours.  `config/me-auth-results` is our name in them; `none` does neither.
pub(crate) fn authentication_results(session: &mut Session) {
    let name = session.setting(ME_AUTH_RESULTS);
    if name == "none" {
        return;
    }
    let mut results = vec![name];
    results.push(match (session.auth_user(), session.auth_mechanism()) {
        (Some(user), Some(mechanism)) => {
            format!("auth=pass ({}) smtp.auth={}", word(mechanism), quoted(user))
        }
        _ => "auth=none".into(),
    });
    if let Some(more) = session.connection.notes.get(AUTHENTICATION_RESULTS)
        && !more.is_empty()
    {
        results.push(more);
    }
    results.extend(session.transaction.results.texts());
    let results = session.readable(folded(&results));
    let header = &mut session.transaction.header;
    header.rename(RESULTS, FOREIGN);
    header.add_at(0, RESULTS, &results);
}

/// Now, as RFC 5322 3.3 has it.
pub(crate) fn date() -> String {
    let now = Timestamp::now().to_zoned(zone());
    rfc2822::to_string(&now).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".into())
}

fn auth_comment(session: &Session) -> String {
    match (session.auth_user(), session.auth_mechanism()) {
        (Some(user), Some(mechanism)) => {
            let mechanism = mechanism.to_ascii_uppercase();
            format!(" (smtp-auth username {}, mechanism {})", word(user), word(&mechanism))
        }
        _ => String::new(),
    }
}

fn tls_comment(session: &Session) -> String {
    session.connection.encryption.as_ref().map_or_else(String::new, |encryption| {
        format!(" ({} {} encrypted)", encryption.protocol, encryption.cipher)
    })
}

/// Text from the client as one word of a comment.
fn word(text: &str) -> String {
    let text = comment(text);
    if text.contains(char::is_whitespace) { text.replace(char::is_whitespace, "?") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Trial;

    #[test]
    fn a_client_cannot_end_a_comment() {
        assert_eq!(word("a) b (c\\\r\n"), "a??b??c???");
        assert_eq!(word(&"x".repeat(9000)).len(), 255);
    }

    #[test]
    fn foreign_results_are_renamed_and_ours_come_first() {
        let mut trial = Trial::new("", &[("me", "mx.test")]);
        // Whatever name is in them, and however it is written (RFC 8601 5).
        let foreign = [
            "authentication-results: mx.test; spf=pass",
            "AUTHENTICATION-RESULTS :mx.test; spf=pass",
            "Authentication-Results\t: mx.test;\n spf=pass",
            "Authentication-Results:\n (a comment) MX.Test 1; spf=pass",
            "Authentication-Results: \"mx.test\"; spf=pass",
            "Authentication-Results: m\u{fc}x.test; spf=pass",
            "Authentication-Results: xn--mx-xka.test; spf=pass",
            "Authentication-Results: other.test; spf=pass",
            "Authentication-Results:",
        ];
        trial.message(&format!("Subject: x\n{}\nTo: y\n\n", foreign.join("\n")));
        trial.session.store_auth_results("spf=fail");
        authentication_results(&mut trial.session);
        let header = &trial.session.transaction.header;
        assert_eq!(header.count(RESULTS), 1);
        assert_eq!(header.get(RESULTS).unwrap(), "mx.test; auth=none; spf=fail");
        assert_eq!(header.count("Original-Authentication-Results"), foreign.len());
        let text = String::from_utf8(header.to_bytes()).unwrap();
        assert!(text.starts_with("Authentication-Results: mx.test"), "{text}");
        let lines = text.lines().map(str::to_ascii_lowercase);
        assert_eq!(lines.filter(|line| line.starts_with("authentication-results")).count(), 1);
    }

    #[test]
    fn me_auth_results_none_leaves_them_alone() {
        let mut trial = Trial::new("", &[("me-auth-results", "none")]);
        trial.message("Authentication-Results: x\n\n");
        authentication_results(&mut trial.session);
        assert_eq!(trial.session.transaction.header.to_bytes(), b"Authentication-Results: x\r\n");
    }

    #[test]
    fn the_received_line_names_both_ends() {
        let mut trial = Trial::new("", &[("me", "mx.test")]);
        trial.session.connection.hello = Some(Hello::Ehlo);
        trial.session.connection.hello_host = "he(l\u{f6}.test".into();
        add_received(&mut trial.session).unwrap();
        let line = trial.session.transaction.header.get("Received").unwrap().into_owned();
        let start = "from Unknown (HELO he?l?.test) (192.0.2.1)\n by mx.test (qpsmtpd/";
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(") with ESMTP; "), "{line}");
    }

    #[test]
    fn the_protocol_has_a_name_for_each_extension() {
        use crate::state::{Encryption, Params};
        let tls = Encryption {
            protocol: "TLSv1.3".into(),
            cipher: "X".into(),
            server_name: None,
            resumed: false,
        };
        for (utf8, encryption, user, protocol) in [
            ("", None, None, "LMTP"),
            ("", None, Some("u"), "LMTPA"),
            ("", Some(&tls), None, "LMTPS"),
            ("SMTPUTF8", Some(&tls), Some("u"), "UTF8LMTPSA"),
            ("", None, None, "ESMTP"),
            ("", None, Some("u"), "ESMTPA"),
            ("", Some(&tls), None, "ESMTPS"),
            ("", Some(&tls), Some("u"), "ESMTPSA"),
            ("SMTPUTF8", None, None, "UTF8SMTP"),
            ("SMTPUTF8", None, Some("u"), "UTF8SMTPA"),
            ("SMTPUTF8", Some(&tls), None, "UTF8SMTPS"),
            ("SMTPUTF8", Some(&tls), Some("u"), "UTF8SMTPSA"),
        ] {
            let hello = if protocol.contains("LMTP") { Hello::Lhlo } else { Hello::Ehlo };
            let mut trial = Trial::new("", &[("me", "mx.test")]);
            trial.session.connection.hello = Some(hello);
            trial.session.connection.encryption = encryption.cloned();
            trial.session.connection.auth_user = user.map(str::to_owned);
            trial.session.connection.auth_mechanism = user.map(|_| "plain".to_owned());
            trial.session.transaction.mail_params = Params::from_words(utf8.split_whitespace());
            add_received(&mut trial.session).unwrap();
            let line = trial.session.transaction.header.get("Received").unwrap().into_owned();
            let (_, with) = line.split_once(") with ").unwrap();
            assert_eq!(with.split([' ', ';']).next(), Some(protocol), "{line}");
        }
    }
}
