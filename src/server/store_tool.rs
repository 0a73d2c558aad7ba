//! `--store`: what plugins remember, for people.  It works while daemons do.

use std::io::{BufRead, stdin};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::plugin;
use crate::server::console::{say, warn};
use crate::server::{account, privileges};
use crate::store::{Kept, Store, Table};

/// What can be done, with the words that come after it.
const ACTIONS: &str = "list [PLUGIN [PART]], show PLUGIN KEY, explain PLUGIN [KEY], clear PLUGIN [KEY], import PLUGIN, tend, and what plugins add: COMMAND PLUGIN WORD";

/// Those that all tables have.
const FOR_ALL: [&str; 4] = ["list", "show", "explain", "clear"];

/// Answers `--store ACTION [PLUGIN [KEY]]`, as the user that sessions run as.
///
/// # Errors
/// There is no such action, plugin or entry, or the store does not answer.
pub(super) fn run(words: &[String], user: Option<&str>) -> Result<()> {
    let config = Config::from_env();
    config.reachable()?;
    match account::for_sessions(user)? {
        Some(account) => {
            config.set_home(account::home(&account));
            privileges::drop_to(&account)?;
        }
        None => config.set_home(account::own_home()),
    }
    if let Some(error) = config.check_settings().into_iter().next() {
        return Err(error);
    }
    let store = Rc::new(Store::new(&config)?);
    let table = |name: &str| Table::new(store.clone(), name, None);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["tend"] => {
            store.tend(&|level, text| warn(format_args!("{}: {text}", level.name())));
            Ok(())
        }
        ["import", name] => import(&table(name), name),
        [command, name, word] if !FOR_ALL.contains(&command) => {
            command_of_plugin(&config, &table(name), [command, name, word])
        }
        _ if !store.exists() => Err(Error::new("the store is empty: no plugin has used it yet")),
        ["list"] => list_tables(&store),
        ["list", name] => list(&table(name), ""),
        ["list", name, part] => list(&table(name), part),
        ["show", name, key] => show(&table(name), key),
        ["explain", name] => explain(&config, name, &entries(&table(name))?),
        ["explain", name, key] => explain(&config, name, &[entry(&table(name), key)?]),
        ["clear", name] => clear(&table(name), name),
        ["clear", name, key] => match table(name).remove(octets(key)).map_err(Error::new)? {
            true => Ok(()),
            false => Err(no_entry(key)),
        },
        _ => Err(Error::new(format!("--store has the actions {ACTIONS}"))),
    }
}

fn list_tables(store: &Store) -> Result<()> {
    let tables = store.tables().map_err(Error::new)?;
    say(&tables.iter().map(|(name, count)| format!("{name}\t{count}\n")).collect::<String>());
    Ok(())
}

/// A line for each entry whose key has `part` in it, as [`import`] takes them.
fn list(table: &Table, part: &str) -> Result<()> {
    for kept in entries(table)?.iter().map(Shown::new).filter(|kept| kept.key.contains(part)) {
        say(&format!("{}\t{}\t{}\n", kept.key, kept.seconds, kept.value));
    }
    Ok(())
}

fn show(table: &Table, key: &str) -> Result<()> {
    let kept = entry(table, key)?;
    let Shown { key, value, seconds } = Shown::new(&kept);
    say(&format!("key: {key}\nvalue: {value}\nkept: until {}, {seconds} seconds\n", end(&kept)));
    Ok(())
}

/// What the plugin says of its entries; the plugin has to be in `config/plugins`, since its arguments
/// may count.
fn explain(config: &Config, name: &str, entries: &[Kept]) -> Result<()> {
    let (plugins, errors) = plugin::check(config);
    errors.iter().for_each(warn);
    let tables = plugins.tables();
    let Some((_, explain)) = tables.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = tables.iter().map(|(known, _)| *known).collect();
        let text = format!("no plugin explains '{name}' (known: {})", known.join(", "));
        return Err(Error::new(text));
    };
    for kept in entries {
        say(&format!("{}: {}\n", shown(kept.key.as_bytes()), shown(explain(kept).as_bytes())));
    }
    Ok(())
}

/// A command that a plugin has added; the plugin has to be in `config/plugins`.
fn command_of_plugin(config: &Config, table: &Table, words: [&str; 3]) -> Result<()> {
    let (plugins, errors) = plugin::check(config);
    errors.iter().for_each(warn);
    let [command, name, word] = words;
    let found = plugins.commands().iter().find(|(table, own, _)| (*table, *own) == (name, command));
    let Some((_, _, run)) = found else {
        return Err(Error::new(format!("no plugin has '{command} {name}' (known: {ACTIONS})")));
    };
    say(&format!("{}\n", shown(run(table, word)?.as_bytes())));
    Ok(())
}

fn clear(table: &Table, name: &str) -> Result<()> {
    let mut count = 0;
    for kept in entries(table)? {
        count += usize::from(table.remove(&kept.raw).map_err(Error::new)?);
    }
    say(&format!("{name}: {count} entries forgotten\n"));
    Ok(())
}

/// Takes lines of `KEY SECONDS VALUE` with tabs between from standard input.
fn import(table: &Table, name: &str) -> Result<()> {
    let mut count = 0;
    for (number, line) in stdin().lock().lines().enumerate() {
        let at = |text: &str| Error::at("standard input", number + 1, text);
        let line = line.map_err(|error| at(&error.to_string()))?;
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        let [key, seconds, value] = parts[..] else {
            return Err(at("not KEY, SECONDS and VALUE with tabs between them"));
        };
        let seconds = seconds.parse().map_err(|_| at("not a number of seconds"))?;
        let value = String::from_utf8_lossy(&octets(value)).into_owned();
        table.put(octets(key), value, Duration::from_secs(seconds)).map_err(Error::new)?;
        count += 1;
    }
    say(&format!("{name}: {count} entries imported\n"));
    Ok(())
}

fn entries(table: &Table) -> Result<Vec<Kept>> {
    table.entries().map_err(Error::new)
}

fn entry(table: &Table, key: &str) -> Result<Kept> {
    let octets = octets(key);
    entries(table)?.into_iter().find(|kept| kept.raw == octets).ok_or_else(|| no_entry(key))
}

fn no_entry(key: &str) -> Error {
    Error::new(format!("there is no entry '{key}'"))
}

fn end(kept: &Kept) -> String {
    let left = SignedDuration::try_from(kept.left).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(left).unwrap_or(Timestamp::MAX).strftime("%F %T UTC").to_string()
}

/// An entry as it is shown.
struct Shown {
    key: String,
    value: String,
    seconds: u64,
}

impl Shown {
    fn new(kept: &Kept) -> Shown {
        let seconds = kept.left.as_secs();
        Shown { key: shown(&kept.raw), value: shown(kept.value.as_bytes()), seconds }
    }
}

/// Octets as text of one line, without what a terminal would obey.
fn shown(octets: &[u8]) -> String {
    let hex =
        |octets: &[u8]| octets.iter().map(|octet| format!("\\x{octet:02x}")).collect::<String>();
    let mut text = String::new();
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() || c == '\\' {
                true => text += &hex(c.encode_utf8(&mut [0; 4]).as_bytes()),
                false => text.push(c),
            }
        }
        text += &hex(chunk.invalid());
    }
    text
}

/// What [`shown`] has made a text of.
fn octets(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut octets = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let octet = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match octet {
            Some(octet) => {
                octets.push(octet);
                octets.extend(&part.as_bytes()[2..]);
            }
            None => octets.extend([b"\\x", part.as_bytes()].concat()),
        }
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_given_back() {
        for (raw, text) in [
            (&b"<a@b.example>"[..], "<a@b.example>"),
            (b"a\tb\n\\c\x1b[31m", "a\\x09b\\x0a\\x5cc\\x1b[31m"),
            ("b\u{fc}\u{85}".as_bytes(), "b\u{fc}\\xc2\\x85"),
            (b"\xff\xfe", "\\xff\\xfe"),
        ] {
            assert_eq!(shown(raw), text);
            assert_eq!(octets(text), raw);
        }
        assert_eq!(octets("\\xzz\\x4"), b"\\xzz\\x4");
    }
}
