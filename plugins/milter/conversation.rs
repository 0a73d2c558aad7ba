//! The conversation with a filter about one client: what was said, and what came of it.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::hook::Session;
use crate::log::Level;
use crate::mail::Address;
use crate::state::Params;

use super::arguments::Filter;
use super::link::Link;
use super::macros::{Facts, host};
use super::message;
use super::packet::{Answer, Event, texts};
use super::reply::{Ruling, ruling};

/// What a step of the conversation comes to: a decision, or none.
pub(super) type Step = io::Result<Option<Ruling>>;

/// The conversation about the client that is served, and the connection that is kept for the next one.
#[derive(Default)]
pub(super) struct Conversation {
    link: Option<Link>,
    kept: Option<Link>,
    /// Our name.
    me: String,
    /// What was decided about the client.
    of_client: Option<Ruling>,
    /// The client's greeting that the filter was told.
    helo: Option<String>,
    mail: Option<Mail>,
    /// Why nothing more is said in this transaction.
    broken: Option<String>,
    /// Was anything said since this was asked last?
    was_asked: bool,
}

/// A message that the filter was told of.
struct Mail {
    id: String,
    sender: Address,
    recipients: Vec<Address>,
    /// What was decided about it.
    ruling: Option<Ruling>,
}

impl Conversation {
    /// A client has come: the last one, if it is still there, is forgotten.
    pub(super) fn connect(&mut self, filter: &Filter, session: &mut Session) -> Step {
        self.leave(filter);
        self.open(filter, session)
    }

    /// The client greets.  A filter that is not there yet is told so at MAIL.
    pub(super) fn helo(&mut self, filter: &Filter, session: &mut Session, host: &str) -> Step {
        if self.link.is_none() || self.of_client.is_some() {
            return Ok(self.of_client.clone());
        }
        self.abort(session);
        self.greet(filter, session, host)
    }

    /// The client says from whom a message comes.
    pub(super) fn mail(
        &mut self,
        filter: &Filter,
        session: &mut Session,
        sender: &Address,
        params: &Params,
    ) -> Step {
        if let Some(ruling) = self.begin(filter, session)? {
            return Ok(Some(ruling));
        }
        let (id, recipients) = (session.transaction_id(), vec![]);
        self.mail = Some(Mail { id, sender: sender.clone(), recipients, ruling: None });
        let step = self.tell(filter, session, Event::Mail, &path(sender, params), None)?;
        Ok(self.of_message(step))
    }

    /// The client names a recipient; what is decided is about this one.
    pub(super) fn rcpt(
        &mut self,
        filter: &Filter,
        session: &mut Session,
        recipient: &Address,
        params: &Params,
    ) -> Step {
        let Some(mail) = self.mail.as_mut().filter(|mail| mail.ruling.is_none()) else {
            return Ok(None);
        };
        mail.recipients.push(recipient.clone());
        let data = path(recipient, params);
        let step = self.tell(filter, session, Event::Rcpt, &data, Some(recipient))?;
        Ok(match step {
            Some(Ruling::Refuse(_)) | None => step,
            step => self.of_message(step),
        })
    }

    /// The client is about to send the message.
    pub(super) fn data(&mut self, filter: &Filter, session: &mut Session) -> Step {
        let step = match self.catch_up(filter, session)? {
            None => self.tell(filter, session, Event::Data, &[], None)?,
            step => step,
        };
        Ok(self.of_message(step))
    }

    /// A command that we do not know; what is decided is about this command.
    pub(super) fn unknown(&mut self, filter: &Filter, session: &mut Session, line: &str) -> Step {
        if self.link.is_none() || self.of_client.is_some() {
            return Ok(None);
        }
        self.tell(filter, session, Event::Unknown, &texts([line]), None)
    }

    /// The message is here.  In the end all that the filter wants changed is done.
    pub(super) fn message(&mut self, filter: &Filter, session: &mut Session) -> Step {
        if let Some(ruling) = self.catch_up(filter, session)? {
            return Ok(Some(ruling));
        }
        let step = message::send(self, filter, session)?;
        // Whatever it is, the filter is through with the message.
        self.mail = None;
        Ok(step)
    }

    /// The transaction ends.
    pub(super) fn reset(&mut self, session: &Session) {
        self.abort(session);
        self.broken = None;
    }

    /// The client is gone.
    pub(super) fn leave(&mut self, filter: &Filter) {
        let link = self.link.take();
        let kept = link.and_then(|link| link.end(filter.keeps)).or(self.kept.take());
        *self = Conversation { kept, ..Conversation::default() };
    }

    /// The filter cannot be used any more in this transaction.
    pub(super) fn break_off(&mut self, why: &str) {
        let kept = self.kept.take();
        *self = Conversation { kept, broken: Some(why.to_owned()), ..Conversation::default() };
    }

    /// Was the filter told anything since this was asked last?
    pub(super) fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.was_asked)
    }

    /// Why it cannot.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What was decided is not to be heeded: the filter is not asked again, as if it had been.
    pub(super) fn let_pass(&mut self) {
        for ruling in [self.of_client.as_mut(), self.mail.as_mut().and_then(|m| m.ruling.as_mut())]
        {
            if let Some(ruling @ Ruling::Refuse(_)) = ruling {
                *ruling = Ruling::Accept;
            }
        }
    }

    /// Tells of an event, and gives what comes of it.
    pub(super) fn tell(
        &mut self,
        filter: &Filter,
        session: &Session,
        event: Event,
        data: &[u8],
        recipient: Option<&Address>,
    ) -> Step {
        match self.ask(filter, session, event, data, recipient)? {
            Answer::Change(_) | Answer::Skip => {
                Err(io::Error::other(format!("a wrong answer to {}", event.row().name)))
            }
            answer => ruling(answer).map_err(io::Error::other),
        }
    }

    /// Tells of an event, and gives the answer.
    pub(super) fn ask(
        &mut self,
        filter: &Filter,
        session: &Session,
        event: Event,
        data: &[u8],
        recipient: Option<&Address>,
    ) -> io::Result<Answer> {
        let Some(link) = self.link.as_mut() else {
            return Err(io::Error::other("there is no connection"));
        };
        let mail = self.mail.as_ref();
        let id = mail.map_or("", |mail| &mail.id);
        let sender = mail.map(|mail| &mail.sender);
        let facts = Facts { session, me: &self.me, id, sender, recipient };
        if !link.terms().wants(event) {
            return Ok(Answer::Continue);
        }
        self.was_asked = true;
        let macros = filter.wishes.before(event, &link.terms().macros, &facts);
        let asked = link.tell(event, macros, data, filter.limits(event, session));
        asked.map_err(|error| at(event, &error))
    }

    /// The connection on which the filter is asked.
    pub(super) fn link(&mut self) -> io::Result<&mut Link> {
        self.link.as_mut().ok_or_else(|| io::Error::other("there is no connection"))
    }

    /// Has the filter what it needs before MAIL?  Else it gets it.
    fn begin(&mut self, filter: &Filter, session: &mut Session) -> Step {
        if self.link.is_none() && self.of_client.is_none() {
            self.open(filter, session)?;
        }
        if self.of_client.is_none() && self.helo.is_none() && session.connection.hello.is_some() {
            let host = session.connection.hello_host.clone();
            self.greet(filter, session, &host)?;
        }
        Ok(self.of_client.clone())
    }

    /// Tells all of the transaction that the filter does not know, because the plugins that decided
    /// stand before it.
    fn catch_up(&mut self, filter: &Filter, session: &mut Session) -> Step {
        if self.mail.is_none() {
            let sender = session.transaction.sender().cloned().unwrap_or_default();
            let params = session.transaction.mail_params.clone();
            if let Some(ruling) = self.mail(filter, session, &sender, &params)? {
                return Ok(Some(ruling));
            }
        }
        let told = self.mail.as_ref().map(|mail| mail.recipients.as_slice()).unwrap_or_default();
        let transaction = &session.transaction;
        let all = transaction.recipients().iter().cloned().zip(transaction.rcpt_params().cloned());
        let missing: Vec<_> = all.filter(|(recipient, _)| !told.contains(recipient)).collect();
        for (recipient, params) in missing {
            if let Some(ruling) = self.rcpt(filter, session, &recipient, &params)? {
                return Ok(Some(ruling));
            }
        }
        Ok(self.mail.as_ref().and_then(|mail| mail.ruling.clone()))
    }

    /// Connects, and says who the client is.
    fn open(&mut self, filter: &Filter, session: &mut Session) -> Step {
        self.was_asked = true;
        let until = session.deadline();
        let data = client(session);
        self.me = session.me();
        self.link = self.kept.take().filter(Link::is_of_use);
        if self.link.is_none() {
            self.link = Some(filter.open(until)?);
        }
        let step = match self.ask(filter, session, Event::Connect, &data, None) {
            Err(error) if self.link.as_ref().is_some_and(|link| link.may_be_stale(&error)) => {
                session.log(Level::Debug, format_args!("{}: connects anew: {error}", filter.name));
                self.link = Some(filter.open(until)?);
                self.tell(filter, session, Event::Connect, &data, None)?
            }
            Err(error) => return Err(error),
            Ok(Answer::Change(_) | Answer::Skip) => {
                return Err(io::Error::other("a wrong answer to CONNECT"));
            }
            Ok(answer) => ruling(answer).map_err(io::Error::other)?,
        };
        self.of_client(step)
    }

    fn greet(&mut self, filter: &Filter, session: &mut Session, host: &str) -> Step {
        self.helo = Some(host.to_owned());
        let step = self.tell(filter, session, Event::Helo, &texts([host]), None)?;
        self.of_client(step)
    }

    fn of_client(&mut self, step: Option<Ruling>) -> Step {
        if step == Some(Ruling::Discard) {
            return Err(io::Error::other("DISCARD before there is a message"));
        }
        self.of_client.clone_from(&step);
        Ok(step)
    }

    fn of_message(&mut self, step: Option<Ruling>) -> Option<Ruling> {
        if let Some(mail) = &mut self.mail {
            mail.ruling.clone_from(&step);
        }
        step
    }

    /// The message is not going to come.  A filter that has decided does not wait for it.
    fn abort(&mut self, session: &Session) {
        let is_open = self.mail.take().is_some_and(|mail| mail.ruling.is_none());
        if let Some(link) = self.link.as_mut().filter(|_| is_open)
            && let Err(error) = link.abort()
        {
            session.log(Level::Notice, format_args!("the milter is gone: {error}"));
            (self.link, self.helo) = (None, None);
        }
    }
}

impl Filter {
    /// Opens a connection.
    fn open(&self, until: Instant) -> io::Result<Link> {
        let limit = |limit: Duration| until.min(Instant::now() + limit);
        let limits = (limit(self.connect), limit(self.connect + self.command));
        Link::open(&self.endpoint, self.version, limits)
    }

    /// How long the answer to an event may take, and until when.
    fn limits(&self, event: Event, session: &Session) -> (Duration, Instant) {
        let is_content = event as u8 >= Event::Header as u8;
        (if is_content { self.content } else { self.command }, session.deadline())
    }
}

/// An error with what it came of.
pub(super) fn at(event: Event, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", event.row().name))
}

/// The data of CONNECT: name, kind of address, port, address.
fn client(session: &Session) -> Vec<u8> {
    let facts = Facts { session, me: "", id: "", sender: None, recipient: None };
    let connection = &session.connection;
    let mut data = texts([host(&facts)]);
    let kind = match connection.remote_ip {
        _ if connection.by_path => b'U',
        IpAddr::V4(_) => b'4',
        IpAddr::V6(_) => b'6',
    };
    data.push(kind);
    if kind != b'U' {
        data.extend_from_slice(&connection.remote_port.to_be_bytes());
        data.extend(texts([connection.remote_ip.to_string()]));
    }
    data
}

/// A path and its parameters, as in the command.
fn path(address: &Address, params: &Params) -> Vec<u8> {
    let params = params.0.iter().map(|(name, value)| {
        let name = name.to_ascii_uppercase();
        value.as_ref().map_or(name.clone(), |value| format!("{name}={value}"))
    });
    texts(std::iter::once(address.to_string()).chain(params))
}
