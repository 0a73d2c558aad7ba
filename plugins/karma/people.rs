//! Records for people: `qpsmtpd --store`.

use std::net::IpAddr;
use std::time::Duration;

use super::record::{Record, Rules};
use crate::error::{Error, Result};
use crate::store::{Keep, Kept, Put, Table, Taken, network, numbered};

/// What an entry says.
pub(super) fn explain(kept: &Kept, rules: &Rules) -> String {
    let Ok(record) = kept.value.parse::<Record>();
    let forgotten = kept.left.as_secs() / 86400;
    let record = record.shown(kept.now, rules);
    format!("{record}; forgotten in {forgotten} days if it does not come back")
}

/// A record of Perl qpsmtpd.  When its address was there last is not in it.
pub(super) fn take_over(key: &str, value: &str, now: Duration, rules: &Rules) -> Option<Taken> {
    let key = network(numbered(key)?).to_string();
    let Ok(record) = value.parse::<Record>();
    let is_known = record != Record::default();
    is_known.then(|| Taken { key, value: record.to_string(), time: record.time(now, rules) })
}

/// The command `capture`: a penalty, as if the address had been naughty.
pub(super) fn capture(table: &Table, ip: &str, rules: &Rules) -> Result<String> {
    let now = table.now();
    change(
        table,
        ip,
        |old| {
            let mut record = old.unwrap_or_default();
            record.naughty = record.naughty.saturating_add(1);
            record.start = now.as_secs();
            Some(record)
        },
        rules,
    )
}

/// The command `release`: no penalty, and no naughty connections.
pub(super) fn release(table: &Table, ip: &str, rules: &Rules) -> Result<String> {
    change(table, ip, |old| Some(Record { start: 0, naughty: 0, ..old? }), rules)
}

fn change(
    table: &Table,
    ip: &str,
    change: impl Fn(Option<Record>) -> Option<Record>,
    rules: &Rules,
) -> Result<String> {
    let ip: IpAddr = ip.parse().map_err(|_| format!("not an IP: {ip}"))?;
    let key = network(ip).to_string();
    let now = table.now();
    let changed = table.update(&key, |old| match change(old) {
        Some(record) => (Put(record, record.time(now, rules)), Some(record)),
        None => (Keep, None),
    });
    match changed.map_err(Error::new)? {
        Some(record) => Ok(format!("{key}: {}", record.shown(now, rules))),
        None => Err(Error::new(format!("nothing is known of {key}"))),
    }
}
