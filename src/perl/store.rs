//! The store, for Perl plugins: octets, and changes that are made where nobody came in between.

use std::time::Duration;

use crate::hook::Session;
use crate::perl::wire::Item;
use crate::store::{Change, Table};

/// The value of a key; undef where there is none.  Arguments: table, key.
pub(super) fn get(session: &Session, args: &[Item]) -> Result<Item, String> {
    let (table, key) = of(session, args);
    let value = table.get_octets(key).map_err(|error| error.to_string())?;
    Ok(value.map_or(Item::Undef, Item::Text))
}

/// Gives a key a value, or where that is undef forgets it, if its value is still the old one, undef for
/// none.  True: it was.  Arguments: table, key, old, new, seconds.
pub(super) fn swap(session: &Session, args: &[Item]) -> Result<Item, String> {
    let (table, key) = of(session, args);
    let octets = |at: usize| match args.get(at) {
        Some(Item::Text(octets)) => Some(octets.as_slice()),
        _ => None,
    };
    let seconds = args.get(4).and_then(Item::as_number).and_then(|time| u64::try_from(time).ok());
    let time = Duration::from_secs(seconds.unwrap_or(0));
    let mut is_old = false;
    let changed = table.update_octets(key, &mut |found| {
        is_old = found == octets(2);
        match octets(3) {
            _ if !is_old => Change::Keep,
            Some(new) if !time.is_zero() => Change::Put(new.to_vec(), time),
            _ => Change::Remove,
        }
    });
    changed.map_err(|error| error.to_string())?;
    Ok(Item::number(i32::from(is_old)))
}

/// All keys.  Arguments: table.
pub(super) fn keys(session: &Session, args: &[Item]) -> Result<Item, String> {
    let (table, _) = of(session, args);
    let entries = table.entries().map_err(|error| error.to_string())?;
    Ok(Item::texts(entries.into_iter().map(|kept| kept.raw)))
}

fn of<'a>(session: &Session, args: &'a [Item]) -> (Table, &'a [u8]) {
    let name = args.first().map(Item::as_text).unwrap_or_default();
    (session.store(&name), args.get(1).map(Item::as_octets).unwrap_or_default())
}
