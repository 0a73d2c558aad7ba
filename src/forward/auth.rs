//! AUTH (RFC 4954) with the mechanisms PLAIN and LOGIN.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Client, Reply, Unusable};
use crate::net::{Login, password_in};

impl Client {
    /// Authenticates.  What the server says about it is logged without its text, in which some
    /// servers repeat what they have heard.
    pub(super) fn authenticate(&mut self, login: &Login) -> Result<(), Unusable> {
        if self.wire.tls().is_none() && !self.wire.is_local() {
            let details = "a password is not sent in the clear";
            return Err(Unusable::new("the connection is not encrypted", details));
        }
        let offers = |mechanism: &str| {
            let mut offered = self.offer("AUTH").unwrap_or("").split_whitespace();
            offered.any(|word| word.eq_ignore_ascii_case(mechanism))
        };
        let (plain, log_in) = (offers("PLAIN"), offers("LOGIN"));
        let password = password_in(&login.file).map_err(|error| {
            Unusable::new("an error of this server", format!("{}: {error}", login.file.display()))
        })?;
        let steps = if plain {
            let secret = ["\0", &login.user, "\0", &password].concat();
            vec![format!("AUTH PLAIN {}", STANDARD.encode(secret))]
        } else if log_in {
            let words = [login.user.as_str(), &password].map(|word| STANDARD.encode(word));
            ["AUTH LOGIN".to_owned()].into_iter().chain(words).collect()
        } else {
            let details = "it is an argument of the plugin";
            return Err(Unusable::new("the back end does not offer AUTH PLAIN or LOGIN", details));
        };
        let what = "the back end refused to authenticate this server";
        for (left, step) in (0..steps.len()).rev().zip(&steps) {
            let failed = |error: io::Error| Unusable::new("the back end does not answer", error);
            let reply = self.ask(step).map_err(failed)?;
            if reply.code != if left == 0 { 235 } else { 334 } {
                return Err(Unusable::new(what, bare(&reply)));
            }
        }
        Ok(())
    }
}

/// The code, and the enhanced status.
fn bare(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.status().unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::forward::{Peer, Protocol};
    use crate::hook::{Hook, Verdict};
    use crate::net::{Endpoint, Wire};
    use crate::testing::Trial;

    /// "\0me\0pa ss", "me" and "pa ss".
    const PLAIN: &str = "- AUTH PLAIN AG1lAHBhIHNz\n";
    const LOGIN: &str =
        "- AUTH LOGIN\n+ 334 VXNlcm5hbWU6\n- bWU=\n+ 334 UGFzc3dvcmQ6\n- cGEgc3M=\n";
    const DONE: &str = "+ 235 ok\n- MAIL FROM:<a@example.net>\n+ 550 no\n- QUIT\n+ 221 bye\n";

    /// What comes of a back end on this machine that offers `mechanisms` and follows `script`; and
    /// the log.
    fn forward(mechanisms: &str, script: &str, password: &str) -> (Verdict, String) {
        let start = format!("+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 AUTH {mechanisms}\n");
        let peer = Peer::start(&format!("{start}{script}"));
        let login = "tls no auth_user me auth_password_file pw";
        let line = format!("queue/smtp-forward 127.0.0.1 {} {login}", peer.port);
        let mut trial = Trial::new(&line, &[("me", "mx.test"), ("pw", password)]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        let verdict = trial.plain(Hook::Queue);
        peer.end();
        (verdict, trial.log())
    }

    #[test]
    fn the_first_mechanism_that_both_know_is_used() {
        for (mechanisms, script) in
            [("LOGIN plain", PLAIN), ("PLAIN", PLAIN), ("CRAM-MD5 LOGIN", LOGIN)]
        {
            for password in ["pa ss", "pa ss\n", "pa ss\r\nanother\n"] {
                let (verdict, log) = forward(mechanisms, &format!("{script}{DONE}"), password);
                assert_eq!(verdict, Verdict::deny("no").with_reply(550), "{log}");
            }
        }
    }

    #[test]
    fn without_authentication_there_is_no_message() {
        let refused = "the back end refused to authenticate this server";
        for (mechanisms, script, password, why) in [
            ("PLAIN", format!("{PLAIN}+ 535 5.7.8 AG1lAHBhIHNz pa ss\nclose\n"), "pa ss", refused),
            ("PLAIN", format!("{PLAIN}+ 250 ok\nclose\n"), "pa ss", refused),
            ("LOGIN", "- AUTH LOGIN\n+ 235 ok\nclose\n".into(), "pa ss", refused),
            ("PLAIN", format!("{PLAIN}close\n"), "pa ss", "the back end does not answer"),
            ("GSSAPI", "close\n".into(), "pa ss", {
                "the back end does not offer AUTH PLAIN or LOGIN"
            }),
            ("PLAIN", "close\n".into(), "\npa ss\n", "an error of this server"),
        ] {
            let (verdict, log) = forward(mechanisms, &script, password);
            let text = format!("Unable to queue message ({why}) (#4.4.1)");
            assert_eq!(verdict, Verdict::declined(text), "{log}");
            assert!(!log.contains("pa ss") && !log.contains("AG1lAHBhIHNz"), "{log}");
        }
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_to_others() {
        let peer = Peer::start("hang\n");
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".into(), port: peer.port };
        let until = Instant::now() + Duration::from_secs(60);
        let mut wire = Wire::connect(&endpoint, until).unwrap();
        wire.set_remote();
        let mut client = Client::new(wire, Protocol::Smtp, String::new());
        client.offers = vec!["AUTH PLAIN".to_owned()];
        let login = Login { user: "me".into(), file: "/no/such".into() };
        let unusable = client.authenticate(&login).unwrap_err();
        assert_eq!(unusable.what, "the connection is not encrypted");
    }
}
