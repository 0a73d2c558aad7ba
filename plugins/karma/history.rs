//! What a connection begins with, and what is remembered of it.

use std::time::Duration;

use super::record::{Conduct, Record, Rules};
use super::{PENALIZED, TABLE, TOOK_MESSAGE};
use crate::hook::{Code, DECLINED, KARMA, KARMA_HISTORY, NAUGHTY, Session, Verdict};
use crate::log::Level;
use crate::store::{ByAddress, Put, Table, network};

/// What is better than this is a good history, and a very good one.
const GOOD: i64 = 5;
const VERY_GOOD: i64 = 10;

/// How long the parent knows of an address that does not come back.
const DAY: Duration = Duration::from_secs(86400);

/// How many connections an address may have, by its history, where the others may have `max`.
pub(super) fn allowed(history: Option<i16>, max: usize) -> usize {
    match history.map(i64::from) {
        None => max,
        Some(history) if history > GOOD => max + 3,
        Some(history) if history > 0 => max,
        Some(_) => 1,
    }
}

/// The connection begins.
pub(super) fn greet(session: &mut Session, histories: &ByAddress, rules: &Rules) -> Verdict {
    let (table, key) = entry(session);
    let now = table.now();
    let found = table.get::<Record>(&key);
    let record = found.as_ref().ok().copied().flatten();
    let history = record.map_or(0, |record| record.history());
    let notes = &mut session.connection.notes;
    notes.set(KARMA, notes.get(KARMA).unwrap_or(0));
    notes.set(KARMA_HISTORY, history);
    if session.is_immune() || found.is_err() {
        return DECLINED;
    }
    // An address whose users authenticate keeps what that gives it.
    if record.is_some() || histories.get(network(session.connection.remote_ip)).is_none() {
        know(session, histories, history);
    }
    let Some(record) = record else { return session.pass("no record") };
    if history > VERY_GOOD {
        session.adjust_karma(1);
    }
    let Some(left) = record.days_left(now, rules) else {
        let what = if record.start == 0 { "no penalty" } else { "penalty expired" };
        return session.pass(format_args!("{what} ({})", record.summary()));
    };
    // Were it not counted, nothing else would come of it.
    let _ = table.update(&key, |old: Option<Record>| {
        let mut record = old.unwrap_or(record);
        record.connects = record.connects.saturating_add(1);
        (Put(record, record.time(now, rules)), ())
    });
    session.connection.notes.set(PENALIZED, true);
    let text = format!("You were naughty. You cannot connect for {left:.2} more days.");
    session.get_reject_as(Code::DenyDisconnect, &text, history)
}

/// The connection ends.
pub(super) fn count(
    session: &mut Session,
    histories: &ByAddress,
    strikes: i64,
    rules: &Rules,
) -> Verdict {
    if session.is_immune() {
        if session.connection.auth_user.is_some() {
            know(session, histories, 1);
        }
        return DECLINED;
    }
    let notes = &session.connection.notes;
    let karma = notes.get(KARMA).unwrap_or(0);
    let is_marked = notes.is_true(NAUGHTY) && !notes.is_true(PENALIZED);
    if karma == 0 && !is_marked {
        session.log(Level::Debug, "no karma");
        return DECLINED;
    }
    let conduct = if karma <= -strikes || is_marked {
        Conduct::Naughty
    } else if karma >= strikes && notes.is_true(TOOK_MESSAGE) {
        Conduct::Nice
    } else {
        Conduct::Neutral
    };
    let (table, key) = entry(session);
    let now = table.now();
    let counted = table.update(&key, |old: Option<Record>| {
        let mut record = old.unwrap_or_default();
        let said = record.count(conduct, now, rules);
        (Put(record, record.time(now, rules)), (said, record.history()))
    });
    if let Ok((said, history)) = counted {
        session.log(Level::Info, format_args!("{said}, (msg: {karma}, his: {history})"));
        know(session, histories, history);
    }
    DECLINED
}

/// Tells the parent how it is with the client's address.
fn know(session: &Session, histories: &ByAddress, history: i64) {
    let history = history.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    histories.set(network(session.connection.remote_ip), history, DAY);
}

/// Where the client's record is.
fn entry(session: &Session) -> (Table, String) {
    (session.store(TABLE), network(session.connection.remote_ip).to_string())
}
