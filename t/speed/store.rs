//! What a greylisting decision costs: a look at an entry and a change of it.

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use qpsmtpd::config::Config;
use qpsmtpd::store::{Put, Store, Table};

use crate::{Result, say};

/// How many decisions are measured, and about how many clients.
const DECISIONS: u32 = 20_000;
const CLIENTS: u32 = 5_000;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Measures LMDB in a temporary folder, and Redis where `url` says.
pub(crate) fn measure(url: Option<&str>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config");
    fs::create_dir(&config)?;
    let lmdb = format!("lmdb {}", folder.path().join("store").display());
    let stores = [Some(lmdb), url.map(|url| format!("redis {url}"))];
    for place in stores.into_iter().flatten() {
        fs::write(config.join("store"), &place)?;
        let before = memory();
        let store = Rc::new(Store::new(&Config::new(vec![config.clone()]))?);
        let table = Table::new(store, "speed", None);
        decide(&table, 0)?;
        let grown = memory().saturating_sub(before);
        let (cpu, began) = (processor(), Instant::now());
        for number in 0..DECISIONS {
            decide(&table, number % CLIENTS)?;
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(DECISIONS);
        let (cpu, wall) = (each(processor() - cpu), each(began.elapsed()));
        let kind = place.split(' ').next().unwrap_or_default();
        say(&format!(
            "{kind:<10} {cpu:6.1} us of the processor for a decision, {wall:.1} us in all; \
             {grown} KiB more once it is open"
        ));
    }
    Ok(())
}

/// What greylisting does for a client that is known.
fn decide(table: &Table, client: u32) -> Result<()> {
    let key = format!("192.0.2.{client}:sender{client}@example.com:recipient@example.org");
    let known: Option<String> = table.get(&key)?;
    let seen = known.map_or(0, |value| value.len());
    table.update(&key, |old: Option<String>| {
        let count = old.and_then(|old| old.split(':').next()?.parse::<u64>().ok()).unwrap_or(0) + 1;
        (Put(format!("{count}:1795910058:1795910058:{seen}"), MONTH), ())
    })?;
    Ok(())
}

fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel knows what this process uses");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// What this process has for itself, in KiB.
fn memory() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
