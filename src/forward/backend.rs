//! Servers of which one takes the message: reaching one, encrypted where it has to be.

mod probe;

pub(crate) use probe::Silence;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::hook::{Outside, Rest, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Mode, Security, Tls, Wire, described, turns};

use super::deliver::Outcome;
use super::target::{Proof, Target};
use super::{Client, Kept, Protocol, Unusable};

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
    /// The connection that is kept for the next message.
    pub(crate) kept: Kept,
}

impl Backend {
    /// Hands the message to the first server that can be talked to.  DECLINED, with a text, where
    /// there is none; then nobody has seen the message.
    pub(crate) fn hand_over(&self, session: &mut Session) -> Verdict {
        self.hand_to(session, &self.targets())
    }

    fn targets(&self) -> Vec<Target> {
        self.endpoints.iter().cloned().map(Target::named).collect()
    }

    /// Closes the connection that was kept for too long; see [`crate::hook::Hooks::rests`].
    pub(crate) fn rest(&self, rest: Rest) -> Option<Duration> {
        self.kept.rest(rest)
    }

    /// The same with these servers.
    pub(super) fn hand_to(&self, session: &mut Session, targets: &[Target]) -> Verdict {
        let name = session.me();
        let until = session.deadline();
        if let Some(outcome) = self.over_kept(session, targets, until) {
            return outcome.tell(session);
        }
        let mut why = "no server";
        for (target, end) in turns(targets, until) {
            session.log(Level::Info, format_args!("forwarding to {target}"));
            let call = Outside::begin(self.protocol.word());
            match self.reach(session, target, &name, end) {
                Ok(mut client) => {
                    client.wire.set_end(until);
                    let outcome = client.deliver(session);
                    session.end_outside(call, &outcome.known());
                    self.kept.put(client, target, 0);
                    return outcome.tell(session);
                }
                Err(unusable) => {
                    session.end_outside(call, &Err::<(), _>("unusable"));
                    why = unusable.what;
                    session
                        .log(Level::Error, format_args!("{target}: {why}: {}", unusable.details));
                }
            }
        }
        Verdict::declined(format!("Unable to queue message ({why}) (#4.4.1)"))
    }

    /// What came of the message over the connection that was kept; None: there is none any more, and
    /// nobody has seen the text of the message.
    fn over_kept(&self, session: &Session, targets: &[Target], until: Instant) -> Option<Outcome> {
        let mut open = self.kept.get(targets, until)?;
        let target = &open.target;
        session.log(Level::Info, format_args!("forwarding to {target}, over an open connection"));
        let call = Outside::begin(self.protocol.word());
        let outcome = open.client.deliver(session);
        session.end_outside(call, &outcome.known());
        if outcome.is_untouched {
            session.log(Level::Info, "that connection has ended; a new one is made");
            return None;
        }
        let before = open.messages();
        self.kept.put(open.client, &open.target, before);
        Some(outcome)
    }

    fn reach(
        &self,
        session: &Session,
        target: &Target,
        name: &str,
        until: Instant,
    ) -> Result<Client, Unusable> {
        let mut client = match self.meet(session, target, name, until, true) {
            // That connection is lost, so it is another one that is not encrypted.
            Err(Unusable { what, details, may_be_clear: true }) => {
                let text = format!("{target}: in the clear: {what}: {details}");
                session.log(Level::Notice, text);
                self.meet(session, target, name, until, false)?
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
        target: &Target,
        name: &str,
        until: Instant,
        may_encrypt: bool,
    ) -> Result<Client, Unusable> {
        let unusable = |what| move |error: io::Error| Unusable::new(what, error);
        let wire = Wire::connect(&target.endpoint, until);
        let wire = wire.map_err(unusable("the back end cannot be reached"))?;
        let no_tls = "TLS with the back end failed";
        let handshake = match may_encrypt {
            true => self.handshake(target, &wire).map_err(unusable(no_tls))?,
            false => None,
        };
        let mut client = Client::new(wire, self.protocol, target.to_string());
        if let Some(first) = handshake.as_ref().filter(|how| how.mode == Mode::First) {
            first.make(session, target, &mut client).map_err(unusable(no_tls))?;
        }
        let greeting = client.reply().map_err(unusable("the back end does not greet"))?;
        greeting.or_unusable("the back end refused the connection")?;
        client.greet(name)?;
        let Some(how) = handshake.filter(|how| how.mode != Mode::First) else { return Ok(client) };
        if client.offer("STARTTLS").is_none() {
            let refused = Unusable::new("the back end does not offer STARTTLS", how.why);
            return if how.mode == Mode::May { Ok(client) } else { Err(refused) };
        }
        // RFC 3207 4.2: what was said in the clear is forgotten, the offers included.
        let secured = client
            .ask("STARTTLS")
            .map_err(unusable("the back end does not answer"))
            .and_then(|reply| reply.or_unusable("STARTTLS failed"))
            .and_then(|_| how.make(session, target, &mut client).map_err(unusable(no_tls)))
            .and_then(|()| client.greet(name));
        match secured {
            Ok(()) => Ok(client),
            Err(why) => Err(Unusable { may_be_clear: how.mode == Mode::May, ..why }),
        }
    }

    /// How the connection is encrypted; None: not at all.
    fn handshake(&self, target: &Target, wire: &Wire) -> io::Result<Option<Handshake>> {
        let sure = |config: &Arc<ClientConfig>, why, assurance| {
            Ok(Some(Handshake { mode: Mode::Must, config: config.clone(), why, assurance }))
        };
        match &target.proof {
            Proof::Arguments => {}
            Proof::Dane(records, domain) => {
                let names = [target.host(), domain];
                let config = described(records.clone(), &names).map_err(io::Error::other)?;
                return sure(&config, "its DANE records want TLS", "verified by DANE");
            }
            Proof::Encrypted => {
                let config = self.security.unverified();
                return sure(config, "its DANE records want TLS", "not verified");
            }
            Proof::Sts => {
                let config = self.security.config(Mode::Must);
                let config = config.ok_or_else(|| io::Error::other("no roots"))?;
                return sure(config, "its MTA-STS policy wants TLS", "verified by MTA-STS");
            }
        }
        let mode = self.security.mode(&target.endpoint, wire);
        if mode == Mode::No {
            return Ok(None);
        }
        let config = self.security.config(mode).ok_or_else(|| io::Error::other("no roots"))?;
        let assurance = if mode == Mode::May { "not verified" } else { "verified" };
        let why = "'tls must' is an argument of the plugin";
        Ok(Some(Handshake { mode, config: config.clone(), why, assurance }))
    }
}

/// How a connection is encrypted.
struct Handshake {
    mode: Mode,
    config: Arc<ClientConfig>,
    /// Why it has to be.
    why: &'static str,
    /// What is known of the server then.
    assurance: &'static str,
}

impl Handshake {
    fn make(&self, session: &Session, target: &Target, client: &mut Client) -> io::Result<()> {
        let tls = Tls::new(&self.config, target.host())?;
        let until = client.wire.within(HANDSHAKE);
        client.wire.encrypt(tls, until)?;
        client.assurance = self.assurance;
        if let Some(tls) = client.wire.tls() {
            session.log(Level::Info, format_args!("{target}: {tls}, {}", self.assurance));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Peer;
    use crate::hook::Hook;
    use crate::net::self_signed;
    use crate::testing::Trial;

    const HELLO: &str = "+ 220 p\n- EHLO mx.test\n+ 250-p\n+ 250 STARTTLS\n";
    const REFUSED: &str = "- MAIL FROM:<a@example.net>\n+ 550 no\n- QUIT\n+ 221 bye\n";

    /// What comes of a back end that follows `script`, with these arguments.
    fn forward(script: &str, arguments: &str) -> (Verdict, String) {
        let peer = Peer::start(script);
        let line = format!("queue/smtp-forward 127.0.0.1 {} {arguments}", peer.port);
        let (_, certificate) = self_signed("127.0.0.1");
        let files = [("me", "mx.test"), ("ca.pem", &certificate)];
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
        let no_tls = "TLS with the back end failed";
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
