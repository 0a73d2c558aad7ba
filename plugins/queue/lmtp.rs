//! ```text
//! NAME
//!     queue/lmtp - hands messages to a delivery agent that speaks LMTP
//!
//! SYNOPSIS
//!     queue/lmtp HOST PORT | HOST:PORT | /SOCKET [HOST:PORT | /SOCKET] ... [dsn]
//!                [tls no|may|must|first] [ca FILE] [auth_user NAME auth_password_file FILE]
//!                [keep MESSAGES [idle SECONDS]]
//!
//! DESCRIPTION
//!     While the client waits, the plugin gives the message with its envelope to a server that
//!     speaks LMTP (RFC 2033), such as Dovecot or Cyrus, over TCP or over a socket in the file
//!     system.  The client gets that server's answer, with its code, text and enhanced status.
//!
//!     All recipients have to be accepted, as with queue/smtp-forward.  If some are refused before
//!     the message is sent, the client gets 451 and nobody gets the message.  If all are refused,
//!     the client gets the first temporary refusal, or the first refusal if none is temporary.
//!
//!     In LMTP each recipient has its own answer after the message, too, so some may have the
//!     message while others do not.  The client can be given only one answer:
//!
//!         all accepted                250 with the first reply
//!         all refused                 the first temporary refusal, or else the first refusal
//!         some refused temporarily    451: the client tries again, and those who have the message
//!                                     get it once more
//!         some refused permanently,   the first refusal, 5xx, with these recipients in its text:
//!         the others accepted         another attempt would not help them, and the others would
//!                                     get the message once more each time
//!
//!     A client that itself speaks LMTP gets an answer for each recipient: the message goes to the
//!     recipients that are accepted, and the answers are those of the server.
//!
//!     To keep such cases rare, let the server find unknown users and full mailboxes at RCPT, as
//!     Dovecot does with lmtp_rcpt_check_quota.
//!
//!     A server that cannot be reached or does not greet is passed over for the next one.  If there
//!     is none left the next queue plugin is asked; without one the client gets 451.  Everything
//!     else, line ends of the message included, is as with queue/smtp-forward.
//!
//! ARGUMENTS
//!     HOST PORT         a server on the network
//!     HOST:PORT         the same
//!     /SOCKET           the path of a server's socket
//!     dsn               offer DSN (RFC 3461) to clients, and hand on what they ask for, as with
//!                       queue/smtp-forward; few delivery agents can use it
//!     tls WORD, ca FILE, auth_user NAME, auth_password_file FILE
//!                       TLS and AUTH on the network, as with queue/smtp-forward.  By default STARTTLS
//!                       is used if it is offered.  Over a socket in the file system there is no TLS.
//!     keep MESSAGES [idle SECONDS]
//!                       leave the connection open for further messages, as with queue/smtp-forward
//!     timeout SECONDS   time limit for each message; 300 by default
//!
//!     queue/lmtp /run/dovecot/lmtp
//!
//! CONFIG
//!     me   the name with which this server greets the other one
//!
//! SEE ALSO
//!     queue/smtp-forward, queue/maildir
//! ```

use std::rc::Rc;

use crate::error::{Error, Result};
use crate::forward::{Backend, Kept, Protocol};
use crate::hook::{Args, Extension, Hooks};
use crate::net::{Endpoint, Security};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut args = args.clone();
    let dsn = args.take_flag("dsn");
    let kept = Kept::take(&mut args)?;
    let mut words = args.positional();
    let security = Security::take(&mut words, hooks.config())?;
    let mut words = words.into_iter().peekable();
    let mut endpoints = vec![];
    while let Some(endpoint) = Endpoint::take(&mut words, None)? {
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err(Error::new("argument missing: the LMTP server"));
    }
    security.check(&endpoints)?;
    let (protocol, xclient) = (Protocol::Lmtp, false);
    let backend = Rc::new(Backend { endpoints, protocol, xclient, dsn, security, kept });
    if dsn {
        hooks.supports(Extension::Dsn);
    }
    let own = backend.clone();
    hooks.rests(move |rest| own.rest(rest));
    hooks.queue(move |session| backend.hand_over(session));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::forward::Peer;
    use crate::hook::{Code, Hook, Verdict};
    use crate::state::Hello;
    use crate::testing::Trial;

    const START: &str = "+ 220 peer\n- LHLO mx.test\n+ 250-peer\n+ 250 PIPELINING\n\
        - MAIL FROM:<a@example.net>\n- RCPT TO:<b@example.com>\n- RCPT TO:<c@example.com>\n";
    const DATA: &str = "+ 250 ok\n+ 250 ok\n+ 250 ok\n- DATA\n+ 354 go\n*\n";

    fn deliver(script: &str) -> (Verdict, Vec<u8>) {
        let peer = Peer::start(script);
        let line = format!("queue/lmtp 127.0.0.1 {}", peer.port);
        let mut trial = Trial::new(&line, &[("me", "mx.test")]);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.rcpt("<c@example.com>");
        trial.message("Subject: hi\n\n.\n");
        (trial.plain(Hook::Queue), peer.end())
    }

    #[test]
    fn arguments_are_places() {
        for (args, error) in [
            ("", "argument missing: the LMTP server"),
            ("localhost", "no port in 'localhost'"),
            ("127.0.0.1 24 25", "no port in '25'"),
            ("127.0.0.1:24 25", "no port in '25'"),
            ("127.0.0.1:x", "not a port: 'x'"),
            ("127.0.0.1 x", "no port in '127.0.0.1'"),
        ] {
            let found = Trial::load(&format!("queue/lmtp {args}"), &[]).err().unwrap().to_string();
            assert!(found.ends_with(error), "{found}");
        }
        Trial::new("queue/lmtp /run/lmtp 127.0.0.1:24 timeout 9", &[]);
        Trial::new("queue/lmtp 127.0.0.1 24 [::1]:24 timeout 9", &[]);
    }

    #[test]
    fn each_recipient_has_a_final_reply() {
        let end = "+ 250 2.0.0 b Saved\n+ 250 2.0.0 c Saved\n- QUIT\n+ 221 bye\n";
        let (verdict, message) = deliver(&format!("{START}{DATA}{end}"));
        assert_eq!(verdict, Verdict::ok("b Saved (#2.0.0)"));
        assert_eq!(message, b"Subject: hi\r\n\r\n..\r\n");
    }

    #[test]
    fn the_final_replies_are_added_up() {
        let partly =
            "Unable to queue message (<c@example.com> was refused: 452 4.2.2 full) (#4.3.0)";
        for (replies, verdict) in [
            ("+ 552 5.2.2 full\n+ 550 no\n", Verdict::deny("full (#5.2.2)").with_reply(552)),
            ("+ 552 full\n+ 452 busy\n", Verdict::denysoft("busy").with_reply(452)),
            ("+ 250 ok\n+ 452 4.2.2 full\n", Verdict::denysoft(partly).with_reply(451)),
            ("+ 250 ok\n+ 552 5.2.2 full\n", {
                let text = "<c@example.com> was refused: 552 5.2.2 full\nThe other recipients have the message (#5.2.2)";
                Verdict::deny(text).with_reply(552)
            }),
        ] {
            let (found, _) = deliver(&format!("{START}{DATA}{replies}"));
            assert_eq!(found, verdict, "{replies}");
        }
    }

    /// Codes and texts of what each recipient hears, and then the handler's verdict.
    fn deliver_to_each(script: &str) -> Vec<(Code, String)> {
        let peer = Peer::start(script);
        let line = format!("queue/lmtp 127.0.0.1:{}", peer.port);
        let mut trial = Trial::new(&line, &[("me", "mx.test")]);
        trial.session.connection.hello = Some(Hello::Lhlo);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        trial.rcpt("<c@example.com>");
        trial.message("Subject: hi\n\n.\n");
        let verdict = trial.plain(Hook::Queue);
        peer.end();
        let own = trial.session.recipient_verdicts();
        let shown = |verdict: &Verdict| (verdict.code(), verdict.text().to_owned());
        let each = [0, 1].map(|endpoint| shown(own.get(&endpoint).unwrap_or(&verdict)));
        each.into_iter().chain([shown(&verdict)]).collect()
    }

    #[test]
    fn a_client_that_speaks_lmtp_hears_of_each_recipient() {
        use Code::{Deny, DenySoft, Ok};
        let quit = "- QUIT\n+ 221 bye\n";
        let one = "+ 250 ok\n+ 250 ok\n+ 550 5.1.1 who?\n- DATA\n+ 354 go\n*\n";
        let lost = "Unable to queue message (the back end closed the connection) (#4.4.2)";
        for (script, want) in [
            (format!("{DATA}+ 250 b\n+ 250 c\n{quit}"), [(Ok, "b"), (Ok, "c"), (Ok, "b")]),
            (format!("{DATA}+ 552 b\n+ 250 c\n{quit}"), [(Deny, "b"), (Ok, "c"), (Ok, "c")]),
            (format!("{DATA}+ 552 b\n+ 451 c\n{quit}"), {
                [(Deny, "b"), (DenySoft, "c"), (DenySoft, "c")]
            }),
            (format!("{one}+ 250 2.0.0 b\n{quit}"), {
                [(Ok, "b (#2.0.0)"), (Deny, "who? (#5.1.1)"), (Ok, "b (#2.0.0)")]
            }),
            (format!("{one}+ 451 b\n{quit}"), {
                [(DenySoft, "b"), (Deny, "who? (#5.1.1)"), (DenySoft, "b")]
            }),
            (format!("{DATA}+ 250 b\nclose\n"), [(Ok, "b"), (DenySoft, lost), (DenySoft, lost)]),
            (format!("+ 250 ok\n+ 550 b\n+ 450 c\n{quit}"), {
                [(Deny, "b"), (DenySoft, "c"), (DenySoft, "c")]
            }),
            (format!("+ 451 no\n+ 503 b\n+ 503 c\n{quit}"), {
                [(DenySoft, "no"), (DenySoft, "no"), (DenySoft, "no")]
            }),
            ("+ 250 ok\n+ 250 ok\n+ 550 c\n- DATA\n+ 452 full\n- QUIT\n".into(), {
                [(DenySoft, "full"), (Deny, "c"), (DenySoft, "full")]
            }),
        ] {
            let want = want.map(|(code, text)| (code, text.to_owned()));
            assert_eq!(deliver_to_each(&format!("{START}{script}")), want, "{script}");
        }
    }

    #[test]
    fn refusals_before_the_message_spare_everybody_the_message() {
        let (found, message) = deliver(&format!("{START}+ 250 ok\n+ 250 ok\n+ 550 who?\n- QUIT\n"));
        let text = "Unable to queue message (<c@example.com> was refused: 550 who?) (#4.3.0)";
        assert_eq!((found, message), (Verdict::denysoft(text).with_reply(451), vec![]));
        let (found, _) = deliver(&format!("{START}+ 250 ok\n+ 550 one\n+ 550 two\n- QUIT\n"));
        assert_eq!(found, Verdict::deny("one").with_reply(550));
    }

    #[test]
    fn a_server_that_does_not_know_lhlo_is_not_used() {
        let (found, _) = deliver("+ 220 peer\n- LHLO mx.test\n+ 500 what?\n");
        let text = "Unable to queue message (the back end refused the greeting) (#4.4.1)";
        assert_eq!(found, Verdict::declined(text));
    }

    #[test]
    fn a_reply_that_does_not_come_is_a_temporary_failure() {
        let (found, _) = deliver(&format!("{START}{DATA}+ 250 ok\nclose\n"));
        assert_eq!(found.reply(), Some(451));
    }
}
