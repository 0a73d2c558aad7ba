//! What reports will say: rows in the store, one for each kind of mail of a domain on a day, with how
//! many messages there were.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::hook::{Hooks, Session};
use crate::log::Level;
use crate::origin::dmarc::{Discovery, Finding, Outcome, Record};
use crate::store::{Change, Keep, Kept, Put, Table, Unavailable};

use super::elements::{self, COUNT};
use super::xml::{element, within};

/// The table with an entry for each report, `DAY DOMAIN ID`, and one for each day.
pub(super) const REPORTS: &str = "dmarc";

/// The table with the rows, `DAY DOMAIN ID ROW`.
pub(super) const ROWS: &str = "dmarc_rows";

/// The seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// What is kept longer than that after its day is forgotten by the store itself.
const KEPT: u64 = 7 * DAY;

/// The most rows of a report, and of a day, so that forged mail does not fill the store.
const MOST_OF_REPORT: u32 = 1000;
const MOST_OF_DAY: u32 = 20_000;

/// The most addresses of a record that get reports.
pub(super) const MOST_ADDRESSES: usize = 5;

/// The longest address, as a URI.
const LONGEST_ADDRESS: usize = 300;

/// A report that is being collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// How many rows it has.
    pub(super) rows: u32,
    /// How many messages are not in it because there were too many kinds of them.
    pub(super) left_out: u32,
    /// When somebody began to send it, in seconds since 1970; 0: nobody has.
    pub(super) claimed: u64,
    /// Where it goes: URIs with `mailto:`.
    pub(super) addresses: Vec<String>,
    /// The element `policy_published`.
    pub(super) policy: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { rows, left_out, claimed, addresses, policy } = self;
        write!(f, "{rows} {left_out} {claimed} {} {policy}", addresses.join(","))
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(text: &str) -> Result<Report, ()> {
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        let [rows, left_out, claimed, addresses, policy] = words[..] else { return Err(()) };
        Ok(Report {
            rows: rows.parse().map_err(drop)?,
            left_out: left_out.parse().map_err(drop)?,
            claimed: claimed.parse().map_err(drop)?,
            addresses: addresses.split(',').map(str::to_owned).collect(),
            policy: policy.to_owned(),
        })
    }
}

/// A kind of mail, and how much of it there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    count: u64,
    /// The element `record`, with [`COUNT`] in it.
    record: String,
}

impl Row {
    /// The element `record`.
    pub(super) fn xml(&self) -> String {
        self.record.replacen(COUNT, &element("count", &self.count.to_string()), 1)
    }

    /// How many messages.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.record)
    }
}

impl FromStr for Row {
    type Err = ();

    fn from_str(text: &str) -> Result<Row, ()> {
        let (count, record) = text.split_once(' ').ok_or(())?;
        Ok(Row { count: count.parse().map_err(drop)?, record: record.to_owned() })
    }
}

/// Says what the entries are.
pub(super) fn explain(hooks: &mut Hooks) {
    hooks.keeps(REPORTS, |kept| {
        let Ok(report) = kept.value.parse::<Report>() else {
            return format!("rows of that day for DMARC reports: {}", kept.value);
        };
        let Report { rows, left_out, claimed, addresses, .. } = report;
        let mut text = format!("a DMARC report with {rows} rows for {}", addresses.join(", "));
        if left_out > 0 {
            let _ = write!(
                text,
                "; {left_out} messages are not in it, there were too many kinds of mail"
            );
        }
        if claimed > 0 {
            text += "; it is being sent, or sending it was interrupted";
        }
        text
    });
    hooks.keeps(ROWS, explain_row);
}

fn explain_row(kept: &Kept) -> String {
    let Ok(Row { count, record }) = kept.value.parse::<Row>() else { return "no row".into() };
    let [source, from, disposition, dkim, spf] =
        ["source_ip", "header_from", "disposition", "dkim", "spf"]
            .map(|name| within(&record, name));
    format!(
        "{count} messages of {from} from {source}: done to them: {disposition}; aligned DKIM: {dkim}, \
         SPF: {spf}"
    )
}

/// Counts a message for the report to its author's domain, if that asks for one.  `refused`: because
/// of its policy.
///
/// # Errors
/// The store does not answer.
pub(super) fn count(
    session: &Session,
    finding: &Finding,
    discovery: Discovery<'_>,
    refused: bool,
) -> Result<(), Unavailable> {
    let Some((domain, record)) = &finding.record else { return Ok(()) };
    let addresses = addresses(record);
    // What nobody knows is tried again, or delivered as if there were no policy.
    if addresses.is_empty() || finding.outcome == Outcome::TempError {
        return Ok(());
    }
    if !is_name(domain) || !is_name(&finding.domain) {
        return Ok(());
    }
    let policy = elements::policy_published(domain, record, discovery);
    let report = Report { rows: 1, left_out: 0, claimed: 0, addresses, policy };
    let row = elements::record(session, finding, record, refused);
    let (reports, rows) = (session.store(REPORTS), session.store(ROWS));
    add(&reports, &rows, domain, &report, &row, &|text| session.log(Level::Warn, text))
}

/// Adds a message to the rows of today.
fn add(
    reports: &Table,
    rows: &Table,
    domain: &str,
    report: &Report,
    record: &str,
    warn: &dyn Fn(&str),
) -> Result<(), Unavailable> {
    let now = reports.now().as_secs();
    let day = date(now);
    // A record that is changed during the day makes a report of its own (RFC 9990 3.1).
    let id = hash(&report.to_string(), 4);
    let key = format!("{day} {domain} {id}");
    let row_key = format!("{key} {}", hash(record, 8));
    let time = Duration::from_secs((now / DAY + 1) * DAY + KEPT - now);
    let is_known = rows.update(&row_key, |old: Option<Row>| match old {
        Some(Row { count, record }) => (Put(Row { count: count + 1, record }, time), true),
        None => (Keep, false),
    })?;
    if is_known {
        return Ok(());
    }
    let so_far: u32 = reports.get(&day)?.unwrap_or(0);
    let is_full = so_far >= MOST_OF_DAY;
    let left_out = reports.update(&key, |old: Option<Report>| match old {
        None if is_full => (Keep, Some(0)),
        None => (Put(report.clone(), time), None),
        Some(old) if is_full || old.rows >= MOST_OF_REPORT => {
            let left_out = old.left_out + 1;
            (Put(Report { left_out, ..old }, time), Some(left_out))
        }
        Some(old) => (Put(Report { rows: old.rows + 1, ..old }, time), None),
    })?;
    match left_out {
        Some(1) => {
            warn(&format!(
                "more kinds of mail of {domain} than a report can have: some are left out"
            ));
        }
        Some(_) => {}
        None => {
            rows.update(&row_key, |old: Option<Row>| {
                let count = old.map_or(0, |row| row.count) + 1;
                (Put(Row { count, record: record.to_owned() }, time), ())
            })?;
            let so_far = reports.update(&day, |old: Option<u32>| -> (Change<u32>, u32) {
                let so_far = old.unwrap_or(0) + 1;
                (Put(so_far, time), so_far)
            })?;
            if so_far == MOST_OF_DAY {
                warn("more kinds of mail than the reports of a day can have: the rest is left out");
            }
        }
    }
    Ok(())
}

/// The day of a time, in UTC.
pub(super) fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%F").to_string()
}

/// So many octets of a hash, in hexadecimal digits.
pub(super) fn hash(text: &str, octets: usize) -> String {
    let octets = Sha256::digest(text).into_iter().take(octets);
    octets.map(|octet| format!("{octet:02x}")).collect()
}

/// A name as hosts have it: nothing else is ever put into a file name, a subject or a question.
fn is_name(domain: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    domain.len() <= 253
        && !domain.starts_with('.')
        && domain.contains('.')
        && domain.bytes().all(fits)
}

/// Where the domain wants reports, as far as they can be sent there: by mail.
pub(super) fn addresses(record: &Record) -> Vec<String> {
    let is_plain = |uri: &&String| {
        let is_mail = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
        is_mail && uri.len() <= LONGEST_ADDRESS && uri.bytes().all(|octet| octet.is_ascii_graphic())
    };
    record.reports.iter().filter(is_plain).take(MOST_ADDRESSES).cloned().collect()
}

#[cfg(test)]
mod tests;
