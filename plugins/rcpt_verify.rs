//! ```text
//! NAME
//!     rcpt_verify - asks the next server whether it knows a recipient
//!
//! SYNOPSIS
//!     rcpt_verify lmtp|smtp SERVER [SERVER] ... [domain DOMAIN] ... [from ADDRESS]
//!                 [known TIME] [unknown TIME] [probes RATE] [probes_by_client RATE]
//!                 [over_limit tempfail|pass]
//!                 [tls no|may|must|first] [ca FILE] [auth_user NAME auth_password_file FILE]
//!
//! DESCRIPTION
//!     Refuses recipients that do not exist, while the client is still there to hear it.  Otherwise
//!     mail for them would become a bounce, and most bounces go to somebody who has not sent the
//!     mail.
//!
//!     For a recipient in our domains the plugin begins a transaction with the server to which mail
//!     will go, by LMTP or SMTP, up to RCPT, and ends it there.  It remembers the answer, so that
//!     it asks about the same recipient again only after a while (known, unknown).
//!
//!         2xx                  the recipient is known; the next plugin decides
//!         5xx with a status    the recipient is unknown: 550 "No such user (#5.1.1)"
//!         5.1.x, 5.4.1, 5.0.0
//!         or none
//!         5xx with a status    the mailbox is closed or full: the client gets the server's answer, and
//!         5.2.x                the server is asked again each time
//!         everything else      nothing is decided: 4xx; a refusal of the sender, of the connection or
//!                              of this server (530, 5.7.x, 5.1.7, 5.1.8); no answer
//!
//!     So the server has to answer with 5.1.1, or with no status at all, for recipients that it
//!     does not know.  A server that answers with 5.7.1, as rcpt_map does by default, seems to
//!     refuse this server.
//!
//!     If nothing is decided, on_error counts: the client is told to try again later, or with
//!     "on_error ignore" the next plugin decides.  A server that cannot be used is passed over for
//!     the next one in the arguments; if there is none left, none is asked for the next 10 seconds.
//!
//!     There is a limit on questions for each client, and one for all clients together
//!     (probes_by_client, probes), so that guessed recipients do not burden the server.  Beyond the
//!     limits, recipients that are remembered are answered as always; for others the client is told
//!     to try again later, unless over_limit says otherwise.  Clients that may relay have no limit.
//!     The plugins limit (unknown_recipients) and karma get rid of clients that keep guessing.
//!
//!     Place it after the plugins that change or refuse recipients, and before rcpt_ok, because a
//!     plugin that accepts a recipient ends the chain.  Only rcpt_ok decides about recipients that
//!     are not in our domains (config/me, rcpthosts, morercpthosts.cdb) or have no domain, and
//!     about those that are not ASCII if the server does not offer SMTPUTF8.
//!
//!     While the store (docs/store.md) is not available the server is asked each time, without
//!     limits.
//!
//! ARGUMENTS
//!     lmtp, smtp         the protocol of the servers
//!     SERVER             HOST:PORT or /SOCKET, with smtp also HOST for port 25; further servers are
//!                        asked if those before them cannot be used
//!     domain DOMAIN      verify only recipients in this one of our domains; with a dot in front, only
//!                        those below it.  It may be given more than once.  With rcpt_verify:1 and so
//!                        on, other domains can have other servers.
//!     from ADDRESS       the sender to give to the server; the null sender by default
//!     known TIME         how long to remember that a recipient exists; 1d by default.  A TIME is a
//!                        number of s, m, h, d or w; 0 means not at all.
//!     unknown TIME       how long to remember that a recipient does not exist; 1h by default
//!     probes RATE        how often the servers may be asked in all; 300/1m by default.  A RATE is
//!                        COUNT/TIME, or "unlimited".
//!     probes_by_client RATE
//!                        how often they may be asked for one client, an IPv4 address or an IPv6
//!                        network of 64 bits; 30/1m by default
//!     over_limit tempfail
//!                        beyond the limits, tell the client to try again later; the default
//!     over_limit pass    beyond the limits, leave the recipient to the next plugin
//!     tls WORD, ca FILE, auth_user NAME, auth_password_file FILE
//!                        TLS and AUTH with servers on the network, as with queue/smtp-forward
//!     timeout SECONDS    time limit for each recipient; 30 by default
//!     reject 1           refuse at once; the default
//!     reject 0           refuse nothing; write to the log what would be refused
//!     reject naughty     leave it to the plugin naughty to refuse the client later
//!     on_error tempfail  if nothing is decided, tell the client to try again later; the default
//!     on_error ignore    if nothing is decided, leave the recipient to the next plugin
//!
//!     rcpt_verify lmtp /run/dovecot/lmtp
//!     rcpt_verify smtp mx1.example.com mx2.example.com:26 domain example.com known 7d
//!
//! REPLIES
//!     550 5.1.1 No such user
//!     450 4.4.5 recipients cannot be verified now, try again later     beyond the limit
//!
//! STORE
//!     rcpt_verify   for each recipient, known, or unknown with the server's reply; and how much of
//!                   the limits is used
//!
//!     qpsmtpd --store explain rcpt_verify bob@example.com shows what is known of a recipient.
//!     With clear instead of explain that is forgotten; use it after a mailbox was created.
//!
//! CONFIG
//!     me   the name with which this server greets the other one
//!
//! SEE ALSO
//!     queue/lmtp, queue/smtp-forward, rcpt_map, limit, docs/store.md
//! ```

mod arguments;
mod memory;
#[cfg(test)]
mod tests;

use self::arguments::Arguments;
use self::memory::{Memory, NAME};
use super::rcpt_ok::Ours;
use crate::error::Result;
use crate::forward::{Backend, Reply, Silence};
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Verdict, dsn};
use crate::log::Level;
use crate::mail::Address;

const LATER: &str = "recipients cannot be verified now, try again later (#4.4.5)";

struct Plugin {
    ours: Ours,
    backend: Backend,
    arguments: Arguments,
}

/// What a server has said of a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mailbox {
    Known,
    /// Nobody is that.
    Unknown,
    /// Somebody is that, and gets nothing.
    Closed,
    /// It was about something else.
    Nothing,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let (backend, arguments) = arguments::read(args, hooks.config())?;
    let plugin = Plugin { ours: Ours::new(hooks), backend, arguments };
    hooks.keeps(NAME, memory::explain);
    hooks.rcpt(move |session, recipient, _params| plugin.judge(session, recipient));
    Ok(())
}

impl Plugin {
    fn judge(&self, session: &mut Session, recipient: &Address) -> Result<Verdict> {
        if !self.is_asked_about(session, recipient) {
            return Ok(DECLINED);
        }
        if let Some(refused) = session.refused_route(recipient) {
            return Ok(refused);
        }
        let memory = Memory::of(session, &self.backend.endpoints);
        match memory.known(recipient) {
            Some(true) => return Ok(session.pass(format_args!("{recipient} is remembered"))),
            Some(false) => return Ok(unknown(session, recipient, "remembered")),
            None => {}
        }
        if let Some(why) = memory.outage() {
            return Err(why.into());
        }
        let is_limited = !session.connection.relay_client;
        if is_limited && let Some(whose) = memory.limit(&self.arguments, session) {
            session.log(Level::Notice, format_args!("skip, too many questions {whose}"));
            return Ok(match self.arguments.passes_over_limit {
                true => DECLINED,
                false => Verdict::denysoft(LATER).with_reply(450),
            });
        }
        let until = session.deadline_within(self.arguments.timeout);
        let from = &self.arguments.from;
        match self.backend.ask_about(session, from, recipient, until) {
            Ok(Some(reply)) => self.heard(session, recipient, &reply),
            Ok(None) => Ok(session.skip("the back end takes no such addresses")),
            Err(Silence { why, is_down }) => {
                if is_down {
                    memory.note_outage(why);
                }
                Err(why.into())
            }
        }
    }

    /// What comes of the server's reply.
    fn heard(&self, session: &mut Session, recipient: &Address, reply: &Reply) -> Result<Verdict> {
        let shown = reply.shown();
        let memory = Memory::of(session, &self.backend.endpoints);
        match Mailbox::by(reply) {
            Mailbox::Known => {
                memory.note(recipient, None, self.arguments.known);
                Ok(session.pass(format_args!("{recipient} is known")))
            }
            Mailbox::Unknown => {
                memory.note(recipient, Some(&shown), self.arguments.unknown);
                Ok(unknown(session, recipient, &shown))
            }
            Mailbox::Closed => {
                let detail = format!("{recipient} gets nothing: {shown}");
                let refused = session.get_reject_logged(&reply.text(), detail);
                Ok(match refused.code() {
                    Code::Deny => refused.with_reply(reply.code),
                    _ => refused,
                })
            }
            Mailbox::Nothing => {
                Err(format!("the back end does not say who {recipient} is: {shown}").into())
            }
        }
    }

    /// Is it a recipient whose mail goes to these servers?
    fn is_asked_about(&self, session: &mut Session, recipient: &Address) -> bool {
        let host = recipient.canonical_host();
        !host.is_empty()
            && self.arguments.covers(&host)
            && self.ours.has(session, recipient).is_some()
    }
}

fn unknown(session: &mut Session, recipient: &Address, how: &str) -> Verdict {
    session.adjust_karma(-1);
    let text = dsn::no_such_user("").text().to_owned();
    session.get_reject_logged(&text, format_args!("{recipient} is unknown: {how}"))
}

impl Mailbox {
    fn by(reply: &Reply) -> Mailbox {
        if reply.is_ok() {
            return Mailbox::Known;
        }
        if !reply.is_permanent() {
            return Mailbox::Nothing;
        }
        let status = reply.status().and_then(|status| status.split_once('.')).map(|(_, rest)| rest);
        match status {
            // About the sender (RFC 3463 3.2).
            Some("1.7" | "1.8") => Mailbox::Nothing,
            // The last one is what Exchange Online says.
            Some("0.0" | "4.1") => Mailbox::Unknown,
            Some(status) if status.starts_with("1.") => Mailbox::Unknown,
            Some(status) if status.starts_with("2.") => Mailbox::Closed,
            Some(_) => Mailbox::Nothing,
            // What RFC 5321 4.2.3 has for mailboxes.
            None => match reply.code {
                550 | 551 | 553 => Mailbox::Unknown,
                552 => Mailbox::Closed,
                _ => Mailbox::Nothing,
            },
        }
    }
}
