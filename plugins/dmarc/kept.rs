//! The reports that are kept in the store: when each is due, who has claimed it, what is in it.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::rows::{DAY, REPORTS, ROWS, Report, Row, hash};
use crate::error::{Error, Result};
use crate::hook::Session;
use crate::store::{Keep, Kept, Put};

/// How long after its day a report is sent at the earliest, in seconds: messages that came at its end
/// are counted by then.
pub(super) const FIRST: u64 = 600;

/// Over how many seconds the reports of a day are spread.
pub(super) const SPREAD: u64 = 20 * 3600 - FIRST;

/// The domain and the beginning of the day in the key of a report.
pub(super) fn parts(key: &str) -> Option<(&str, u64)> {
    let mut words = key.split(' ');
    let day: Date = words.next()?.parse().ok()?;
    let domain = words.next()?;
    let begin = day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some((domain, u64::try_from(begin).ok()?))
}

/// When the report on a domain is sent: each domain has its own time of the day.
pub(super) fn due(begin: u64, domain: &str) -> u64 {
    let share = u64::from_str_radix(&hash(domain, 4), 16).unwrap_or(0);
    begin + DAY + FIRST + share % SPREAD
}

pub(super) fn rows(session: &Session, key: &str) -> Result<Vec<Row>> {
    let rows = session.store(ROWS).entries_from(&format!("{key} ")).map_err(Error::new)?;
    let mut rows: Vec<Row> = rows.iter().filter_map(|kept| kept.value.parse().ok()).collect();
    // Who reads it wants to see first what there is most of.
    rows.sort_by_key(|row| std::cmp::Reverse(row.count()));
    Ok(rows)
}

/// Claims a report, or with 0 gives it back.  False: somebody else has it, or has sent it.
pub(super) fn claim(session: &Session, kept: &Kept, now: u64) -> Result<bool> {
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
pub(super) fn forget(session: &Session, key: &str) -> Result<()> {
    let rows = session.store(ROWS);
    for kept in rows.entries_from(&format!("{key} ")).map_err(Error::new)? {
        rows.remove(&kept.raw).map_err(Error::new)?;
    }
    session.store(REPORTS).remove(key).map_err(Error::new)?;
    Ok(())
}
