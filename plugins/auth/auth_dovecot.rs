//! ```text
//! NAME
//!     auth/auth_dovecot - asks Dovecot about passwords
//!
//! SYNOPSIS
//!     auth/auth_dovecot SOCKET
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN and LOGIN as Dovecot's users.  It asks Dovecot over the
//!     socket of its authentication server, with version 1 of the client protocol.
//!
//!     Wrong passwords are refused with 535, and no other plugin is asked.  When Dovecot cannot be
//!     reached, does not answer, or has a temporary failure of its own, the client gets 454.
//!
//!     Dovecot is told the addresses of client and server, and whether the client uses TLS, so
//!     Dovecot's rules about them apply here too.  Dovecot delays its answer to a wrong password by
//!     some seconds.
//!
//!     Dovecot needs a socket that the user of the server may write to:
//!
//!         service auth {
//!           unix_listener auth-qpsmtpd {
//!             mode = 0600
//!             user = qpsmtpd
//!           }
//!         }
//!
//! ARGUMENTS
//!     SOCKET            the path of the socket
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//!     auth/auth_dovecot /run/dovecot/auth-qpsmtpd
//!
//! SEE ALSO
//!     auth/auth_imap, queue/lmtp
//! ```

use std::io;
use std::path::PathBuf;

use base64::prelude::*;

use crate::auth::back_end::{self, Clear, Conversation};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, protocol_error};

const WRONG: &str = "auth_dovecot - wrong password";

/// The most lines that the server says of itself.
const MOST_LINES: usize = 100;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.at_most(1)?;
    let path = args.required(0, "the path of Dovecot's socket")?;
    if !path.starts_with('/') {
        return Err(Error::new(format!("not a path that begins with /: '{path}'")));
    }
    let endpoint = Endpoint::Unix(PathBuf::from(path));
    back_end::register(hooks, WRONG, move |session, clear| check(session, clear, &endpoint));
    Ok(())
}

fn check(session: &mut Session, clear: &Clear<'_>, endpoint: &Endpoint) -> io::Result<Verdict> {
    let mut talk = Conversation::connect(session, endpoint)?;
    greet(&mut talk)?;
    talk.say(request(session, clear).as_bytes())?;
    loop {
        let line = talk.line()?;
        let mut fields = line.split('\t');
        let (verb, id) = (fields.next().unwrap_or(""), fields.next());
        match (verb, id) {
            ("OK", Some("1")) => {
                session.pass("");
                return Ok(Verdict::ok("auth_dovecot"));
            }
            ("FAIL", Some("1")) => {
                let fields: Vec<_> = fields.collect();
                if fields.iter().any(|field| ["temp", "code=temp_fail"].contains(field)) {
                    return Err(io::Error::other("Dovecot has a temporary failure"));
                }
                let reason = fields.iter().find_map(|field| field.strip_prefix("reason="));
                let reason = clear.discreet(reason.unwrap_or("wrong password"));
                session.log(Level::Notice, format_args!("fail, {reason}"));
                return Ok(Verdict::deny(WRONG));
            }
            // A later word on the server itself.
            ("OK" | "FAIL" | "CONT", _) => return Err(protocol_error(verb)),
            _ => {}
        }
    }
}

/// Exchanges versions, and waits for the end of what the server says of itself.
fn greet(talk: &mut Conversation) -> io::Result<()> {
    talk.say(format!("VERSION\t1\t1\nCPID\t{}\n", std::process::id()).as_bytes())?;
    let (mut has_version, mut has_plain) = (false, false);
    for _ in 0..MOST_LINES {
        let line = talk.line()?;
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["VERSION", "1", ..] => has_version = true,
            ["VERSION", version, ..] => return Err(protocol_error(&format!("version {version}"))),
            ["MECH", "PLAIN", ..] => has_plain = true,
            ["DONE"] if !has_version => return Err(protocol_error("the greeting has no version")),
            ["DONE"] if !has_plain => return Err(io::Error::other("Dovecot does not offer PLAIN")),
            ["DONE"] => return Ok(()),
            _ => {}
        }
    }
    Err(protocol_error("the greeting has no end"))
}

/// The request: nothing that the client has chosen is in it but in base64.
fn request(session: &Session, clear: &Clear<'_>) -> String {
    let connection = &session.connection;
    let message = [b"\0", clear.user.as_bytes(), b"\0", clear.password].concat();
    let secured = if connection.encryption.is_some() { "\tsecured" } else { "" };
    format!(
        "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip={}\trip={}\tlport={}\trport={}{secured}\tresp={}\n",
        connection.local_ip,
        connection.remote_ip,
        connection.local_port,
        connection.remote_port,
        BASE64_STANDARD.encode(message),
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::auth::back_end::tests::{failed, has_the_common_behaviour, present};
    use crate::hook::Hook;
    use crate::state::Encryption;
    use crate::testing::Trial;

    const GREETING: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n\
        SPID\t7\nCUID\t1\nCOOKIE\t00\nDONE\n";

    /// What the plugin makes of an authentication server that says this, and what that has heard.
    fn answered(greeting: &str, answer: &str, is_secure: bool) -> (Verdict, Trial, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth");
        let listener = UnixListener::bind(&path).unwrap();
        let (greeting, answer) = (greeting.to_owned(), answer.to_owned());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            let mut heard = vec![];
            let mut octet = [0];
            while heard.iter().filter(|octet| **octet == b'\n').count() < 3
                && stream.read(&mut octet).unwrap_or(0) == 1
            {
                heard.push(octet[0]);
            }
            stream.write_all(answer.as_bytes()).ok();
            String::from_utf8(heard).unwrap()
        });
        let mut trial = Trial::new(&format!("auth/auth_dovecot {}", path.display()), &[]);
        trial.session.connection.encryption = is_secure.then(|| Encryption {
            protocol: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            server_name: None,
            resumed: false,
        });
        let verdict = present(&mut trial, Hook::AuthLogin, "ann", "se\tcret");
        assert!(!trial.log().contains("cret"), "{}", trial.log());
        (verdict, trial, server.join().unwrap())
    }

    #[test]
    fn the_answer_decides() {
        for (answer, verdict) in [
            ("OK\t1\tuser=ann\n", Verdict::ok("auth_dovecot")),
            ("MECH\tX\nOK\t1\n", Verdict::ok("auth_dovecot")),
            ("FAIL\t1\tuser=ann\n", Verdict::deny(WRONG)),
            ("FAIL\t1\tuser=ann\treason=Go away\tuser_disabled\n", Verdict::deny(WRONG)),
        ] {
            let (found, ..) = answered(GREETING, answer, false);
            assert_eq!(found, verdict, "{answer}");
        }
        for (answer, why) in [
            ("FAIL\t1\tuser=ann\ttemp\n", "Dovecot has a temporary failure"),
            ("FAIL\t1\tcode=temp_fail\n", "Dovecot has a temporary failure"),
            ("OK\t2\n", "the back end gave a wrong answer: OK"),
            ("CONT\t1\t\n", "the back end gave a wrong answer: CONT"),
            ("", "the back end closed the connection"),
        ] {
            let (found, trial, _) = answered(GREETING, answer, false);
            failed(&trial, &found, why);
        }
    }

    #[test]
    fn the_request_says_who_asks() {
        for (is_secure, secured) in [(false, ""), (true, "\tsecured")] {
            let (.., heard) = answered(GREETING, "OK\t1\n", is_secure);
            let id = std::process::id();
            let want = format!(
                "VERSION\t1\t1\nCPID\t{id}\nAUTH\t1\tPLAIN\tservice=smtp\tnologin\t\
                 lip=192.0.2.25\trip=192.0.2.1\tlport=25\trport=40000{secured}\t\
                 resp=AGFubgBzZQljcmV0\n"
            );
            assert_eq!(heard, want);
        }
    }

    #[test]
    fn a_server_that_is_none_is_a_failure() {
        for (greeting, why) in [
            ("VERSION\t2\t0\nDONE\n", "the back end gave a wrong answer: version 2"),
            ("DONE\n", "the back end gave a wrong answer: the greeting has no version"),
            ("VERSION\t1\t2\nMECH\tCRAM-MD5\nDONE\n", "Dovecot does not offer PLAIN"),
            (&"X\n".repeat(100), "the back end gave a wrong answer: the greeting has no end"),
        ] {
            let (found, trial, heard) = answered(greeting, "", false);
            failed(&trial, &found, why);
            assert!(!heard.contains("AUTH"), "{heard}");
        }
        has_the_common_behaviour("auth/auth_dovecot /nonexistent/auth", &[], WRONG);
    }

    #[test]
    fn a_silent_server_is_waited_for_as_long_as_the_handler_may_take() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut trial = Trial::new(&format!("auth/auth_dovecot {} timeout 1", path.display()), &[]);
        let verdict = present(&mut trial, Hook::AuthPlain, "ann", "x");
        failed(&trial, &verdict, "the back end does not answer");
    }

    #[test]
    fn the_argument_is_a_path() {
        for (args, error) in [
            ("", "argument missing: the path of Dovecot's socket"),
            ("auth", "not a path that begins with /: 'auth'"),
            ("/a /b", "unexpected argument '/b'"),
        ] {
            let found = Trial::load(&format!("auth/auth_dovecot {args}"), &[]).err().unwrap();
            assert!(found.to_string().ends_with(error), "{found}");
        }
    }
}
