//! What a filter wants changed in a message, done to the transaction.

use std::io;

use crate::hook::{Extension, Session};
use crate::log::Level;
use crate::mail::{Address, Header, notify};
use crate::state::{Body, Params};

use super::packet::Change;

/// How much may be changed beside the body, in octets.
const MOST: usize = 4 << 20;

/// Another body may have so many octets where `databytes` sets no limit.
const MOST_BODY: u64 = 128 << 20;

/// The parameters of MAIL and of RCPT that a filter can set (RFC 3461).
const PARAMS: [&str; 4] = ["ret", "envid", "notify", "orcpt"];

/// All changes so far.  Nothing is done until the filter has accepted the message.
#[derive(Default)]
pub(super) struct Changes {
    list: Vec<Change>,
    octets: usize,
    body: Option<Text>,
}

/// Another body in the making.
struct Text {
    body: Body,
    most: u64,
    /// Was the last octet a CR?  And was it a line end?
    after_cr: bool,
    is_line: bool,
}

impl Changes {
    /// Keeps one for later; `most` is what a message may have in octets, 0 for any number.
    ///
    /// # Errors
    /// It is too much, or the body cannot be kept.
    pub(super) fn add(&mut self, change: Change, session: &Session, most: u64) -> io::Result<()> {
        let Change::Body(piece) = change else {
            self.octets += size(&change);
            if self.octets > MOST {
                return Err(io::Error::other("more changes than a message may have"));
            }
            self.list.push(change);
            return Ok(());
        };
        if self.body.is_none() {
            let transaction = &session.transaction;
            let most = if most == 0 { MOST_BODY } else { most }.max(2 * transaction.message_len());
            let body = transaction.body.without_text()?;
            self.body = Some(Text { body, most, after_cr: false, is_line: true });
        }
        self.body.as_mut().map_or(Ok(()), |text| text.add(&piece))
    }

    /// Does them all, in their order.  Returns what the log says, and whether anybody is left to get
    /// the message.
    ///
    /// # Errors
    /// The body cannot be kept: then nothing was done.
    pub(super) fn apply(self, session: &mut Session) -> io::Result<(String, bool)> {
        let mut done = vec![];
        let text = self.body.map(Text::finish).transpose()?;
        let had_recipients = !session.transaction.recipients().is_empty();
        let (mut reasons, mut others) = (vec![], vec![]);
        for change in self.list {
            match change {
                Change::Quarantine(reason) => reasons.push(lossy(&reason)),
                other => others.push(other),
            }
        }
        others.into_iter().for_each(|change| done.push(apply(change, session)));
        if let Some(body) = text {
            done.push(format!("a new body of {} octets", body.len() - body.start() - 2));
            session.transaction.body = body;
            // The filter has seen this as the beginning of the text.
            let header = &mut session.transaction.header;
            let end = header.end();
            while header.remove(end) {}
        }
        // This adds a field, which the filter does not count.
        for reason in reasons {
            session.quarantine(&reason);
            done.push("quarantined".to_owned());
        }
        let has_recipients = !session.transaction.recipients().is_empty();
        Ok((done.join(", "), has_recipients || !had_recipients))
    }
}

impl Text {
    /// Adds a piece.  Lines end in CRLF, also those that end in LF there.
    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.body.len() + piece.len() as u64 > self.most {
            return Err(io::Error::other("a new body that is too big"));
        }
        for line in piece.split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\n");
            match text {
                Some(text) if text.last().map_or(self.after_cr, |last| *last == b'\r') => {
                    self.body.write(line)?;
                }
                Some(text) => {
                    self.body.write(text)?;
                    self.body.write(b"\r\n")?;
                }
                None => self.body.write(line)?,
            }
            (self.is_line, self.after_cr) = (text.is_some(), line.ends_with(b"\r"));
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Body> {
        if !self.is_line {
            self.body.write(if self.after_cr { b"\n" } else { b"\r\n" })?;
        }
        self.body.finish()?;
        Ok(self.body)
    }
}

fn size(change: &Change) -> usize {
    let texts: [&[u8]; 2] = match change {
        Change::AddHeader(a, b)
        | Change::InsertHeader(_, a, b)
        | Change::ReplaceHeader(_, a, b)
        | Change::AddRecipient(a, b)
        | Change::Sender(a, b) => [a, b],
        Change::RemoveRecipient(a) | Change::Quarantine(a) | Change::Body(a) => [a, b""],
    };
    // What the bookkeeping of one takes counts as well.
    64 + texts.iter().map(|text| text.len()).sum::<usize>()
}

/// Does one; says what was done.
fn apply(change: Change, session: &mut Session) -> String {
    let header = &mut session.transaction.header;
    match change {
        Change::AddHeader(name, value) => {
            let name = lossy(&name);
            header.add_raw(&name, &value);
            format!("added {name}")
        }
        Change::InsertHeader(number, name, value) => {
            let name = lossy(&name);
            // Postfix and Sendmail count the field that is theirs as well here, and only here.
            header.add_raw_at(number as usize, &name, &value);
            format!("inserted {name}")
        }
        Change::ReplaceHeader(number, name, value) => {
            change_header(header, number, &lossy(&name), &value)
        }
        Change::AddRecipient(address, params) => add_recipient(session, &address, &params),
        Change::RemoveRecipient(address) => remove_recipient(session, &address),
        Change::Sender(address, params) => change_sender(session, &address, &params),
        Change::Body(_) | Change::Quarantine(_) => String::new(),
    }
}

fn change_header(header: &mut Header, number: u32, name: &str, value: &[u8]) -> String {
    let trace = header.trace();
    let is_one = |(at, (own, _)): &(usize, (&[u8], &[u8]))| {
        Some(*at) != trace && own.eq_ignore_ascii_case(name.as_bytes())
    };
    // 0 is the first one as well, as it is to Postfix.
    let nth = number.saturating_sub(1) as usize;
    let shown = header.entries().enumerate().take(header.end());
    let found = shown.filter(is_one).map(|(at, _)| at).nth(nth);
    match (found, value.is_empty()) {
        (Some(at), true) => {
            header.remove(at);
            format!("removed {name}")
        }
        (Some(at), false) => {
            header.replace_raw(at, name, value);
            format!("changed {name}")
        }
        (None, true) => format!("no {name} {number} to remove"),
        (None, false) => {
            header.add_raw(name, value);
            format!("added {name}")
        }
    }
}

fn add_recipient(session: &mut Session, address: &[u8], params: &[u8]) -> String {
    match path(address).filter(|address| !address.is_null()) {
        Some(address) => {
            let text = format!("added recipient {address}");
            if !session.transaction.recipients().contains(&address) {
                let params = known_params(session, params);
                session.transaction.add_recipient_with(address, params);
            }
            text
        }
        None => bad_address(session, "recipient", address),
    }
}

fn remove_recipient(session: &mut Session, address: &[u8]) -> String {
    let Some(address) = path(address) else { return bad_address(session, "recipient", address) };
    let is_same = |own: &&Address| {
        own.user() == address.user() && own.canonical_host() == address.canonical_host()
    };
    let found: Vec<Address> =
        session.transaction.recipients().iter().filter(is_same).cloned().collect();
    for own in &found {
        session.transaction.remove_recipient(own);
    }
    match found.is_empty() {
        true => format!("no recipient {address} to remove"),
        false => format!("removed recipient {address}"),
    }
}

fn change_sender(session: &mut Session, address: &[u8], params: &[u8]) -> String {
    let Some(address) = path(address) else { return bad_address(session, "sender", address) };
    let text = format!("sender {address}");
    for (name, value) in known_params(session, params).0 {
        session.transaction.mail_params.set(&name, value.as_deref());
    }
    session.transaction.set_sender(address);
    text
}

/// An address, with or without its brackets.
fn path(text: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(text).ok()?.trim();
    match text.starts_with('<') {
        true => Address::parse(text).ok(),
        false => Address::parse(&format!("<{text}>")).ok(),
    }
}

/// The parameters of RFC 3461 among some, where DSN is offered and they are well-formed.
fn known_params(session: &Session, params: &[u8]) -> Params {
    let text = lossy(params);
    let mut params = Params::from_words(text.split_whitespace());
    params.0.retain(|(name, value)| {
        let value = value.as_deref().unwrap_or_default();
        let is_well_formed = match name.as_str() {
            "ret" => notify::Return::parse(value).is_some(),
            "envid" => !value.is_empty() && notify::envelope_id(value).is_some(),
            "notify" => notify::Notify::parse(value).is_some(),
            "orcpt" => notify::original_recipient(value).is_some(),
            _ => false,
        };
        let is_kept = PARAMS.contains(&name.as_str()) && is_well_formed;
        if !is_kept {
            session.log(Level::Notice, format_args!("the parameter {name}={value} is left out"));
        }
        is_kept && session.supports(Extension::Dsn)
    });
    params
}

fn bad_address(session: &Session, what: &str, address: &[u8]) -> String {
    let text = format!("no {what}: {:.200}", address.escape_ascii().to_string());
    session.log(Level::Warn, &text);
    text
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
