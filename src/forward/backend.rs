//! Servers of which one takes the message: reaching one, encrypted where it has to be.

mod probe;

pub(crate) use probe::Silence;

use std::io;
use std::time::{Duration, Instant};

use crate::hook::{Outside, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Mode, Security, Tls, Wire, turns};

use super::{Client, Protocol, Unusable};

/// The longest wait for a handshake; there has to be time for another connection after it.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Servers of which one is to take each message.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Where they are, in the order in which they are tried.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) protocol: Protocol,
    /// Is the server to be told about the client with XCLIENT?
    pub(crate) xclient: bool,
    /// Is it to be offered what clients ask about delivery status notifications?
    pub(crate) dsn: bool,
    /// TLS and AUTH.
    pub(crate) security: Security,
}

impl Backend {
    /// Hands the message to the first server that can be talked to.  DECLINED, with a text, where
    /// there is none; then nobody has seen the message.
    pub(crate) fn hand_over(&self, session: &mut Session) -> Verdict {
        let name = session.me();
        let until = session.deadline();
        let mut why = "no server";
        for (endpoint, end) in turns(&self.endpoints, until) {
            session.log(Level::Info, format_args!("forwarding to {endpoint}"));
            let call = Outside::begin(self.protocol.word());
            match self.reach(session, endpoint, &name, end) {
                Ok(mut client) => {
                    client.wire.set_end(until);
                    let outcome = client.deliver(session);
                    session.end_outside(call, &outcome.known());
                    client.quit();
                    return outcome.tell(session);
                }
                Err(unusable) => {
                    session.end_outside(call, &Err::<(), _>("unusable"));
                    why = unusable.what;
                    session
                        .log(Level::Error, format_args!("{endpoint}: {why}: {}", unusable.details));
                }
            }
        }
        Verdict::declined(format!("Unable to queue message ({why}) (#4.4.1)"))
    }

    fn reach(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        name: &str,
        until: Instant,
    ) -> Result<Client, Unusable> {
        let mut client = match self.meet(session, endpoint, name, until, true) {
            // That connection is lost, so it is another one that is not encrypted.
            Err(Unusable { what, details, may_be_clear: true }) => {
                session.log(
                    Level::Notice,
                    format_args!("{endpoint}: in the clear: {what}: {details}"),
                );
                self.meet(session, endpoint, name, until, false)?
            }
            met => met?,
        };
        if self.xclient {
            client.xclient(&session.connection, name)?;
        }
        if let Some(login) = &self.security.login {
            client.authenticate(login)?;
        }
        Ok(client)
    }

    /// Connects, greets, and encrypts as the arguments say, or not at all.
    fn meet(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        name: &str,
        until: Instant,
        may_encrypt: bool,
    ) -> Result<Client, Unusable> {
        let unusable = |what| move |error: io::Error| Unusable::new(what, error);
        let wire = Wire::connect(endpoint, until);
        let wire = wire.map_err(unusable("the back end cannot be reached"))?;
        let mode = if may_encrypt { self.security.mode(endpoint, &wire) } else { Mode::No };
        let mut client = Client { wire, protocol: self.protocol, offers: vec![] };
        let no_tls = "the back end cannot be spoken to under TLS";
        if mode == Mode::First {
            self.encrypt(session, endpoint, mode, &mut client).map_err(unusable(no_tls))?;
        }
        let greeting = client.reply().map_err(unusable("the back end does not greet"))?;
        greeting.or_unusable("the back end refused the connection")?;
        client.greet(name)?;
        if !matches!(mode, Mode::May | Mode::Must) {
            return Ok(client);
        }
        if client.offer("STARTTLS").is_none() {
            let details = "'tls must' is an argument of the plugin";
            let refused = Unusable::new("the back end does not offer STARTTLS", details);
            return if mode == Mode::May { Ok(client) } else { Err(refused) };
        }
        // RFC 3207 4.2: what was said in the clear is forgotten, the offers included.
        let secured = client
            .ask("STARTTLS")
            .map_err(unusable("the back end does not answer"))
            .and_then(|reply| reply.or_unusable("STARTTLS failed"))
            .and_then(|_| {
                self.encrypt(session, endpoint, mode, &mut client).map_err(unusable(no_tls))
            })
            .and_then(|()| client.greet(name));
        match secured {
            Ok(()) => Ok(client),
            Err(why) => Err(Unusable { may_be_clear: mode == Mode::May, ..why }),
        }
    }

    fn encrypt(
        &self,
        session: &Session,
        endpoint: &Endpoint,
        mode: Mode,
        client: &mut Client,
    ) -> io::Result<()> {
        let Endpoint::Tcp { host, .. } = endpoint else { return Ok(()) };
        let config = self.security.config(mode).ok_or_else(|| io::Error::other("no roots"))?;
        let tls = Tls::new(config, host)?;
        let until = client.wire.within(HANDSHAKE);
        client.wire.encrypt(tls, until)?;
        if let Some(tls) = client.wire.tls() {
            session.log(Level::Info, format_args!("{endpoint}: {tls}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Peer;
    use crate::hook::Hook;
    use crate::testing::Trial;

    const HELLO: &str = "+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 STARTTLS\n";
    const REFUSED: &str = "- MAIL FROM:<a@example.net>\n+ 550 no\n- QUIT\n+ 221 bye\n";

    /// What comes of a back end that follows `script`, with these arguments.
    fn forward(script: &str, arguments: &str) -> (Verdict, String) {
        let peer = Peer::start(script);
        let line = format!("queue/smtp-forward 127.0.0.1 {} {arguments}", peer.port);
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let files = [("me", "mx.test"), ("ca.pem", &made.cert.pem())];
        let mut trial = Trial::new(&line, &files);
        trial.mail("<a@example.net>");
        trial.rcpt("<b@example.com>");
        let verdict = trial.plain(Hook::Queue);
        peer.end();
        (verdict, trial.log())
    }

    /// What a server may do instead of a handshake.  The second is an injection: an answer in the
    /// clear to what would be said under TLS.
    const NO_TLS: &[&str] = &[
        "- STARTTLS\n+ 454 4.7.0 not now\nclose\n",
        "- STARTTLS\n+ 220 go\\n250-evil\\n250 AUTH PLAIN\nclose\n",
        "- STARTTLS\nclose\n",
        "- STARTTLS\n+ 220 go\nclose\n",
    ];

    #[test]
    fn where_tls_may_be_its_failure_costs_a_connection() {
        for failure in NO_TLS {
            let script = format!("{HELLO}{failure}{HELLO}{REFUSED}");
            let (verdict, log) = forward(&script, "");
            assert_eq!(verdict, Verdict::deny("no").with_reply(550), "{failure}: {log}");
            assert!(log.contains(": in the clear: "), "{log}");
        }
    }

    #[test]
    fn where_tls_must_be_nothing_is_said_without_it() {
        let text = |why| Verdict::declined(format!("Unable to queue message ({why}) (#4.4.1)"));
        let no_tls = "the back end cannot be spoken to under TLS";
        let reasons = ["STARTTLS failed", no_tls, "the back end does not answer", no_tls];
        for (failure, why) in NO_TLS.iter().zip(reasons) {
            let (verdict, log) = forward(&format!("{HELLO}{failure}"), "tls must ca ca.pem");
            assert_eq!(verdict, text(why), "{failure}: {log}");
        }
        let plain = "+ 220 p\n- EHLO mx.test\n+ 250 p\nclose\n";
        let (verdict, _) = forward(plain, "tls must ca ca.pem");
        assert_eq!(verdict, text("the back end does not offer STARTTLS"));
        let (verdict, log) = forward("+ 220 p\nclose\n", "tls first ca ca.pem");
        assert_eq!(verdict, text(no_tls), "{log}");
    }

    #[test]
    fn what_came_with_the_reply_to_starttls_is_noticed() {
        let (_, log) = forward(&format!("{HELLO}{}", NO_TLS[1]), "tls must ca ca.pem");
        assert!(log.contains("something in the clear instead of a handshake"), "{log}");
    }

    #[test]
    fn nothing_is_encrypted_where_it_is_not_wanted_or_not_offered() {
        let (verdict, log) = forward(&format!("{HELLO}{REFUSED}"), "tls no");
        assert_eq!(verdict, Verdict::deny("no").with_reply(550), "{log}");
        let plain = "+ 220 p\n- EHLO mx.test\n+ 250 p\n";
        for arguments in ["", "tls may"] {
            let (verdict, log) = forward(&format!("{plain}{REFUSED}"), arguments);
            assert_eq!(verdict, Verdict::deny("no").with_reply(550), "{log}");
        }
    }
}
