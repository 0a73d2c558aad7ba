//! ```text
//! NAME
//!     auth/auth_vpopmaild - asks vpopmaild about passwords
//!
//! SYNOPSIS
//!     auth/auth_vpopmaild [host HOST] [port PORT]
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN and LOGIN as the users of vpopmail.  It asks vpopmaild,
//!     vpopmail's server for other programs.
//!
//!     Wrong passwords are refused with 535, and no other plugin is asked.  When vpopmaild cannot be
//!     reached or does not answer, the client gets 454.
//!
//!     The protocol of vpopmaild cannot carry a user name or a password with a space in it: these
//!     are left to the next plugin.  Passwords go over the network in the clear.
//!
//!     The Perl plugin of the same name leaves wrong passwords and all failures to the next plugin.
//!
//! ARGUMENTS
//!     host HOST         name or address of the host of vpopmaild; localhost by default
//!     port PORT         its port; 89 by default
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//!     auth/auth_vpopmaild host 192.0.2.7
//!
//! SEE ALSO
//!     auth/auth_checkpassword
//! ```

use std::io;

use crate::auth::back_end::{self, Clear, Conversation};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, parse_port, protocol_error};

const WRONG: &str = "auth_vpopmaild - wrong password";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["host", "port"])?;
    let host = args.named("host").unwrap_or("localhost");
    let port = args.named("port").map_or(Ok(89), parse_port);
    let port = port.map_err(|why| why.within("argument port"))?;
    let Endpoint::Tcp { host, .. } = Endpoint::parse(host, Some(port))? else {
        return Err(Error::value("host", host, "a host"));
    };
    let endpoint = Endpoint::Tcp { host, port };
    back_end::register(hooks, WRONG, move |session, clear| check(session, clear, &endpoint));
    Ok(())
}

fn check(session: &mut Session, clear: &Clear<'_>, endpoint: &Endpoint) -> io::Result<Verdict> {
    let cannot_be_said = |octet: &u8| octet.is_ascii_whitespace() || octet.is_ascii_control();
    if clear.user.as_bytes().iter().chain(clear.password).any(cannot_be_said) {
        session.skip("vpopmaild accepts no spaces");
        return Ok(Verdict::declined("auth_vpopmaild"));
    }
    let mut talk = Conversation::connect(session, endpoint)?;
    let greeting = talk.line()?;
    if !greeting.starts_with("+OK") {
        return Err(protocol_error(&greeting));
    }
    talk.say(&[b"login ", clear.user.as_bytes(), b" ", clear.password, b"\n"].concat())?;
    // Lines about the user may follow, which nobody needs.
    let answer = talk.line()?;
    if answer.starts_with("+OK") {
        session.pass("");
        return Ok(Verdict::ok("auth_vpopmaild"));
    }
    // A server that repeats what it was told must not put it into the log.
    if answer.starts_with("-ERR") {
        session.log(Level::Notice, "fail, wrong password");
        return Ok(Verdict::deny(WRONG));
    }
    Err(protocol_error("the answer is neither +OK nor -ERR"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::back_end::tests::{Peer, failed, has_the_common_behaviour, present, silent};
    use crate::hook::Hook;
    use crate::testing::Trial;

    const LOGIN: &str = "login ann@example.com hunter2\n";

    fn answered(turns: &[(&str, &str)]) -> (Verdict, Trial) {
        let peer = Peer::start(turns);
        let line = format!("auth/auth_vpopmaild host 127.0.0.1 port {}", peer.port);
        let mut trial = Trial::new(&line, &[]);
        let verdict = present(&mut trial, Hook::AuthPlain, "ann@example.com", "hunter2");
        assert!(!trial.log().contains("hunter2"), "{}", trial.log());
        peer.end();
        (verdict, trial)
    }

    #[test]
    fn the_answer_decides() {
        for (answer, verdict) in [
            ("+OK\r\n", Verdict::ok("auth_vpopmaild")),
            ("+OK+\r\nvpopmail_dir /home/vpopmail\r\n.\r\n", Verdict::ok("auth_vpopmaild")),
            ("-ERR XXX Invalid login\r\n", Verdict::deny(WRONG)),
            ("-ERR hunter2\r\n", Verdict::deny(WRONG)),
        ] {
            assert_eq!(answered(&[("", "+OK\r\n"), (LOGIN, answer)]).0, verdict, "{answer}");
        }
    }

    #[test]
    fn a_server_that_is_none_is_a_failure() {
        for (turns, why) in [
            (&[("", "+OK\r\n"), (LOGIN, "")][..], "the back end closed the connection"),
            (
                &[("", "+OK\r\n"), (LOGIN, "hunter2\r\n")],
                "the back end gave a wrong answer: the answer is neither",
            ),
            (&[("", "-ERR busy\r\n")], "the back end gave a wrong answer: -ERR busy"),
            (&[("", "")], "the back end closed the connection"),
        ] {
            let (found, trial) = answered(turns);
            failed(&trial, &found, why);
        }
        has_the_common_behaviour("auth/auth_vpopmaild host 127.0.0.1 port 1", &[], WRONG);
        let (_listener, port) = silent();
        let line = format!("auth/auth_vpopmaild host 127.0.0.1 port {port} timeout 1");
        let mut trial = Trial::new(&line, &[]);
        let verdict = present(&mut trial, Hook::AuthLogin, "ann", "x");
        failed(&trial, &verdict, "the back end does not answer");
    }

    #[test]
    fn nobody_can_say_more_than_a_password() {
        let mut trial = Trial::new("auth/auth_vpopmaild host 127.0.0.1 port 1", &[]);
        for (user, password) in [("ann", "a b"), ("ann", "a\nquit"), ("a b", "x"), ("ann", "a\t")] {
            let verdict = present(&mut trial, Hook::AuthPlain, user, password);
            assert_eq!(verdict, Verdict::declined("auth_vpopmaild"));
        }
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        for (args, error) in [
            (
                "localhost",
                "unknown argument 'localhost' (known: host, port, loglevel, reject, \
                 reject_type, timeout, on_error)",
            ),
            ("port 0", "argument port: not a port: '0'"),
            (
                "host /run/vpopmaild",
                "argument host has the value '/run/vpopmaild' (expected: a host)",
            ),
            ("host a@b", "Bad data in server: a@b"),
        ] {
            let found = Trial::load(&format!("auth/auth_vpopmaild {args}"), &[]).err().unwrap();
            assert!(found.to_string().ends_with(error), "{found}");
        }
        Trial::new("auth/auth_vpopmaild", &[]);
    }
}
