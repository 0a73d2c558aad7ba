//! Sends the reports of days that are over: `qpsmtpd --dmarc-reports`.
//!
//! A report is claimed in the store before anything is done with it, and forgotten once it is queued.  So
//! nobody gets one twice; what was claimed by a process that died is not sent at all.

use std::time::Duration;

use super::kept::{claim, due, forget, parts, rows};
use super::mail::{Closed, compressed};
use super::recipients::recipients;
use super::rows::{DAY, REPORTS, Report};
use crate::error::{Error, Result};
use crate::hook::{Args, Call, Code, Hook, Session};
use crate::log::Level;
use crate::mail::{Address, Header};
use crate::origin::dmarc::Discovery;
use crate::plugins::dkim;
use crate::state::Params;

/// How long after its day a report is not sent any more.
const GIVE_UP: u64 = 4 * DAY;

/// The most reports on a domain's day.  A record that is changed makes a new one, and some change with
/// each question.
const MOST_OF_DAY: usize = 10;

/// No report is begun with less time than that left.
const ONE: Duration = Duration::from_secs(10 * 60);

/// Who has claimed a report that long ago is dead.
const CLAIM: u64 = 3600;

/// Who reports.
#[derive(Debug)]
pub(super) struct Reporter {
    /// In From, and in the report.
    pub(super) address: Address,
    /// The reverse-path.
    pub(super) envelope: Address,
}

impl Reporter {
    /// Who reports; None: nobody does.
    pub(super) fn from_args(args: &Args) -> Result<Option<Reporter>> {
        let parsed = |name: &str, text: &str| {
            let address = Address::parse(&format!("<{text}>")).ok().filter(Address::is_ascii);
            address.ok_or_else(|| Error::value(name, text, "an address"))
        };
        let Some(text) = args.named("reports") else {
            let alone = args.named("reports_sender");
            return alone.map_or(Ok(None), |_| Err("argument reports_sender needs reports".into()));
        };
        let address = parsed("reports", text)?;
        if address.host().is_empty() {
            return Err(Error::value("reports", text, "an address"));
        }
        let envelope = match args.named("reports_sender") {
            None => address.clone(),
            Some("<>") => Address::null(),
            Some(text) => parsed("reports_sender", text)?,
        };
        Ok(Some(Reporter { address, envelope }))
    }
}

/// What is done with reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Those are sent whose time has come.
    Send,
    /// All of days that are over are.
    All,
    /// All are shown, and nothing is changed.
    Show,
}

/// What became of a report.
enum End {
    /// The queue has it, for these addresses.
    Queued(String),
    /// Nobody wants it, and why.
    Unwanted(String),
}

/// Does what `word` says.  What it returns is for people.
///
/// # Errors
/// The store does not answer, or a report could not be sent; it will be tried again.
pub(super) fn run(
    session: &mut Session,
    reporter: &Reporter,
    discovery: Discovery<'_>,
    word: &str,
) -> Result<String> {
    let task = match word {
        "send" => Task::Send,
        "all" => Task::All,
        "show" => Task::Show,
        other => return Err(Error::value("--dmarc-reports", other, "send, all, show")),
    };
    let (mut shown, mut failed, mut queued) = (String::new(), 0, 0);
    let me = session.me();
    // How many reports there were so far on the domain and the day of the last one.
    let mut of_day = (String::new(), 0, 0);
    for kept in session.store(REPORTS).entries().map_err(Error::new)? {
        let now = kept.now.as_secs();
        let (Some((domain, begin)), Ok(report)) = (parts(&kept.key), kept.value.parse::<Report>())
        else {
            continue;
        };
        if now < begin + DAY {
            continue;
        }
        let address = &reporter.address;
        let closed =
            Closed { reporter: address, me: &me, key: &kept.key, domain, begin, report: &report };
        if task == Task::Show {
            let rows = rows(session, &kept.key)?;
            let addresses = report.addresses.join(", ");
            shown += &format!("{}: for {addresses}\n{}", kept.key, closed.xml(&rows));
            continue;
        }
        let is_over = now >= begin + DAY + GIVE_UP;
        if report.claimed > 0 {
            if is_over || now.saturating_sub(report.claimed) > CLAIM {
                let key = &kept.key;
                session.log(
                    Level::Warn,
                    format!("sending the report {key} was interrupted: it is not sent again"),
                );
                forget(session, key)?;
            }
            continue;
        }
        if is_over {
            session.log(Level::Warn, format!("the report {} is too old to be sent", kept.key));
            forget(session, &kept.key)?;
            continue;
        }
        if task == Task::Send && now < due(begin, domain) {
            continue;
        }
        if session.time_left() < ONE {
            session
                .log(Level::Notice, "there are too many reports: the rest waits for the next call");
            break;
        }
        let now = session.store(REPORTS).now().as_secs();
        if !claim(session, &kept, now)? {
            continue;
        }
        of_day = match of_day {
            (known, day, count) if (known.as_str(), day) == (domain, begin) => {
                (known, day, count + 1)
            }
            _ => (domain.to_owned(), begin, 1),
        };
        let sent = match of_day.2 > MOST_OF_DAY {
            true => Ok(End::Unwanted("the record was changed too often on that day".into())),
            false => send(session, reporter, discovery, &closed, now),
        };
        match sent {
            Ok(end) => {
                forget(session, &kept.key)?;
                let (level, text) = match end {
                    End::Queued(addresses) => {
                        queued += 1;
                        (Level::Notice, format!("is queued for {addresses}"))
                    }
                    End::Unwanted(why) => (Level::Info, format!("is not sent: {why}")),
                };
                session.log(level, format!("the report {} {text}", kept.key));
            }
            Err(why) => {
                failed += 1;
                let text = format!("the report {} will be tried again: {why}", kept.key);
                session.log(Level::Warn, text);
                claim(session, &kept, 0)?;
            }
        }
    }
    match failed {
        0 => Ok(shown),
        _ => Err(Error::new(format!(
            "{failed} reports could not be sent, the log says why; {queued} were"
        ))),
    }
}

/// Hands a report to the queue.
///
/// # Errors
/// It has to be tried again; the text says why.
fn send(
    session: &mut Session,
    reporter: &Reporter,
    discovery: Discovery<'_>,
    closed: &Closed<'_>,
    now: u64,
) -> std::result::Result<End, String> {
    let rows = rows(session, closed.key).map_err(|error| error.to_string())?;
    if rows.is_empty() {
        return Ok(End::Unwanted("it has no rows".into()));
    }
    let document = compressed(&closed.xml(&rows)).map_err(|error| error.to_string())?;
    let (recipients, refused) = recipients(session, discovery, closed, document.len() as u64)?;
    if recipients.is_empty() {
        return Ok(End::Unwanted(refused.join("; ")));
    }
    let message = closed.message(&recipients, &document, now);
    let queued = queue(session, &reporter.envelope, &recipients, &message);
    session.reset_transaction();
    let addresses: Vec<String> = recipients.iter().map(Address::address).collect();
    queued.map(|()| End::Queued(addresses.join(", ")))
}

/// Gives a message of our own to whoever queues, signed where there is a key for it.
fn queue(
    session: &mut Session,
    sender: &Address,
    recipients: &[Address],
    message: &str,
) -> std::result::Result<(), String> {
    let end = message.find("\r\n\r\n").map_or(message.len(), |at| at + 2);
    let transaction = &mut session.transaction;
    transaction.clear();
    transaction.set_sender(sender.clone());
    for recipient in recipients {
        transaction.accept_recipient(recipient.clone(), Params::default());
    }
    transaction.header = Header::parse(&message.as_bytes()[..end]);
    let body = &mut transaction.body;
    body.write(message.as_bytes()).and_then(|()| body.finish()).map_err(|why| why.to_string())?;
    body.set_start(end as u64);
    dkim::sign(session).map_err(|why| format!("it could not be signed: {why}"))?;
    let verdict = session.run(Hook::Queue, &Call::Nothing).map_err(|why| why.to_string())?;
    match verdict.code() {
        Code::Ok | Code::Done => Ok(()),
        Code::Declined => Err("no plugin queues it".into()),
        _ => Err(format!("the queue says: {}", verdict.text())),
    }
}

#[cfg(test)]
mod tests;
