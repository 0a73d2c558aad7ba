//! ```text
//! NAME
//!     queue/maildir - delivers messages to a Maildir
//!
//! SYNOPSIS
//!     queue/maildir [DIR [SUBDIR [MODE]]] [quarantine FOLDER]
//!
//! DESCRIPTION
//!     Writes each message into DIR/new, from where every mail reader and delivery agent that knows
//!     Maildirs can take it.  The folders cur, new and tmp are created when they are needed.
//!
//!     With SUBDIR each recipient gets a copy, in a Maildir of its own below DIR.
//!
//!     A message begins with Return-Path and Delivered-To lines, and its lines end in LF.  Before
//!     the client is told "Queued!  MESSAGE-ID", the message and its entry in the folder are on the
//!     disk.  If something goes wrong the client is told to try again later, and copies for other
//!     recipients are removed, so that nobody gets the message twice.  A client that speaks LMTP
//!     gets an answer for each recipient, and tries again only for those who have no copy.
//!
//!     A message that a plugin has put in quarantine goes where "quarantine" says.  Without that
//!     argument it goes where other messages go, and has the field X-Quarantine, by which a mail
//!     reader or a delivery agent can sort it.
//!
//!     If the file system allows it, a message has no name until it is complete, so nothing is left
//!     behind when a process dies; otherwise it is written in tmp.
//!
//!     The Perl plugin of the same name does not make sure that messages are on the disk, and a
//!     recipient ".." becomes the folder above.
//!
//! ARGUMENTS
//!     DIR      the Maildir, or the folder of the Maildirs; may begin with ~; ~/Maildir by default
//!     SUBDIR   the path of a recipient's Maildir below DIR, with at least one of
//!
//!                  %l   the local part
//!                  %d   the domain, in lower case and without Unicode (xn--...)
//!                  %u   the whole address
//!
//!              In these, characters other than letters, digits and - + _ . , @ = become "_", and
//!              so does a part of the path that would be empty, "." or "..".
//!     MODE     the permissions of new folders, in three octal digits, and, without the execute
//!              bits, of messages; 700 by default
//!
//!     quarantine FOLDER
//!              where messages in quarantine go.  A path that begins with / or ~ is a Maildir that
//!              gets one copy for all recipients.  A name that begins with a dot, such as .Junk, is
//!              a folder of the Maildir where the message would have gone, as IMAP servers show it
//!              (Maildir++).
//!
//!     queue/maildir /var/spool/deliver %d/%l 770 quarantine .Junk
//!
//! SEE ALSO
//!     queue/discard
//! ```

mod store;

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use self::store::{Failure, Stored};
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Extension, Hooks, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::plugins::host_name;
use crate::plugins::queue::queued;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let maildir = Maildir::from_args(args)?;
    hooks.supports(Extension::Smtputf8);
    hooks.queue(move |session| maildir.deliver(session));
    Ok(())
}

/// What stands for the name of a recipient in SUBDIR.
const NAMES: [&str; 3] = ["%l", "%d", "%u"];

/// What is wrong with a path that has one of them elsewhere.
const NO_NAME: &str = "means no recipient by %l, %d or %u, as only a second argument does";

/// Where messages go, and how.
struct Maildir {
    dir: String,
    subdir: Option<String>,
    mode: u32,
    quarantine: Option<Quarantine>,
    host: String,
    count: Cell<u64>,
    /// May messages be without a name until they are complete?
    unnamed: bool,
}

/// Where messages in quarantine go.
enum Quarantine {
    /// One Maildir for all.
    Maildir(String),
    /// A folder of the Maildir where they would have gone.
    Folder(String),
}

impl Maildir {
    fn from_args(args: &Args) -> Result<Maildir> {
        let mut args = args.clone();
        let quarantine = args.take_named("quarantine")?.map(|place| Quarantine::parse(&place));
        args.at_most(3)?;
        let subdir = args.get(1).map(|subdir| subdir.trim_matches('/').to_owned());
        let dir = args.get(0).unwrap_or("~/Maildir");
        if let Some(at) = of_recipients(dir) {
            let (above, below) = dir.split_at(dir[..at].rfind('/').map_or(0, |slash| slash + 1));
            let above = match above {
                "" => ".",
                "/" => "/",
                above => above.trim_end_matches('/'),
            };
            let text = format!("'{dir}' {NO_NAME}: write {above} {below}");
            return Err(Error::new(text));
        }
        if let Some(subdir) = &subdir
            && of_recipients(subdir).is_none()
        {
            let text = format!("sub directory '{subdir}' does not contain %l, %d or %u");
            return Err(Error::new(text));
        }
        let mode = args.get(2).unwrap_or("700");
        let is_octal = mode.len() == 3 && mode.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let bits = u32::from_str_radix(mode, 8).ok().filter(|_| is_octal);
        Ok(Maildir {
            dir: dir.to_owned(),
            subdir,
            mode: bits.ok_or_else(|| format!("mode is not an octal number: '{mode}'"))?,
            quarantine: quarantine.transpose()?,
            host: clean(&host_name()),
            count: Cell::new(0),
            unnamed: true,
        })
    }

    fn deliver(&self, session: &mut Session) -> Verdict {
        let quarantine = self.quarantine.as_ref().filter(|_| session.quarantined().is_some());
        let (dir, subdir, folder) = match quarantine {
            Some(Quarantine::Maildir(dir)) => (dir, None, ""),
            Some(Quarantine::Folder(folder)) => (&self.dir, self.subdir.as_deref(), &**folder),
            None => (&self.dir, self.subdir.as_deref(), ""),
        };
        let dir = session.expand(dir);
        let below = |subdir: &str, to: &Address| dir.join(of_recipient(subdir, to)).join(folder);
        let done = match subdir {
            None => {
                let recipients = session.transaction.recipients();
                let last_first: Vec<_> = recipients.iter().rev().collect();
                self.store(session, &dir.join(folder), &last_first).map(|path| vec![path])
            }
            Some(subdir) if session.connection.is_lmtp() => {
                return self.deliver_each(session, |recipient| below(subdir, recipient));
            }
            Some(subdir) => self.store_each(session, |recipient| below(subdir, recipient)),
        };
        match done {
            Ok(paths) => {
                for path in paths {
                    session.queued_as(path.display());
                    session.log(Level::Info, format_args!("stored as {}", path.display()));
                }
                queued(session)
            }
            Err(failure) => failed(session, &failure),
        }
    }

    /// A copy for each recipient for whom that works, where each has an answer of its own.
    fn deliver_each(
        &self,
        session: &mut Session,
        place_of: impl Fn(&Address) -> PathBuf,
    ) -> Verdict {
        let mut of_all = DECLINED;
        for (place, recipient) in session.transaction.recipients().to_vec().iter().enumerate() {
            let verdict = match self.store(session, &place_of(recipient), &[recipient]) {
                Ok(path) => {
                    session.queued_as(path.display());
                    session.log(Level::Info, format_args!("stored as {}", path.display()));
                    queued(session)
                }
                Err(failure) => failed(session, &failure),
            };
            if of_all.code() != Code::Ok {
                of_all = verdict.clone();
            }
            session.recipient_verdict(place, verdict);
        }
        of_all
    }

    /// A copy for each recipient, or none at all.
    fn store_each(
        &self,
        session: &Session,
        place_of: impl Fn(&Address) -> PathBuf,
    ) -> Stored<Vec<PathBuf>> {
        let mut stored = vec![];
        for recipient in session.transaction.recipients() {
            match self.store(session, &place_of(recipient), &[recipient]) {
                Ok(path) => stored.push(path),
                Err(failure) => {
                    for path in &stored {
                        let _ = fs::remove_file(path);
                    }
                    return Err(failure);
                }
            }
        }
        Ok(stored)
    }
}

impl Quarantine {
    fn parse(place: &str) -> Result<Quarantine> {
        if of_recipients(place).is_some() {
            return Err(Error::new(format!("quarantine '{place}' {NO_NAME}")));
        }
        if place.starts_with(['/', '~']) {
            return Ok(Quarantine::Maildir(place.to_owned()));
        }
        match place.strip_prefix('.') {
            Some(name) if !name.is_empty() && !name.contains(['/', '.']) => {
                Ok(Quarantine::Folder(place.to_owned()))
            }
            _ => {
                let text =
                    format!("quarantine is neither a path with / or ~ nor a name: '{place}'");
                Err(Error::new(text))
            }
        }
    }
}

fn failed(session: &Session, failure: &Failure) -> Verdict {
    session.log(Level::Warn, &failure.text);
    Verdict::declined(format!("queue error ({})", failure.step))
}

/// Where the first of [`NAMES`] is in a path.
fn of_recipients(path: &str) -> Option<usize> {
    NAMES.iter().filter_map(|name| path.find(name)).min()
}

/// The Maildir of a recipient, as a path that stays below the one it is joined to.
fn of_recipient(subdir: &str, recipient: &Address) -> PathBuf {
    let (user, host) = (clean(recipient.user()), clean(&recipient.canonical_host()));
    let path = subdir.replace("%l", &user).replace("%d", &host);
    let path = path.replace("%u", &format!("{user}@{host}"));
    let safe =
        |part| if ["", ".", ".."].contains(&part) { "_".to_owned() } else { part.to_owned() };
    path.split('/').map(safe).collect()
}

fn clean(text: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-+_.,@=".contains(c);
    text.chars().map(|c| if safe(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
