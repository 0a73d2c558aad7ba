//! One mail transaction: from MAIL to the end of DATA, RSET or the end of the session.

mod message;

use std::any::Any;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use crate::mail::{Address, Header};
use crate::state::{Body, Notes, Params, Results, Spool};

/// How a recipient came into the transaction.
#[derive(Debug, Clone, Default)]
struct Origin {
    /// The parameters of its RCPT command.
    params: Params,
    /// Which of the accepted RCPT commands it stands for, counted from 0; None: a plugin added it.
    command: Option<usize>,
}

/// The envelope and the message of one transaction.
#[derive(Debug)]
pub struct Transaction {
    sender: Option<Address>,
    recipients: Vec<Address>,
    /// One for each recipient.
    origins: Vec<Origin>,
    accepted: usize,
    /// The header section; empty until it has been received.
    pub header: Header,
    /// The message as received; empty until DATA.
    pub body: Body,
    /// Notes that last as long as the transaction.
    pub notes: Notes,
    /// The parameters of its MAIL command; `ret` and `envid` (RFC 3461) only where DSN was offered,
    /// so that whoever queues can hand them on.
    pub mail_params: Params,
    /// What was found out about who sent it.
    pub results: Results,
    temporary: Vec<PathBuf>,
    kept: Vec<Box<dyn Any>>,
    spool: Rc<Spool>,
    /// The most octets of a message that are kept in memory.
    threshold: usize,
}

impl Transaction {
    /// A transaction in which nothing has been said; its message is kept in memory up to
    /// `size_threshold` octets.
    pub fn new(spool: Rc<Spool>, size_threshold: usize) -> Transaction {
        Transaction {
            sender: None,
            recipients: vec![],
            origins: vec![],
            accepted: 0,
            header: Header::default(),
            body: Body::new(spool.clone(), size_threshold),
            notes: Notes::default(),
            mail_params: Params::default(),
            results: Results::default(),
            temporary: vec![],
            kept: vec![],
            spool,
            threshold: size_threshold,
        }
    }

    /// The reverse-path; None before an accepted MAIL.
    pub fn sender(&self) -> Option<&Address> {
        self.sender.as_ref()
    }

    /// Sets or replaces the reverse-path.
    pub fn set_sender(&mut self, sender: Address) {
        self.sender = Some(sender);
    }

    /// The accepted forward-paths, in order.
    pub fn recipients(&self) -> &[Address] {
        &self.recipients
    }

    /// The parameters of the RCPT command of each of [`Transaction::recipients`]; `notify` and
    /// `orcpt` (RFC 3461) only where DSN was offered.
    pub fn rcpt_params(&self) -> impl ExactSizeIterator<Item = &Params> {
        self.origins.iter().map(|origin| &origin.params)
    }

    /// Adds a recipient that no client named.
    pub fn add_recipient(&mut self, recipient: Address) {
        self.add_recipient_with(recipient, Params::default());
    }

    /// The same with parameters as those of a RCPT command, which are to be well-formed; see
    /// [`Transaction::rcpt_params`].
    pub fn add_recipient_with(&mut self, recipient: Address, params: Params) {
        self.recipients.push(recipient);
        self.origins.push(Origin { params, command: None });
    }

    /// Removes a recipient.  Returns whether it was there.
    pub fn remove_recipient(&mut self, recipient: &Address) -> bool {
        let before = self.recipients.len();
        let mut is_other = self.recipients.iter().map(|known| known != recipient);
        self.origins.retain(|_| is_other.next().unwrap_or(true));
        self.recipients.retain(|known| known != recipient);
        self.recipients.len() < before
    }

    /// Puts others, or none, in the place of a recipient; they keep its parameters, and with these
    /// the address that the sender wrote to.  Returns whether it was there.
    pub fn replace_recipient(&mut self, recipient: &Address, others: &[Address]) -> bool {
        let Some(at) = self.recipients.iter().position(|known| known == recipient) else {
            return false;
        };
        let origin = self.origins[at].clone();
        self.origins.splice(at..=at, vec![origin; others.len()]);
        self.recipients.splice(at..=at, others.iter().cloned());
        true
    }

    /// Replaces all recipients.  Those that were there before keep their parameters; where there
    /// are as many as before, others keep those in whose place they stand.
    pub fn set_recipients(&mut self, recipients: Vec<Address>) {
        let is_as_many = recipients.len() == self.recipients.len();
        // Where each of those before stands first.  There may be very many.
        let before = self.recipients.iter().enumerate().rev();
        let places: HashMap<&Address, usize> = before.map(|(at, known)| (known, at)).collect();
        let origin = |(at, recipient): (usize, &Address)| {
            let same = places.get(recipient).copied();
            let from = same.or(Some(at).filter(|_| is_as_many));
            from.map_or_else(Origin::default, |at| self.origins[at].clone())
        };
        self.origins = recipients.iter().enumerate().map(origin).collect();
        self.recipients = recipients;
    }

    /// Adds a recipient whose RCPT command was accepted.
    pub(crate) fn accept_recipient(&mut self, recipient: Address, params: Params) {
        self.recipients.push(recipient);
        self.origins.push(Origin { params, command: Some(self.accepted) });
        self.accepted += 1;
    }

    /// How many RCPT commands were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Which recipients stand for that accepted RCPT command, as places in
    /// [`Transaction::recipients`].
    pub(crate) fn recipients_of(&self, command: usize) -> impl Iterator<Item = usize> {
        let is_one =
            move |(at, origin): (usize, &Origin)| (origin.command == Some(command)).then_some(at);
        self.origins.iter().enumerate().filter_map(is_one)
    }

    /// The path of a file of your own that is removed at the end of the transaction.  It is not
    /// made yet.
    pub fn temp_file(&mut self) -> PathBuf {
        let path = self.spool.name();
        self.temporary.push(path.clone());
        path
    }

    /// Keeps something until the transaction ends, where it is dropped.
    pub(crate) fn keep(&mut self, thing: impl Any) {
        self.kept.push(Box::new(thing));
    }

    /// What was kept of that type.
    pub(crate) fn kept<T: Any>(&self) -> Option<&T> {
        self.kept.iter().find_map(|thing| thing.downcast_ref())
    }

    /// A new folder (mode 0700) that is removed at the end of the transaction.
    ///
    /// # Errors
    /// What the file system says.
    pub fn temp_dir(&mut self) -> io::Result<PathBuf> {
        let path = self.spool.make_dir(0o700)?;
        self.temporary.push(path.clone());
        Ok(path)
    }

    /// Forgets everything and removes all temporary files: the start of a new transaction.
    pub fn clear(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.origins.clear();
        self.accepted = 0;
        self.header = Header::default();
        self.body.clear();
        self.notes.clear();
        self.mail_params.0.clear();
        self.results = Results::default();
        self.kept.clear();
        self.remove_temporary();
    }

    fn remove_temporary(&mut self) {
        for path in self.temporary.drain(..) {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.remove_temporary();
    }
}

#[cfg(test)]
mod tests;
