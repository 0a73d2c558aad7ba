//! One mail transaction: from MAIL to the end of DATA, RSET or the end of the session.

use std::any::Any;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

use crate::mail::{Address, Header};
use crate::state::{Body, Notes, Spool};

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

    /// Reads `KEY=value` words.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Params {
        let pair = |word: &str| match word.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
            None => (word.to_ascii_lowercase(), None),
        };
        Params(words.into_iter().map(pair).collect())
    }
}

/// The envelope and the message of one transaction.
#[derive(Debug)]
pub struct Transaction {
    sender: Option<Address>,
    recipients: Vec<Address>,
    /// The header section; empty until it has been received.
    pub header: Header,
    /// The message as received; empty until DATA.
    pub body: Body,
    /// Notes that last as long as the transaction.
    pub notes: Notes,
    /// The parameters of its MAIL command.
    pub mail_params: Params,
    temporary: Vec<PathBuf>,
    kept: Vec<Box<dyn Any>>,
    spool: Rc<Spool>,
}

impl Transaction {
    /// A transaction in which nothing has been said; its message is kept in memory up to
    /// `size_threshold` octets.
    pub fn new(spool: Rc<Spool>, size_threshold: usize) -> Transaction {
        Transaction {
            sender: None,
            recipients: vec![],
            header: Header::default(),
            body: Body::new(spool.clone(), size_threshold),
            notes: Notes::default(),
            mail_params: Params::default(),
            temporary: vec![],
            kept: vec![],
            spool,
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

    /// Adds a recipient.
    pub fn add_recipient(&mut self, recipient: Address) {
        self.recipients.push(recipient);
    }

    /// Removes a recipient.  Returns whether it was there.
    pub fn remove_recipient(&mut self, recipient: &Address) -> bool {
        let before = self.recipients.len();
        self.recipients.retain(|known| known != recipient);
        self.recipients.len() < before
    }

    /// Replaces all recipients.
    pub fn set_recipients(&mut self, recipients: Vec<Address>) {
        self.recipients = recipients;
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

    /// How many octets [`Transaction::write_message`] writes.
    pub fn message_len(&self) -> u64 {
        self.header.byte_len() as u64 + self.body.len() - self.body.start()
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
        self.header = Header::default();
        self.body.clear();
        self.notes.clear();
        self.mail_params.0.clear();
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
mod tests {
    use super::*;

    fn transaction() -> (tempfile::TempDir, Transaction) {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(&dir.path().join("spool"), 0o700).unwrap();
        (dir, Transaction::new(Rc::new(spool), 100))
    }

    #[test]
    fn recipients_are_added_removed_and_replaced() {
        let (_dir, mut transaction) = transaction();
        let (a, b) = (Address::new("a", "x.example"), Address::new("b", "x.example"));
        transaction.add_recipient(a.clone());
        transaction.add_recipient(b.clone());
        assert!(transaction.remove_recipient(&a));
        assert!(!transaction.remove_recipient(&a));
        assert_eq!(transaction.recipients(), std::slice::from_ref(&b));
        transaction.set_recipients(vec![a.clone()]);
        assert_eq!(transaction.recipients(), [a]);
    }

    #[test]
    fn temporary_files_end_with_the_transaction() {
        let (_dir, mut transaction) = transaction();
        let file = transaction.temp_file();
        let folder = transaction.temp_dir().unwrap();
        fs::write(&file, "x").unwrap();
        fs::write(folder.join("inside"), "x").unwrap();
        transaction.clear();
        assert!(!file.exists() && !folder.exists());
    }

    #[test]
    fn the_message_is_the_edited_header_and_the_text_as_received() {
        let (_dir, mut transaction) = transaction();
        transaction.body.write(b"Subject:  x\r\n\r\ntext\r\n").unwrap();
        transaction.body.set_start(13);
        transaction.header = Header::parse(b"Subject:  x\r\n");
        transaction.header.add_at(0, "X-Seen", "yes");
        let mut out = vec![];
        transaction.write_message(&mut out).unwrap();
        assert_eq!(out, b"X-Seen: yes\r\nSubject:  x\r\n\r\ntext\r\n");
        assert_eq!(transaction.message_len(), out.len() as u64);
    }

    #[test]
    fn parameters_are_found_without_regard_to_case() {
        let params = Params::from_words(["SIZE=10", "SMTPUTF8"]);
        assert_eq!(params.get("size"), Some("10"));
        assert_eq!(params.get("smtputf8"), Some(""));
        assert_eq!(params.get("body"), None);
    }
}
