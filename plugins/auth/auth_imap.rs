//! ```text
//! NAME
//!     auth/auth_imap - asks an IMAP server about passwords
//!
//! SYNOPSIS
//!     auth/auth_imap SERVER [PORT] [tls no|may|must|first] [ca FILE]
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN and LOGIN as the users of an IMAP server: a client that
//!     can log in there is authenticated here.
//!
//!     Wrong passwords are refused with 535, and no other plugin is asked.  When the server cannot be
//!     reached, does not answer, or says that it cannot check passwords now, the client gets 454.
//!
//!     To servers on other machines passwords are sent under TLS, and only if the certificate
//!     proves the server's name.  To a server on this machine they are sent in the clear; it has to
//!     allow LOGIN without TLS.
//!
//!     The Perl plugin of the same name speaks no TLS. It leaves wrong passwords and all failures
//!     to the next plugin, and offers CRAM-MD5, which can never succeed.
//!
//! ARGUMENTS
//!     SERVER            name or address of the server
//!     PORT              its port; 143 by default, or 993 with "tls first"
//!     tls no            everything in the clear; the default for 127.0.0.1, ::1 and localhost
//!     tls may           STARTTLS (RFC 3501) if the server offers it, without checking the
//!                       certificate: protects only against those who listen
//!     tls must          STARTTLS, with a certificate for SERVER from a known authority; the default
//!                       for other servers
//!     tls first         the same, with TLS from the first octet (RFC 8314); the default for port 993
//!     ca FILE           the authorities for must and first: certificates in PEM, instead of those
//!                       that the system knows.  They are read at the start.
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//!     auth/auth_imap 127.0.0.1 143
//!     auth/auth_imap imap.example.com 993
//!
//! SEE ALSO
//!     auth/auth_dovecot
//! ```

use std::io;
use std::net::IpAddr;

use crate::auth::back_end::{self, Clear, Conversation};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Mode, Security, parse_port, protocol_error};

const WRONG: &str = "auth_imap - wrong password";

/// The tag of the command LOGIN.
const LOGIN: &str = "a1 ";

/// Response codes of a NO that say nothing of the password (RFC 5530 3).
const NOT_NOW: [&str; 6] =
    ["UNAVAILABLE", "PRIVACYREQUIRED", "CONTACTADMIN", "INUSE", "SERVERBUG", "LIMIT"];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut words = args.positional();
    let default = default(&words);
    let security = Security::take_tls(&mut words, hooks.config(), default)?;
    let server = words.first().ok_or("No IMAP server specified in plugins file.")?;
    let wrong = || Error::new(format!("Bad data in imap server: {server}"));
    let port = if security.is_first() { 993 } else { 143 };
    let mut endpoint = Endpoint::parse(server, Some(port)).map_err(|_| wrong())?;
    match (&mut endpoint, words.get(1)) {
        (Endpoint::Unix(_), _) => return Err(wrong()),
        (Endpoint::Tcp { port, .. }, Some(number)) => *port = parse_port(number)?,
        _ => {}
    }
    if let Some(more) = words.get(2) {
        return Err(Error::new(format!("unexpected argument '{more}'")));
    }
    back_end::register(hooks, WRONG, move |session, clear| {
        check(session, clear, &endpoint, &security)
    });
    Ok(())
}

/// What `tls` is where it is not said.
fn default(words: &[&str]) -> &'static str {
    let is_993 = |word: &&str| *word == "993" || word.ends_with(":993");
    let host = match words.first().map(|server| Endpoint::parse(server, Some(143))) {
        Some(Ok(Endpoint::Tcp { host, .. })) => host,
        _ => String::new(),
    };
    let is_here = host.parse().map_or(host == "localhost", |ip: IpAddr| ip.is_loopback());
    match words.iter().take(2).any(is_993) {
        true => "first",
        false if is_here => "no",
        false => "must",
    }
}

fn check(
    session: &mut Session,
    clear: &Clear<'_>,
    endpoint: &Endpoint,
    security: &Security,
) -> io::Result<Verdict> {
    let mut talk = Conversation::connect(session, endpoint)
        .map_err(|error| io::Error::new(error.kind(), format!("could not connect to {error}")))?;
    let mode = talk.mode(endpoint, security);
    if mode == Mode::First {
        talk.encrypt(session, endpoint, security)?;
    }
    let greeting = talk.line()?;
    if !greeting.starts_with("* OK") {
        return Err(protocol_error(&greeting));
    }
    if matches!(mode, Mode::May | Mode::Must) {
        talk.say(b"a0 STARTTLS\r\n")?;
        match answer(&mut talk, "a0 ")? {
            Some(answer) if answer.starts_with("OK") => {
                talk.encrypt(session, endpoint, security)?
            }
            Some(_) if mode == Mode::May => {}
            _ => return Err(io::Error::other("the server does not offer STARTTLS")),
        }
    }
    let answer = login(&mut talk, clear)?;
    let (word, text) = answer.split_once(' ').unwrap_or((&answer, ""));
    match word {
        "OK" => {
            // It is authenticated now, whatever comes of this.
            let _ = talk.say(b"a2 LOGOUT\r\n");
            session.pass("");
            Ok(Verdict::ok("auth_imap"))
        }
        "NO" => match text.strip_prefix('[').and_then(|text| text.split([']', ' ']).next()) {
            Some(code) if NOT_NOW.contains(&code.to_ascii_uppercase().as_str()) => {
                Err(io::Error::other(format!("the server cannot check passwords now: {code}")))
            }
            _ => {
                let user = clear.user;
                session.log(
                    Level::Notice,
                    format_args!("fail, invalid password for {user} at {endpoint}"),
                );
                Ok(Verdict::deny(WRONG))
            }
        },
        _ => Err(protocol_error("the answer is neither OK nor NO")),
    }
}

/// Sends LOGIN (RFC 3501 6.2.3), with literals, in which anything can stand.  The answer, after its
/// tag.
fn login(talk: &mut Conversation, clear: &Clear<'_>) -> io::Result<String> {
    let (user, password) = (clear.user.as_bytes(), clear.password);
    talk.say(format!("{LOGIN}LOGIN {{{}}}\r\n", user.len()).as_bytes())?;
    if let Some(answer) = answer(talk, LOGIN)? {
        return Ok(answer);
    }
    talk.say(&[user, format!(" {{{}}}\r\n", password.len()).as_bytes()].concat())?;
    if let Some(answer) = answer(talk, LOGIN)? {
        return Ok(answer);
    }
    talk.say(&[password, b"\r\n"].concat())?;
    answer(talk, LOGIN)?.ok_or_else(|| protocol_error("the server asks for more"))
}

/// What the server says of the command with this tag; None where it is ready for the rest.
fn answer(talk: &mut Conversation, tag: &str) -> io::Result<Option<String>> {
    loop {
        let line = talk.line()?;
        if let Some(answer) = line.strip_prefix(tag) {
            return Ok(Some(answer.to_owned()));
        }
        match line.split_at_checked(2) {
            Some(("+ ", _)) => return Ok(None),
            None if line == "+" => return Ok(None),
            Some(("* ", text)) if !text.starts_with("BYE") => {}
            Some(("* ", _)) => return Err(io::Error::other("the server says goodbye")),
            _ => return Err(protocol_error("the answer is not IMAP")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::back_end::tests::{Peer, failed, has_the_common_behaviour, present, silent};
    use crate::hook::Hook;
    use crate::net::self_signed;
    use crate::testing::Trial;

    const HELLO: (&str, &str) = ("", "* OK [CAPABILITY IMAP4rev1] ready\r\n");
    const USER: (&str, &str) = ("a1 LOGIN {7}\r\n", "+ go on\r\n");
    const PASSWORD: (&str, &str) = ("ann\"@\u{e9} {11}\r\n", "* a word\r\n+\r\n");
    const END: &str = "{3}\\\"\r\nhunt\r\n";

    fn answered(turns: &[(&str, &str)]) -> (Verdict, Trial) {
        let peer = Peer::start(turns);
        let mut trial = Trial::new(&format!("auth/auth_imap 127.0.0.1 {}", peer.port), &[]);
        let verdict = present(&mut trial, Hook::AuthPlain, "ann\"@\u{e9}", "{3}\\\"\r\nhunt");
        assert!(!trial.log().contains("hunt"), "{}", trial.log());
        peer.end();
        (verdict, trial)
    }

    #[test]
    fn the_answer_decides() {
        for (answer, verdict) in [
            ("a1 OK [CAPABILITY IMAP4rev1] in\r\n", Verdict::ok("auth_imap")),
            ("* CAPABILITY IMAP4rev1\r\na1 OK\r\n", Verdict::ok("auth_imap")),
            ("a1 NO [AUTHENTICATIONFAILED] no\r\n", Verdict::deny(WRONG)),
            ("a1 NO hunter\r\n", Verdict::deny(WRONG)),
            ("a1 NO\r\n", Verdict::deny(WRONG)),
        ] {
            let (found, _) = answered(&[HELLO, USER, PASSWORD, (END, answer)]);
            assert_eq!(found, verdict, "{answer}");
        }
        let (found, _) = answered(&[HELLO, ("a1 LOGIN {7}\r\n", "a1 NO no such user\r\n")]);
        assert_eq!(found, Verdict::deny(WRONG));
        let (found, _) = answered(&[HELLO, USER, ("ann\"@\u{e9} {11}\r\n", "a1 NO too long\r\n")]);
        assert_eq!(found, Verdict::deny(WRONG));
    }

    #[test]
    fn what_says_nothing_of_the_password_is_a_failure() {
        for (answer, why) in [
            ("a1 NO [UNAVAILABLE] later\r\n", "the server cannot check passwords now: UNAVAILABLE"),
            (
                "a1 NO [PrivacyRequired] TLS\r\n",
                "the server cannot check passwords now: PrivacyRequired",
            ),
            (
                "a1 BAD what?\r\n",
                "the back end gave a wrong answer: the answer is neither OK nor NO",
            ),
            ("* BYE\r\n", "the server says goodbye"),
            ("+ more\r\n", "the back end gave a wrong answer: the server asks for more"),
            ("hunt\r\n", "the back end gave a wrong answer: the answer is not IMAP"),
            ("", "the back end closed the connection"),
        ] {
            let (found, trial) = answered(&[HELLO, USER, PASSWORD, (END, answer)]);
            failed(&trial, &found, why);
        }
        for (greeting, why) in [
            ("* BYE busy\r\n", "the back end gave a wrong answer: * BYE busy"),
            ("* PREAUTH hello\r\n", "the back end gave a wrong answer: * PREAUTH hello"),
            ("", "the back end closed the connection"),
        ] {
            let (found, trial) = answered(&[("", greeting)]);
            failed(&trial, &found, why);
        }
        has_the_common_behaviour("auth/auth_imap 127.0.0.1 1", &[], WRONG);
        let (_listener, port) = silent();
        let mut trial = Trial::new(&format!("auth/auth_imap 127.0.0.1 {port} timeout 1"), &[]);
        let verdict = present(&mut trial, Hook::AuthLogin, "ann", "x");
        failed(&trial, &verdict, "the back end does not answer");
    }

    #[test]
    fn nobody_elsewhere_gets_a_password_in_the_clear_by_default() {
        for (line, mode) in [
            ("127.0.0.1", "no"),
            ("::1 143", "no"),
            ("localhost:143", "no"),
            ("127.0.0.1 993", "first"),
            ("imap.test", "must"),
            ("192.0.2.1 143", "must"),
            ("imap.test:993", "first"),
            ("", "must"),
        ] {
            assert_eq!(default(&line.split_whitespace().collect::<Vec<_>>()), mode, "{line}");
        }
    }

    #[test]
    fn a_server_without_tls_gets_a_password_only_where_it_may() {
        for answer in ["a0 BAD what?\r\n", "a0 NO no\r\n"] {
            let turns = [HELLO, ("a0 STARTTLS\r\n", answer), USER, PASSWORD, (END, "a1 OK\r\n")];
            for (mode, turns) in [("may", &turns[..]), ("must", &turns[..2])] {
                let peer = Peer::start(turns);
                let ca = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(ca.path(), self_signed("ca.test").1).unwrap();
                let ca = match mode {
                    "must" => format!("ca {}", ca.path().display()),
                    _ => String::new(),
                };
                let line = format!("auth/auth_imap 127.0.0.1 {} tls {mode} {ca}", peer.port);
                let mut trial = Trial::new(&line, &[]);
                let found = present(&mut trial, Hook::AuthPlain, "ann\"@\u{e9}", "{3}\\\"\r\nhunt");
                match mode {
                    "may" => assert_eq!(found, Verdict::ok("auth_imap")),
                    _ => failed(&trial, &found, "the server does not offer STARTTLS"),
                }
                peer.end();
            }
        }
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        for (args, error) in [
            ("", "No IMAP server specified in plugins file."),
            ("a@b", "Bad data in imap server: a@b"),
            ("/run/imap", "Bad data in imap server: /run/imap"),
            ("localhost x", "not a port: 'x'"),
            ("localhost 143 more", "unexpected argument 'more'"),
            ("localhost auth_user x", "not a port: 'auth_user'"),
            ("localhost tls", "argument tls has no value"),
            ("localhost ca /no/such.pem", "argument ca is only for 'tls must' and 'tls first'"),
        ] {
            let found = Trial::load(&format!("auth/auth_imap {args}"), &[]).err().unwrap();
            assert!(found.to_string().ends_with(error), "{found}");
        }
        Trial::new("auth/auth_imap localhost", &[]);
    }
}
