//! ```text
//! NAME
//!     milter - asks a filter that was written for Sendmail and Postfix
//!
//! SYNOPSIS
//!     milter NAME ADDRESS [argument value] ...
//!
//! DESCRIPTION
//!     Tells a mail filter (milter) about the client, its commands and its message as they come,
//!     and does what the filter says: refuses or discards the message, or changes it and its
//!     envelope.  Several filters are several lines: milter, milter:1, milter:2, asked in this
//!     order.
//!
//!     NAME is used in the log.  ADDRESS is where the filter listens, written as for Postfix or
//!     libmilter:
//!
//!         inet:HOST:PORT   inet:PORT@HOST   HOST:PORT   PORT (of 127.0.0.1)   unix:/PATH   /PATH
//!
//!     Place the line before the plugin that accepts recipients (rcpt_ok), so that the filter can
//!     refuse a recipient.  The filter then also hears of recipients that later plugins refuse.  If
//!     the line comes after that plugin, the filter hears at DATA of the recipients that were
//!     accepted.
//!
//!     The filter sees the message as it will be queued, but without the Received field that is
//!     added here, which filters do not expect.  When the filter inserts a field at a position, 0
//!     is the top, and our Received field counts, as with Postfix.  All changes are made together
//!     when the filter has accepted the message; if it fails before that, none is made.
//!
//!     A message that the filter quarantines is accepted and kept apart (docs/scanners.md).
//!
//! ARGUMENTS
//!     connect_timeout SECONDS   time limit for the connection; 30 by default
//!     command_timeout SECONDS   time limit for each answer before the message; 30 by default
//!     content_timeout SECONDS   time limit for each answer to the message; 300 by default.  Each time
//!                               the filter says that it needs more time, the limit begins anew.
//!     protocol VERSION          the highest version that is offered: 6, 4, 3 or 2; 6 by default
//!     keep yes                  keep the connection for the next client, see CONNECTIONS; no by
//!                               default
//!     macro NAME=VALUE          a macro with that value, sent with the first ones
//!     macros STAGE:NAME,NAME    send these macros, too; STAGE is connect, helo, mail, rcpt, data,
//!                               end_of_header or end_of_message
//!     timeout SECONDS           time limit for all that one command needs; 300 by default.  Raise it
//!                               with content_timeout.
//!     on_error tempfail         refuse the client temporarily if the filter is away, is too slow, or
//!                               breaks the protocol; the default
//!     on_error ignore           go on without the filter then
//!     reject 1                  refuse what the filter refuses; the default
//!     reject 0                  refuse nothing; write to the log what would be refused
//!     reject naughty            leave it to the plugin naughty to refuse the client later
//!
//!     milter opendkim inet:8891@localhost
//!     milter:1 clamav unix:/run/clamav/milter.ctl on_error ignore
//!
//! MACROS
//!     connect          j {daemon_name} {daemon_addr} v _ {client_addr} {client_name} {client_port}
//!                      {client_ptr}
//!     helo             {tls_version} {cipher} {cipher_bits}
//!     mail             i {auth_type} {auth_authen} {mail_addr} {mail_host} {mail_mailer} {tls_version}
//!                      {cipher} {cipher_bits}
//!     rcpt             i {rcpt_addr} {rcpt_host} {rcpt_mailer}
//!     data, end_of_header, end_of_message
//!                      i
//!
//!     A filter that asks for other macros in the negotiation gets those.  There are also
//!     {daemon_port} {if_name} {if_addr} {nrcpts} f s. i is the id of the session and the number of
//!     the transaction, as in the log.
//!
//! REPLIES
//!     550 Command rejected, 451 Service unavailable - try again later, or the filter's own reply.  A
//!     reply 421 or 521, and SHUTDOWN, close the connection.  If the filter cannot be asked the client
//!     gets 451, unless on_error is ignore.
//!
//! CONNECTIONS
//!     Each client has its own connection to the filter, as with Postfix: that is how the protocol
//!     tells clients apart.  Version 6 has a command for "another client follows" (QUIT_NC), with
//!     which a process can keep its connection for the next client; "keep yes" uses it.  Use it
//!     only for filters that are known to understand it, such as rspamd_proxy.  Filters made with
//!     libmilter, which most are, say that they speak version 6, but do not hear the next client.
//!
//!     If a connection breaks, the filter is not asked any more about that message, and the next
//!     message begins a new conversation: a half-finished one is never continued.
//!
//! SEE ALSO
//!     docs/scanners.md, virus/clamdscan, spamassassin
//! ```

mod arguments;
mod changes;
mod conversation;
mod link;
mod macros;
mod message;
pub(crate) mod packet;
mod reply;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use self::arguments::Filter;
use self::conversation::{Conversation, Step};
use crate::error::Result;
use crate::hook::{Args, DECLINED, DONE, Hooks, Reject, Session, Verdict};
use crate::metrics::Outside;
use crate::plugins::queue::queued;

pub(crate) use self::reply::{Ruling, ruling};

/// A filter, and what is being said to it.
struct Milter {
    filter: Filter,
    conversation: RefCell<Conversation>,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let milter =
        Rc::new(Milter { filter: arguments::read(args)?, conversation: RefCell::default() });
    let own = milter.clone();
    hooks.connect(move |session| {
        own.step(session, |conversation, at, session| conversation.connect(at, session))
    });
    let own = milter.clone();
    hooks.hello(move |session, host| {
        own.step(session, |conversation, at, session| conversation.helo(at, session, host))
    });
    let own = milter.clone();
    hooks.mail(move |session, sender, params| {
        own.step(session, |conversation, at, session| {
            conversation.mail(at, session, sender, params)
        })
    });
    let own = milter.clone();
    hooks.rcpt(move |session, recipient, params| {
        own.step(session, |conversation, at, session| {
            conversation.rcpt(at, session, recipient, params)
        })
    });
    let own = milter.clone();
    hooks.data(move |session| {
        own.step(session, |conversation, at, session| conversation.data(at, session))
    });
    let own = milter.clone();
    hooks.unrecognized_command(move |session, command, words| {
        let line = [&[command.to_ascii_uppercase().as_str()], words].concat().join(" ");
        own.step(session, |conversation, at, session| conversation.unknown(at, session, &line))
    });
    let own = milter.clone();
    hooks.data_post(move |session| own.message(session));
    let own = milter.clone();
    hooks.reset_transaction(move |session| own.conversation.borrow_mut().reset(session));
    hooks.post_connection(move |_session| milter.conversation.borrow_mut().leave(&milter.filter));
    Ok(())
}

impl Milter {
    /// One step of the conversation, as a verdict.
    ///
    /// # Errors
    /// The filter failed: `on_error` decides.
    fn step(
        &self,
        session: &mut Session,
        run: impl FnOnce(&mut Conversation, &Filter, &mut Session) -> Step,
    ) -> std::result::Result<Verdict, String> {
        match self.ruling(session, run)? {
            Some(Ruling::Refuse(verdict)) => Ok(self.refused(session, verdict)),
            None | Some(Ruling::Accept | Ruling::Discard) => Ok(DECLINED),
        }
    }

    /// The message is here: what the filter has decided about it counts.
    fn message(&self, session: &mut Session) -> std::result::Result<Verdict, String> {
        match self.ruling(session, |conversation, filter, session| {
            conversation.message(filter, session)
        })? {
            Some(Ruling::Refuse(verdict)) => Ok(self.refused(session, verdict)),
            Some(Ruling::Discard) => {
                session.fail(format_args!("{}: discarded", self.filter.name));
                let answer = queued(session);
                session.respond(250, answer.text());
                Ok(DONE)
            }
            None | Some(Ruling::Accept) => Ok(DECLINED),
        }
    }

    fn ruling(
        &self,
        session: &mut Session,
        run: impl FnOnce(&mut Conversation, &Filter, &mut Session) -> Step,
    ) -> std::result::Result<Option<Ruling>, String> {
        let conversation = &mut *self.conversation.borrow_mut();
        let failed = |why: &str| {
            let Filter { name, endpoint, .. } = &self.filter;
            format!("{name}: {endpoint}: {why}")
        };
        if let Some(why) = conversation.broken().filter(|_| session.transaction.sender().is_some())
        {
            // The log has said it once.
            let is_ignored = session.settings().is_some_and(|settings| settings.ignores_errors());
            return if is_ignored { Ok(None) } else { Err(failed(why)) };
        }
        let begun = Outside::begin("milter");
        let done = run(conversation, &self.filter, session);
        match conversation.take_asked() {
            true => session.end_outside(begun, &done),
            false => begun.forget(),
        }
        done.map_err(|error| {
            let why = error.to_string();
            conversation.break_off(&why);
            failed(&why)
        })
    }

    /// Refuses as the arguments `reject` and `reject_type` want it.
    fn refused(&self, session: &mut Session, verdict: Verdict) -> Verdict {
        let name = &self.filter.name;
        let code = verdict.code();
        let settings = session.settings();
        if session.reject() == Some(Reject::Later) {
            self.conversation.borrow_mut().let_pass();
            return session.get_reject_later(code, verdict.text(), format_args!("{name}"));
        }
        let text = verdict.text().lines().next().unwrap_or_default();
        if settings.is_some_and(|own| !own.rejects()) {
            self.conversation.borrow_mut().let_pass();
            return session.fail(format_args!("tolerated, {name}: {text}"));
        }
        session.fail(format_args!("{name}: {code}, {text}"));
        match settings.and_then(|own| own.reject_type) {
            Some(code) => Verdict::new(code, verdict.text().to_owned()),
            None => verdict,
        }
    }
}
