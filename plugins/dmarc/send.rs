//! Sends the reports of days that are over: `qpsmtpd --dmarc-reports`.
//!
//! A report is claimed in the store before anything is done with it, and forgotten once it is queued.  So
//! nobody gets one twice; what was claimed by a process that died is not sent at all.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::mail::{Closed, compressed, target};
use super::rows::{DAY, MOST_ADDRESSES, REPORTS, ROWS, Report, Row, hash};
use crate::error::{Error, Result};
use crate::hook::{Call, Code, Hook, Session};
use crate::log::Level;
use crate::mail::{Address, Header};
use crate::origin::dmarc::{Consent, Discovery, consent};
use crate::plugins::dkim;
use crate::state::Params;
use crate::store::{Keep, Kept, Put};

/// How long after its day a report is sent at the earliest, in seconds: messages that came at its end
/// are counted by then.
const FIRST: u64 = 600;

/// Over how many seconds the reports of a day are spread.
const SPREAD: u64 = 20 * 3600 - FIRST;

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

/// The domain and the beginning of the day in the key of a report.
fn parts(key: &str) -> Option<(&str, u64)> {
    let mut words = key.split(' ');
    let day: Date = words.next()?.parse().ok()?;
    let domain = words.next()?;
    let begin = day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some((domain, u64::try_from(begin).ok()?))
}

/// When the report on a domain is sent: each domain has its own time of the day.
fn due(begin: u64, domain: &str) -> u64 {
    let share = u64::from_str_radix(&hash(domain, 4), 16).unwrap_or(0);
    begin + DAY + FIRST + share % SPREAD
}

fn rows(session: &Session, key: &str) -> Result<Vec<Row>> {
    let rows = session.store(ROWS).entries_from(&format!("{key} ")).map_err(Error::new)?;
    let mut rows: Vec<Row> = rows.iter().filter_map(|kept| kept.value.parse().ok()).collect();
    // Who reads it wants to see first what there is most of.
    rows.sort_by_key(|row| std::cmp::Reverse(row.count()));
    Ok(rows)
}

/// Claims a report, or with 0 gives it back.  False: somebody else has it, or has sent it.
fn claim(session: &Session, kept: &Kept, now: u64) -> Result<bool> {
    let time: Duration = kept.left;
    let claimed = session.store(REPORTS).update(&kept.raw, |old: Option<Report>| match old {
        Some(old) if (old.claimed == 0) == (now > 0) => {
            (Put(Report { claimed: now, ..old }, time), true)
        }
        _ => (Keep, false),
    });
    claimed.map_err(Error::new)
}

/// Forgets a report: the claim is the last thing, so that nobody sends what is left of it.
fn forget(session: &Session, key: &str) -> Result<()> {
    let rows = session.store(ROWS);
    for kept in rows.entries_from(&format!("{key} ")).map_err(Error::new)? {
        rows.remove(&kept.raw).map_err(Error::new)?;
    }
    session.store(REPORTS).remove(key).map_err(Error::new)?;
    Ok(())
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

/// Who gets the report, and why others do not.
///
/// # Errors
/// Nobody knows at the moment whether somebody wants it.
fn recipients(
    session: &Session,
    discovery: Discovery<'_>,
    closed: &Closed<'_>,
    size: u64,
) -> std::result::Result<(Vec<Address>, Vec<String>), String> {
    let dns = session.dns();
    let (mut recipients, mut refused) = (vec![], vec![]);
    let fits = |most: Option<u64>| most.is_none_or(|most| size <= most);
    for uri in &closed.report.addresses {
        let Some((address, most)) = target(uri) else {
            refused.push(format!("{uri} is not an address"));
            continue;
        };
        let host = address.canonical_host().into_owned();
        let mut found = vec![];
        match consent(&dns, closed.domain, &host, discovery)? {
            Consent::No => refused.push(format!("{host} does not want it")),
            Consent::Yes => found.push((address, most)),
            // Others at the same host, so that nobody is named by somebody who was (RFC 9990 4).
            Consent::Instead(uris) => {
                let others = uris.iter().filter_map(|uri| target(uri));
                let own = others.filter(|(other, _)| *other.canonical_host() == *host);
                found.extend(own.take(MOST_ADDRESSES));
                if found.is_empty() {
                    refused.push(format!("{host} names no address of its own"));
                }
            }
        }
        for (address, most) in found {
            match fits(most) {
                true if recipients.contains(&address) => {}
                true => recipients.push(address),
                false => refused.push(format!("it is too large for {}", address.address())),
            }
        }
    }
    Ok((recipients, refused))
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
mod tests {
    use super::*;
    use crate::testing::Trial;

    const DNS: &str = "\
        _dmarc.a.example TXT v=DMARC1; p=none\n\
        a.example._report._dmarc.moved.test TXT v=DMARC1; rua=mailto:new@moved.test,mailto:x@y.test\n\
        a.example._report._dmarc.later.test TXT failed";

    const BEGIN: u64 = 1_799_971_200;
    const KEY: &str = "2027-01-15 a.example 01020304";

    /// A report on a.example, and a queue.
    fn trial(addresses: &str, queue: &str) -> Trial {
        let lines = format!("dmarc reports dmarc@mx.example\n{queue}");
        let trial = Trial::new(&lines, &[("me", "mx.example")]).with_dns(DNS);
        trial.set_clock(BEGIN);
        let time = Duration::from_secs(8 * DAY);
        let report = format!("1 0 0 {addresses} <policy_published/>");
        trial.store(REPORTS).put(KEY, report, time).unwrap();
        trial.store(REPORTS).put("2027-01-15", 1, time).unwrap();
        let row = "3 <record><count/></record>";
        trial.store(ROWS).put(format!("{KEY} 0102"), row, time).unwrap();
        trial.store(ROWS).put("2027-01-15 b.example 01020304 0102", row, time).unwrap();
        trial
    }

    const QUEUE: &str = "queue/maildir {dir}/Maildir";
    const OWN: &str = "mailto:in@a.example";

    fn job(trial: &mut Trial, word: &str, at: u64) -> Result<String> {
        job_within(trial, word, at, 2 * ONE)
    }

    fn job_within(trial: &mut Trial, word: &str, at: u64, limit: Duration) -> Result<String> {
        trial.set_clock(at);
        trial.session.run_job("dmarc-reports", word, limit).unwrap()
    }

    fn mails(trial: &Trial) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(trial.dir().join("Maildir/new")) else {
            return vec![];
        };
        entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }

    /// How many entries of the report there are.
    fn left(trial: &Trial) -> usize {
        let count = |table, key| trial.store(table).entries_from(key).unwrap().len();
        count(REPORTS, KEY) + count(ROWS, KEY)
    }

    #[test]
    fn a_report_is_sent_once_at_the_time_of_its_domain() {
        let mut trial = trial(OWN, QUEUE);
        let due = due(BEGIN, "a.example");
        assert!((BEGIN + DAY + FIRST..BEGIN + DAY + FIRST + SPREAD).contains(&due));
        assert_ne!(due, super::due(BEGIN, "b.example"));
        for (word, at) in [("send", due - 1), ("all", BEGIN + DAY - 1), ("show", due)] {
            job(&mut trial, word, at).unwrap();
            assert_eq!((mails(&trial).len(), left(&trial)), (0, 2), "{word}");
        }
        let shown = job(&mut trial, "show", due).unwrap();
        assert!(shown.contains(OWN) && shown.contains("<count>3</count>"), "{shown}");
        job(&mut trial, "send", due).unwrap();
        job(&mut trial, "send", due).unwrap();
        let mails = mails(&trial);
        assert_eq!((mails.len(), left(&trial)), (1, 0));
        assert!(mails[0].contains("\nTo: <in@a.example>\n"), "{}", mails[0]);
        // What belongs to others is left alone.
        assert_eq!(trial.store(ROWS).entries().unwrap().len(), 1);
        assert!(job(&mut trial, "sometimes", due).is_err());
    }

    #[test]
    fn a_record_that_is_never_the_same_makes_no_flood_of_reports() {
        let mut trial = trial(OWN, QUEUE);
        for id in 0..20 {
            let (key, time) = (format!("2027-01-15 a.example {id}"), Duration::from_secs(8 * DAY));
            let report = format!("1 0 0 {OWN} <policy_published/>");
            trial.store(REPORTS).put(&key, report, time).unwrap();
            trial.store(ROWS).put(format!("{key} 1"), "1 <record><count/></record>", time).unwrap();
        }
        job(&mut trial, "all", BEGIN + DAY).unwrap();
        assert_eq!(mails(&trial).len(), MOST_OF_DAY);
        assert_eq!(trial.store(REPORTS).entries_from("2027-01-15 a").unwrap(), []);
    }

    #[test]
    fn what_there_is_no_time_for_waits() {
        let mut trial = trial(OWN, QUEUE);
        job_within(&mut trial, "all", BEGIN + DAY, ONE / 2).unwrap();
        assert_eq!((mails(&trial).len(), left(&trial)), (0, 2));
        assert!(trial.log().contains("the rest waits"));
    }

    #[test]
    fn what_the_queue_does_not_take_is_tried_again_and_given_up_in_the_end() {
        let mut trial = trial(OWN, "");
        for _ in 0..2 {
            let error = job(&mut trial, "all", BEGIN + DAY).unwrap_err().to_string();
            assert!(error.starts_with("1 reports could not be sent"), "{error}");
            assert_eq!(left(&trial), 2);
        }
        assert!(trial.take_log().contains("will be tried again: no plugin queues it"));
        job(&mut trial, "all", BEGIN + DAY + GIVE_UP).unwrap();
        assert_eq!(left(&trial), 0);
        assert!(trial.log().contains("too old to be sent"));
    }

    #[test]
    fn what_somebody_else_sends_or_has_sent_is_not_sent() {
        let mut trial = trial(OWN, QUEUE);
        let kept = trial.store(REPORTS).entries_from(KEY).unwrap().pop().unwrap();
        let now = BEGIN + DAY;
        assert_eq!(claim(&trial.session, &kept, now), Ok(true));
        assert_eq!(claim(&trial.session, &kept, now), Ok(false));
        job(&mut trial, "all", now + CLAIM).unwrap();
        assert_eq!((mails(&trial).len(), left(&trial)), (0, 2));
        job(&mut trial, "all", now + CLAIM + 1).unwrap();
        assert_eq!((mails(&trial).len(), left(&trial)), (0, 0));
        assert!(trial.log().contains("interrupted"));
    }

    #[test]
    fn reports_go_only_to_who_wants_them_and_not_larger_than_they_want() {
        for (addresses, expected) in [
            (
                "mailto:in@a.example!1k,mailto:in@sub.a.example",
                "<in@a.example>,\n <in@sub.a.example>",
            ),
            ("mailto:in@a.example,mailto:in@a.example", "<in@a.example>"),
            ("mailto:in@a.example!10,mailto:in@moved.test", "<new@moved.test>"),
            ("mailto:in@b.example,mailto:in@a.example!10,mailto:nobody", ""),
        ] {
            let mut trial = trial(addresses, QUEUE);
            job(&mut trial, "all", BEGIN + DAY).unwrap();
            let to = mails(&trial).pop().unwrap_or_default();
            let to = to.split_once("\nTo: ").map_or("", |(_, behind)| behind);
            assert_eq!(to.split("\nDate:").next(), Some(expected), "{addresses}");
            assert_eq!(left(&trial), 0);
        }
        let mut later = trial("mailto:in@later.test,mailto:in@a.example", QUEUE);
        assert!(job(&mut later, "all", BEGIN + DAY).is_err());
        assert_eq!((mails(&later).len(), left(&later)), (0, 2));
    }
}
