//! One mail transaction: from MAIL to the end of DATA, RSET or the end of the session.

use std::any::Any;
use std::fs;
use std::io::{self, BufRead, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::rc::Rc;

use crate::mail::head::{Head, LARGEST};
use crate::mail::{Address, Header};
use crate::state::{Body, Counter, Notes, Results, Spool, UnixLines};

/// How much of a message is written at a time, in octets.
const PIECE: usize = 64 * 1024;

/// The parameters of a MAIL or RCPT command (RFC 5321 4.1.2): keywords in lower case, each with
/// its value where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, Option<String>)>);

impl Params {
    /// The value of a keyword; `Some("")` for a keyword without a value.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(keyword))?;
        Some(found.1.as_deref().unwrap_or(""))
    }

    /// How often a keyword is there.
    pub fn count(&self, keyword: &str) -> usize {
        self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(keyword)).count()
    }

    /// The same parameters but those with these keywords.
    pub fn without(mut self, keywords: &[&str]) -> Params {
        self.0.retain(|(key, _)| !keywords.iter().any(|word| key.eq_ignore_ascii_case(word)));
        self
    }

    /// Sets the value of a keyword, in the place of the one that is there.
    pub fn set(&mut self, keyword: &str, value: Option<&str>) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(keyword));
        self.0.push((keyword.to_ascii_lowercase(), value.map(str::to_owned)));
    }

    /// The parameters as `key=value` words.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
    }

    /// Reads `KEY=value` words.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Params {
        let pair = |word: &str| match word.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
            None => (word.to_ascii_lowercase(), None),
        };
        Params(words.into_iter().map(pair).collect())
    }
}

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
        let origin = |(at, recipient): (usize, &Address)| {
            let same = self.recipients.iter().position(|known| known == recipient);
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

    /// Writes the message as it is to be handed on: the header section as it is now, then the
    /// empty line and the text as received.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_message(&self, out: &mut impl Write) -> io::Result<()> {
        self.header.write_to(out)?;
        self.body.copy_from(self.body.start(), out)
    }

    /// Writes the same with lines that end in LF, as programs of this machine want them, in large
    /// pieces; a CR or an LF alone stays as it is.  At the end `out` is flushed.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_lf(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_lf_pieces(BufWriter::with_capacity(PIECE, out))
    }

    /// The same in many small pieces, for what gathers them.
    ///
    /// # Errors
    /// Reading the spool file or writing to `out`.
    pub fn write_lf_pieces(&self, out: impl Write) -> io::Result<()> {
        let mut lines = UnixLines::new(out);
        self.write_message(&mut lines)?;
        lines.flush()
    }

    /// How many octets [`Transaction::write_lf`] writes.  The message is read for that.
    ///
    /// # Errors
    /// Reading the spool file.
    pub fn lf_len(&self) -> io::Result<u64> {
        let mut lines = UnixLines::new(Counter(0));
        self.write_message(&mut lines)?;
        lines.flush()?;
        Ok(lines.into_inner().0)
    }

    /// How many octets [`Transaction::write_message`] writes.
    pub fn message_len(&self) -> u64 {
        self.header.byte_len() as u64 + self.body.len() - self.body.start()
    }

    /// An empty message, to be written and put in the place of this one with
    /// [`Transaction::replace_message`].
    pub fn new_message(&self) -> Body {
        Body::new(self.spool.clone(), self.threshold)
    }

    /// Puts `message`, header section and text with CRLF line ends, in the place of the message: for
    /// programs that give back a whole message.  The header section ends where that of a message from a
    /// client would.  A file from [`Body::filename`] is gone then; asked again, there is another one.
    ///
    /// # Errors
    /// `InvalidData`: the header section has more than 1 MiB; reading or writing the spool file.  The
    /// message is what it was.
    pub fn replace_message(&mut self, mut message: Body) -> io::Result<()> {
        message.finish()?;
        let mut head = Head::default();
        let mut reader = message.reader(0);
        let end = loop {
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                break head.finish();
            }
            let count = piece.len().min(PIECE);
            if let Some(end) = head.add(&piece[..count]) {
                break end;
            }
            if head.octets().len() > LARGEST {
                let why = "the header section of the new message is too large";
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
            reader.consume(count);
        };
        let mut header = Header::parse(&head.octets()[..end.at]);
        header.name_mailbox_lines();
        header.keep_trace(&self.header);
        if end.is_fold {
            // The text would become a part of a field that is put above it.
            let mut apart = self.new_message();
            apart.write(b"\r\n")?;
            message.copy_from(0, &mut apart)?;
            apart.finish()?;
            message = apart;
        }
        message.set_start(end.at as u64);
        self.header = header;
        self.body.replace(message);
        Ok(())
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
