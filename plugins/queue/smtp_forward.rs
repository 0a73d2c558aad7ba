//! ```text
//! NAME
//!     queue/smtp-forward - hands messages to another SMTP server
//!
//! SYNOPSIS
//!     queue/smtp-forward HOST [PORT] [xclient] [dsn] [HOST:PORT | also HOST[:PORT]] ...
//!                        [tls no|may|must|first] [ca FILE]
//!                        [auth_user NAME auth_password_file FILE]
//!                        [keep MESSAGES [idle SECONDS]]
//!     queue/smtp-forward smtproutes [dsn] [tls no|may|must] [ca FILE] [dane no] [mta_sts no]
//!                        [keep MESSAGES [idle SECONDS]]
//!
//! DESCRIPTION
//!     While the client waits, the plugin connects to an SMTP server, the back end, and gives it
//!     the message with its envelope.  The client gets the back end's answer: "queued as ID", where
//!     ID is the last word of its reply, or its refusal, with its code, text and enhanced status.
//!
//!     The back end has to accept all recipients, because the client gets one answer for the whole
//!     message, and there is no queue here that could keep it for some of them:
//!
//!         all refused permanently      the first refusal, 5xx
//!         all refused, at least one    the first temporary refusal, 4xx
//!         of them temporarily
//!         only some refused            451 with the first refusal; nobody gets the message
//!
//!     In the last case the client tries again, and in the end gives up on all recipients.  So load
//!     a plugin that refuses unknown recipients at RCPT, and let the back end accept as many
//!     recipients per message as this server does.
//!
//!     A client that speaks LMTP gets an answer for each recipient, so its message goes to the
//!     recipients that are accepted.
//!
//!     With a reply of 530 the back end demands authentication or encryption.  That concerns this
//!     server, not the client, so the client gets 451.
//!
//!     A back end is passed over for the next one if it cannot be reached, does not greet, refuses
//!     the connection or the greeting, or cannot be used with the TLS or AUTH that the arguments
//!     demand.  If there is none left the next queue plugin is asked; without one the client gets
//!     451.  Once a back end knows the envelope, no other one is asked: if it falls silent or
//!     closes the connection, the client gets 451.  The back end may have the message all the same,
//!     and then gets it twice.
//!
//!     The message is sent as it came, with the fields that plugins added, and is not held in
//!     memory.  A CR alone or an LF alone in it, which config/bare_newline may let in, becomes
//!     CRLF: servers do not agree on what such characters mean, and a second message could hide
//!     behind them.  If the back end does not offer 8BITMIME the message is sent unchanged.  If an
//!     address is not ASCII and the back end does not offer SMTPUTF8, the message is refused with
//!     550.
//!
//!     With the argument dsn clients are offered DSN (RFC 3461), if all other queue plugins support
//!     it, too, and RET, ENVID, NOTIFY and ORCPT go to the back end as they came.  Use it only if
//!     the back ends offer DSN: a back end that does not gets the message without these parameters,
//!     and the log says so.  Nobody here sends notifications, so the sender then gets no
//!     notification of success, and none that the message was relayed to a server without DSN (RFC
//!     3461 5.2.2).  Failures are reported as always.
//!
//!     Connections are encrypted with STARTTLS if the back end offers it, whatever its certificate
//!     says: that protects only against those who listen.  To protect also against those who can
//!     change what is sent, verify the back end with "tls must" or "tls first".
//!
//!     With "keep MESSAGES" a worker leaves the connection open for the next message, and sends
//!     RSET before it.  The connection ends after that many messages, when no message came for some
//!     seconds (idle), when the next message goes to another server, or when the process ends.  If
//!     the back end has closed it meanwhile, that is noticed before any of the message's text is
//!     sent, and a new connection is made.  Each worker has its own connection, so let the back end
//!     accept as many clients as there are workers.
//!
//!     For each message the log says which server has it, the reply with the id there, and how the
//!     connection was secured: "finished queueing: 250 2.0.0 Ok: queued as 4XYZ
//!     (mx.example.com[192.0.2.5]:25, TLSv1.3 TLS_AES_256_GCM_SHA384, verified by DANE)".
//!
//!     The Perl plugin of the same name speaks neither TLS nor AUTH.  It answers every refusal with
//!     451, and also a failure of QUIT, after which the back end has the message.
//!
//! BY DOMAIN
//!     With the word smtproutes instead of a server, the domain of the recipients decides where
//!     mail goes: to the server that a line of config/smtproutes names; otherwise to the domain's
//!     mail exchangers (RFC 5321 5.1), the most preferred first and equal ones in random order; or
//!     to the domain's own address if it has no MX.  A recipient is refused at RCPT
//!
//!         with 550    if there is no such domain, or it has no host that takes mail
//!         with 556    if the domain says that it takes no mail (RFC 7505)
//!         with 554    if mail would come back to this server, which is the domain's best exchanger
//!         with 451    if the domain name system does not answer
//!
//!     This server has no queue, so one message goes one way.  The first recipient decides the way,
//!     and each further recipient whose domain has another way gets 452 (#4.5.3) at RCPT.  A mail
//!     server then sends the message to that recipient in another transaction (RFC 5321
//!     4.5.3.1.10), at once or with its next attempt.  Mail programs that people use may show an error
//!     instead: if they are the clients, send everything one way, ":smarthost.example.net", to a
//!     server that has a queue.  Domains whose lines name the same server and port have the same
//!     way; domains by MX each have their own.  If a plugin brings recipients of several ways
//!     together after RCPT, nobody gets the message: the client gets 451, and the log says why.
//!
//!     If no server of a domain can be reached now, the client gets 451, and tries again later.
//!
//!     Exchangers are spoken to under TLS if they offer it.  Two things make sure of it:
//!
//!         DANE (RFC 7672)       applies if DNSSEC proves which host takes the mail, and that the host
//!                               has TLSA records.  Its certificate has to match one of them: usage 2
//!                               or 3, selector 0 or 1, matching 0, 1 or 2.  If it has only other
//!                               records, TLS is used whatever the certificate is.  If it cannot be
//!                               found out whether there are records, that host gets no mail now.
//!                               DANE needs a trusted resolver that checks DNSSEC: one on this machine,
//!                               or one that config/dns_servers or resolv.conf(5) calls trusted
//!                               (docs/dns.md).
//!         MTA-STS (RFC 8461)    applies if the domain has a policy in mode enforce, and the host has
//!                               no DANE.  The host's name has to be in the policy, and its certificate
//!                               has to be for that name and from a known authority.  In mode testing
//!                               the log reports hosts that are not in the policy.  A policy is fetched
//!                               when its record is new, and remembered in the store (docs/store.md)
//!                               for as long as it says; until then it is used even if the record is
//!                               gone or cannot be looked up.
//!
//!     A host that does not prove what it has to prove gets nothing, and the next host is tried;
//!     there is no fallback to the clear.  For servers that smtproutes names, "tls" says what they
//!     have to prove.
//!
//! ARGUMENTS
//!     HOST               name or address of the back end, or the path of its socket
//!     PORT               its port; 25 by default
//!     xclient            tell the back end about the client: its name, address, port, HELO and
//!                        protocol, with Postfix's extension XCLIENT.  A back end that does not
//!                        offer XCLIENT is passed over.
//!     dsn                offer DSN to clients, and hand on what they ask for; see above
//!     HOST:PORT          a further back end, for when those before it cannot be reached
//!     also HOST[:PORT]   the same
//!     tls no             everything in the clear
//!     tls may            STARTTLS (RFC 3207) if it is offered, without checking the certificate; if
//!                        it is offered but fails, a new connection in the clear.  The default, but
//!                        not if auth_user is given and the host is on another machine
//!     tls must           STARTTLS.  A back end does not get the message if it does not offer
//!                        STARTTLS, or if its certificate is not from a known authority, not for
//!                        HOST, or out of date.  The default if auth_user is given and the host is
//!                        on another machine
//!     tls first          TLS from the first octet (RFC 8314), with the certificate verified as
//!                        with must; PORT is 465 by default
//!     ca FILE            the authorities for must and first: certificates in PEM, instead of
//!                        those that the system knows.  They are read at the start.
//!     auth_user NAME     authenticate as NAME, with PLAIN or else LOGIN (RFC 4954).  The password
//!                        is sent only under TLS, except to back ends on this machine.
//!     auth_password_file FILE
//!                        the file whose first line is the password.  It is read for each
//!                        connection, by the user of the sessions.
//!     keep MESSAGES      leave a connection open for this many messages; by default each message
//!                        has its own connection
//!     idle SECONDS       how long a connection stays open without a message; 10 by default
//!     smtproutes         deliver by domain; see BY DOMAIN
//!     dane no            do not look for TLSA records
//!     mta_sts no         do not look for policies.  With "tls no" neither is looked for.
//!     timeout SECONDS    time limit for each message; 300 by default.  Making one connection takes
//!                        at most 30 seconds, and servers that are down leave time for the others.
//!
//!     queue/smtp-forward 192.0.2.5 9025 xclient also mx2.example.com timeout 120
//!     queue/smtp-forward smarthost.example.net tls first auth_user me
//!                        auth_password_file /etc/qpsmtpd/password    (in one line)
//!
//!     Paths that are not absolute are looked for like configuration files.
//!
//!     queue/smtp-forward smtproutes keep 50
//!
//! CONFIG
//!     me           the name with which this server greets the back end
//!     smtproutes   one DOMAIN:SERVER:PORT per line, as with qmail; read again when the file changes
//!
//!                      example.com:mail.inside.example     for this domain; port 25
//!                      .example.com:[192.0.2.7]:2525       for all domains below it
//!                      example.net:                        by MX
//!                      example.org::2525                   by MX, at that port
//!                      :smarthost.example.net:587          for all others
//!
//!                  The line about the domain itself counts, else the line about its nearest parent,
//!                  else the line without a domain, else the MX.  Of two lines about the same domain
//!                  the last one counts.  SERVER is a name, whose MX is not looked up, or an address in
//!                  square brackets, such as [192.0.2.7] or [IPv6:2001:db8::1].  A line that cannot be
//!                  read stops the start; in a running server it is reported in the log, and the lines
//!                  of before stay in use.  Recipients without a domain are in the domain of config/me.
//!
//! STORE
//!     mta_sts   the policy of each domain, or that it could not be fetched
//!
//! SEE ALSO
//!     queue/lmtp, queue/qmqp-forward, rcpt_verify
//! ```

use std::rc::Rc;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::forward::{Backend, ByDomain, Kept, Protocol, STS_TABLE, Sts, explain_sts};
use crate::hook::{Args, Extension, Hooks};
use crate::net::{Endpoint, Mode, Security};

/// In the place of a server: each recipient's way by its domain.
const BY_DOMAIN: &str = "smtproutes";

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    if args.positional().first().is_some_and(|first| first.eq_ignore_ascii_case(BY_DOMAIN)) {
        return by_domain(hooks, args);
    }
    let backend = Rc::new(backend(args, hooks.config())?);
    if backend.dsn {
        hooks.supports(Extension::Dsn);
    }
    let own = backend.clone();
    hooks.rests(move |rest| own.rest(rest));
    hooks.queue(move |session| backend.hand_over(session));
    Ok(())
}

fn by_domain(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut args = args.clone();
    let dsn = args.take_flag("dsn");
    let kept = Kept::take(&mut args)?;
    let mut switch = |name: &str| {
        let is_on = args.flag(name, true)?;
        args.take_named(name).map(|_| is_on)
    };
    let (dane, sts) = (switch("dane")?, switch("mta_sts")?);
    let mut words = args.positional();
    words.remove(0);
    let security = Security::take_verifying(&mut words, hooks.config())?;
    if security.is_first() {
        return Err(Error::new("'tls first' is for a named server, not for smtproutes"));
    }
    if let Some(word) = words.first() {
        return Err(Error::new(format!("unexpected argument '{word}' with smtproutes")));
    }
    if dsn {
        hooks.supports(Extension::Dsn);
    }
    let is_off = security.is_off();
    let tls = security.config(Mode::Must).filter(|_| sts && !is_off);
    let sts = tls.cloned().map(Sts::new);
    let (endpoints, protocol, xclient) = (vec![], Protocol::Smtp, false);
    let backend = Backend { endpoints, protocol, xclient, dsn, security, kept };
    if sts.is_some() {
        hooks.keeps(STS_TABLE, explain_sts);
    }
    let routes = Rc::new(ByDomain::new(hooks, backend, dane && !is_off, sts)?);
    let [first, second] = [routes.clone(), routes.clone()];
    hooks.onward(move |session, recipient| first.onward(session, recipient));
    hooks.rests(move |rest| second.rest(rest));
    hooks.queue(move |session| routes.hand_over(session));
    Ok(())
}

fn backend(args: &Args, config: &Config) -> Result<Backend> {
    let mut args = args.clone();
    let [xclient, dsn] = ["xclient", "dsn"].map(|flag| args.take_flag(flag));
    let kept = Kept::take(&mut args)?;
    if xclient && kept.is_wanted() {
        return Err(Error::new("with xclient a connection is for one client, and cannot be kept"));
    }
    let mut words = args.positional();
    let security = Security::take(&mut words, config)?;
    let default = Some(security.port());
    let mut words = words.into_iter().peekable();
    let first = Endpoint::take(&mut words, default)?;
    let endpoints = vec![first.ok_or("No SMTP server specified in smtp-forward config")?];
    let protocol = Protocol::Smtp;
    let mut backend = Backend { endpoints, protocol, xclient, dsn, security, kept };
    while let Some(word) = words.next() {
        match word {
            _ if word.eq_ignore_ascii_case("also") => {
                let endpoint = words.next().ok_or("no server after 'also'")?;
                backend.endpoints.push(Endpoint::parse(endpoint, default)?);
            }
            _ if word.contains([':', '/']) => backend.endpoints.push(Endpoint::parse(word, None)?),
            _ => return Err(Error::new(format!("Unknown flag {word}"))),
        }
    }
    backend.security.check(&backend.endpoints)?;
    Ok(backend)
}

#[cfg(test)]
mod tests;
