//! What the plugins share that ask another program about passwords.

use std::io::{self, ErrorKind, Write};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};

use crate::hook::{Call, DECLINED, Failure, Hook, Hooks, IntoVerdict, Session, Trouble, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Mode, Security, Tls, Wire};

/// The longest line of a back end, in octets.
const LONGEST: usize = 8192;

/// A shorter word may be anywhere.
const SHORTEST: usize = 4;

/// What a client presents.  The user name has no control characters, the password no NUL.
pub(crate) struct Clear<'a> {
    pub(crate) user: &'a str,
    /// Not to be logged.
    pub(crate) password: &'a [u8],
}

impl Clear<'_> {
    /// What a back end says, unless it repeats the password, as it is or in base64: then a word about
    /// that, which may stand in the log.
    pub(crate) fn discreet<'t>(&self, text: &'t str) -> &'t str {
        let message = [b"\0", self.user.as_bytes(), b"\0", self.password].concat();
        let encoded = [self.password, &message].map(|octets| BASE64_STANDARD_NO_PAD.encode(octets));
        let is_in = |secret: &[u8]| memchr::memmem::find(text.as_bytes(), secret).is_some();
        let lossy = String::from_utf8_lossy(self.password);
        let is_repeated = self.password.len() >= SHORTEST && is_in(lossy.as_bytes())
            || encoded.iter().any(|secret| secret.len() > SHORTEST && is_in(secret.as_bytes()));
        if is_repeated { "(it repeats the password)" } else { text }
    }
}

/// Registers a handler for the mechanisms that give the password itself, PLAIN and LOGIN.
///
/// An error of `check` is a temporary failure.  A password with a NUL cannot be handed on, and is
/// wrong with the text `wrong`.
pub(crate) fn register<R: IntoVerdict + 'static>(
    hooks: &mut Hooks,
    wrong: &'static str,
    check: impl Fn(&mut Session, &Clear<'_>) -> R + Clone + 'static,
) {
    for hook in [Hook::AuthPlain, Hook::AuthLogin] {
        let check = check.clone();
        hooks.on(hook, move |session, call| {
            let Call::Credentials(sent) = call else { return DECLINED };
            let Some(password) = &sent.password else { return DECLINED };
            let clear = Clear { user: sent.user, password: password.reveal() };
            if clear.password.contains(&0) || clear.user.contains(char::is_control) {
                return Verdict::deny(wrong);
            }
            let asked = session.outside_with("auth", |session| {
                let decision = check(session, &clear).into_verdict().decided();
                decision.map_err(Unsure)
            });
            let decision = asked.map_err(|Unsure(failure)| failure);
            decision.unwrap_or_else(|failure| {
                Verdict::failure(clear.discreet(failure.why()).to_owned())
            })
        });
    }
}

/// Why nobody knows.
struct Unsure(Failure);

impl Trouble for Unsure {}

/// A dialogue in lines with a back end, in the time that the running handler may still take.
pub(crate) struct Conversation {
    wire: Wire,
    until: Instant,
}

impl Conversation {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection; the text says where to.
    pub(crate) fn connect(session: &Session, endpoint: &Endpoint) -> io::Result<Conversation> {
        let until = session.deadline();
        let wire = Wire::connect(endpoint, until)
            .map_err(|error| io::Error::new(error.kind(), format!("{endpoint}: {error}")))?;
        Ok(Conversation { wire, until })
    }

    /// Whether the connection is to be encrypted.
    pub(crate) fn mode(&self, endpoint: &Endpoint, security: &Security) -> Mode {
        security.mode(endpoint, &self.wire)
    }

    /// Makes a handshake with the server at `endpoint`.
    ///
    /// # Errors
    /// It fails, takes too long, or something was said that has not been read.
    pub(crate) fn encrypt(
        &mut self,
        session: &Session,
        endpoint: &Endpoint,
        security: &Security,
    ) -> io::Result<()> {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("no TLS with {endpoint}: {error}"))
        };
        let config = security.config(self.mode(endpoint, security));
        let (Endpoint::Tcp { host, .. }, Some(config)) = (endpoint, config) else {
            return Err(failed(ErrorKind::Unsupported.into()));
        };
        let tls = Tls::new(config, host).map_err(failed)?;
        self.wire.encrypt(tls, self.until).map_err(failed)?;
        if let Some(tls) = self.wire.tls() {
            session.log(Level::Info, format_args!("{endpoint}: {tls}"));
        }
        Ok(())
    }

    /// Sends `text` as it is.
    ///
    /// # Errors
    /// What the system says; `TimedOut`.
    pub(crate) fn say(&mut self, text: &[u8]) -> io::Result<()> {
        self.wire.write_all(text)
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// The back end has closed the connection, takes too long, or never ends its line.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        self.wire.line(LONGEST, self.until)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::hook::{Credentials, Secret};
    use crate::testing::Trial;

    #[test]
    fn a_back_end_that_repeats_the_password_is_not_quoted() {
        let quoted = |password: &[u8], text: &str| {
            let clear = Clear { user: "ann", password };
            clear.discreet(text) == text
        };
        let encoded = |octets: &[u8]| BASE64_STANDARD_NO_PAD.encode(octets);
        assert!(quoted(b"hunter2", "no such user: ann"));
        assert!(quoted(b"no", "no such user: ann"));
        assert!(!quoted(b"hunter2", "wrong: hunter2."));
        assert!(!quoted(b"h\xfcnter", "wrong: h\u{fffd}nter"));
        assert!(!quoted(b"hunter2", &format!("resp={}=", encoded(b"\0ann\0hunter2"))));
        assert!(!quoted(b"hunter2", &encoded(b"hunter2")));
    }

    /// A back end for one client: hears each text to the octet and then says what is beside it, and
    /// closes at the end.  Its first text may be empty.
    pub(crate) struct Peer {
        pub(crate) port: u16,
        thread: JoinHandle<()>,
    }

    impl Peer {
        pub(crate) fn start(turns: &[(&str, &str)]) -> Peer {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let turns: Vec<(String, String)> =
                turns.iter().map(|(hear, say)| (hear.to_string(), say.to_string())).collect();
            Peer {
                port,
                thread: thread::spawn(move || follow(listener.accept().unwrap().0, &turns)),
            }
        }

        /// Waits for the end.
        ///
        /// # Panics
        /// Something else was heard.
        pub(crate) fn end(self) {
            self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }

    fn follow(mut stream: TcpStream, turns: &[(String, String)]) {
        for (hear, say) in turns {
            let mut heard = vec![0; hear.len()];
            stream.read_exact(&mut heard).unwrap_or_else(|error| panic!("{hear:?}: {error}"));
            assert_eq!(
                heard.escape_ascii().to_string(),
                hear.as_bytes().escape_ascii().to_string()
            );
            stream.write_all(say.as_bytes()).unwrap();
        }
        stream.shutdown(Shutdown::Write).ok();
        let _ = io::copy(&mut stream, &mut io::sink());
    }

    /// A port on which somebody listens who never says anything.
    pub(crate) fn silent() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Presents a user and a password.
    pub(crate) fn present(trial: &mut Trial, hook: Hook, user: &str, password: &str) -> Verdict {
        let password = Some(Secret::new(password.as_bytes()));
        let mechanism = hook.name().trim_start_matches("auth-");
        let sent = Credentials { mechanism, user, password, hash: None, ticket: "" };
        trial.call(hook, &Call::Credentials(&sent))
    }

    /// Was it a failure, and is this in the log?
    ///
    /// # Panics
    /// No.
    pub(crate) fn failed(trial: &Trial, verdict: &Verdict, why: &str) {
        assert!(verdict.is_failure(), "{verdict:?} is not: {why}");
        let log = trial.log();
        assert!(log.contains(&format!("FATAL PLUGIN ERROR: {why}")), "{why} is not in:\n{log}");
    }

    /// What [`register`] gives every plugin, which is `line` of config/plugins: no CRAM-MD5, no NUL
    /// in a password, and a failure without a back end.
    pub(crate) fn has_the_common_behaviour(line: &str, files: &[(&str, &str)], wrong: &str) {
        let mut trial = Trial::new(line, files);
        let hash = Some(Secret::new(b"0123456789abcdef0123456789abcdef"));
        let (mechanism, user, ticket) = ("cram-md5", "ann@example.com", "<1@example.com>");
        let sent = Credentials { mechanism, user, password: None, hash, ticket };
        assert_eq!(trial.call(Hook::AuthCramMd5, &Call::Credentials(&sent)), DECLINED);
        assert_eq!(trial.call(Hook::AuthPlain, &Call::Credentials(&sent)), DECLINED);
        for hook in [Hook::AuthPlain, Hook::AuthLogin] {
            assert_eq!(
                present(&mut trial, hook, user, "with\0nul"),
                Verdict::deny(wrong.to_owned())
            );
            let verdict = present(&mut trial, hook, user, "hunter2-hunter2");
            assert!(verdict.is_failure(), "{verdict:?}");
        }
        assert!(!trial.log().contains("hunter2"), "{}", trial.log());
    }
}
