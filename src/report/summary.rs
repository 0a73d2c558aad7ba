//! A report as figures, tables and plots, in the order in which they are shown.

use std::collections::HashMap;

use super::counts::{Client, Counts, Hour, most};
use super::sample::Sample;

/// What a report shows.
#[derive(Debug)]
pub(super) struct Summary {
    /// The first and the last time.
    pub(super) from: String,
    pub(super) to: String,
    /// The totals.
    pub(super) figures: Vec<(&'static str, String)>,
    pub(super) plots: Vec<Plot>,
    pub(super) tables: Vec<Table>,
}

/// A table with a head.  The first column is text; the others are aligned to the right.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) head: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

/// A plot of bars.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What the parts of a bar are.
    pub(super) parts: &'static [&'static str],
    /// A bar each, with its parts.
    pub(super) bars: Vec<(String, Vec<u64>)>,
}

/// The limits of the bars for how long messages took, in seconds.
const LIMITS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

impl Summary {
    pub(super) fn new(counts: &mut Counts, top: usize) -> Summary {
        let (from, to) = counts.times.clone().unwrap_or_default();
        let times = by_time(counts);
        let figures = figures(counts);
        let plots = vec![
            Plot {
                title: "Messages by time",
                parts: &["accepted", "deferred", "refused"],
                bars: bars(&times),
            },
            Plot {
                title: "How long messages took",
                parts: &["messages"],
                bars: latency(&counts.latency),
            },
        ];
        let mut tables = vec![time_table(times), refusals(counts, top)];
        tables.extend(failures(counts, top));
        tables.extend([
            list("Senders", &["sender", "messages"], &counts.senders, top),
            list("Domains of senders", &["domain", "messages"], &counts.sender_domains, top),
            list("Recipients", &["recipient", "messages"], &counts.recipient_names, top),
            clients(&counts.clients, top),
            list("Users", &["user", "sessions"], &counts.users, top),
            list("SPF, DKIM, DMARC, ARC", &["result", "messages"], &counts.authentication, top),
            list("TLS", &["version", "sessions"], &counts.tls, top),
            list("Queues", &["plugin", "messages"], &counts.queues, top),
            hooks(counts),
            outside(counts),
        ]);
        tables.retain(|table| !table.rows.is_empty());
        Summary { from, to, figures, plots, tables }
    }
}

fn figures(counts: &mut Counts) -> Vec<(&'static str, String)> {
    let share = |part: u64| match counts.sessions {
        0 => part.to_string(),
        all => format!("{part} ({} %)", part * 100 / all),
    };
    let mut figures = vec![
        ("connections", counts.connections.to_string()),
        ("sessions that ended", counts.sessions.to_string()),
        ("of them with TLS", share(counts.with_tls)),
        ("of them authenticated", share(counts.with_user)),
        ("messages accepted", counts.accepted.to_string()),
        ("messages deferred", counts.deferred.to_string()),
        ("messages refused", counts.refused.to_string()),
        ("messages in quarantine", counts.quarantined.to_string()),
        ("recipients of accepted messages", counts.recipients.to_string()),
        ("octets of accepted messages", octets(counts.octets)),
        ("refusals of commands and messages", counts.refusals.to_string()),
        ("of them by plugins that failed", counts.failures.to_string()),
    ];
    let latency = &mut counts.latency;
    for (name, percent) in [
        ("half of the messages took at most", 50),
        ("95 of 100 messages took at most", 95),
        ("the slowest message took", 100),
    ] {
        figures.push((name, seconds(latency.percentile(percent))));
    }
    figures.push(("events in the log", counts.events.to_string()));
    if counts.unreadable > 0 {
        figures.push(("events that could not be read", counts.unreadable.to_string()));
    }
    figures
}

/// By the hour, or by the day where there are more than 48 hours.
fn by_time(counts: &Counts) -> Vec<(String, Hour)> {
    let is_long = counts.hours.len() > 48;
    let mut times: Vec<(String, Hour)> = vec![];
    for (hour, count) in &counts.hours {
        let name = match (is_long, hour.split_once('T')) {
            (true, Some((day, _))) => day.to_owned(),
            (false, Some((day, hour))) => format!("{day} {hour}:00"),
            (_, None) => hour.clone(),
        };
        if times.last().is_none_or(|(last, _)| *last != name) {
            times.push((name, Hour::default()));
        }
        if let Some((_, sum)) = times.last_mut() {
            sum.connections += count.connections;
            sum.accepted += count.accepted;
            sum.deferred += count.deferred;
            sum.refused += count.refused;
            sum.refusals += count.refusals;
            sum.octets = sum.octets.saturating_add(count.octets);
        }
    }
    times
}

fn bars(times: &[(String, Hour)]) -> Vec<(String, Vec<u64>)> {
    let parts = |hour: &Hour| vec![hour.accepted, hour.deferred, hour.refused];
    // The year stands at the top of the page.
    let name = |name: &str| name.get(5..).unwrap_or(name).to_owned();
    times.iter().map(|(time, hour)| (name(time), parts(hour))).collect()
}

fn latency(sample: &Sample) -> Vec<(String, Vec<u64>)> {
    let names = LIMITS.iter().map(|limit| format!("under {limit} s"));
    let names = names.chain([format!("{} s or more", LIMITS[LIMITS.len() - 1])]);
    names.zip(sample.buckets(&LIMITS)).map(|(name, count)| (name, vec![count])).collect()
}

fn time_table(times: Vec<(String, Hour)>) -> Table {
    let row = |(name, hour): (String, Hour)| {
        let numbers = [hour.connections, hour.accepted, hour.deferred, hour.refused, hour.refusals];
        let numbers = numbers.iter().map(u64::to_string);
        [name].into_iter().chain(numbers).chain([octets(hour.octets)]).collect()
    };
    Table {
        title: "By time",
        head: &[
            "time (UTC)",
            "connections",
            "accepted",
            "deferred",
            "refused",
            "refusals",
            "octets",
        ],
        rows: times.into_iter().map(row).collect(),
    }
}

fn refusals(counts: &Counts, top: usize) -> Table {
    let sums = counts.refused_by.iter().map(|(place, texts)| (place.clone(), texts.values().sum()));
    let sums: HashMap<(String, String, u64), u64> = sums.collect();
    let mut rows = vec![];
    for ((plugin, hook, code), sum) in most(&sums, top) {
        rows.push(vec![format!("{plugin} at {hook}"), code.to_string(), sum.to_string()]);
        let texts = &counts.refused_by[&(plugin, hook, code)];
        for (text, count) in most(texts, 3) {
            rows.push(vec![format!("    {text}"), String::new(), count.to_string()]);
        }
    }
    Table { title: "Refusals by plugin and reason", head: &["plugin", "code", "refusals"], rows }
}

fn failures(counts: &Counts, top: usize) -> Option<Table> {
    let rows = most(&counts.failed_plugins, top).into_iter();
    let rows: Vec<_> = rows
        .map(|((plugin, hook), count)| vec![format!("{plugin} at {hook}"), count.to_string()])
        .collect();
    let title = "Plugins that failed";
    (!rows.is_empty()).then_some(Table { title, head: &["plugin", "refusals"], rows })
}

fn list(
    title: &'static str,
    head: &'static [&'static str],
    map: &HashMap<String, u64>,
    top: usize,
) -> Table {
    let rows = most(map, top).into_iter().map(|(key, count)| vec![key, count.to_string()]);
    Table { title, head, rows: rows.collect() }
}

fn clients(clients: &HashMap<String, Client>, top: usize) -> Table {
    let connections: HashMap<&String, u64> =
        clients.iter().map(|(ip, client)| (ip, client.connections.max(client.accepted))).collect();
    let row = |(ip, _): (&String, u64)| {
        let client = &clients[ip];
        let name = match client.name.as_str() {
            "" => ip.clone(),
            name => format!("{ip} {name}"),
        };
        let numbers = [client.connections, client.accepted, client.refusals];
        [name].into_iter().chain(numbers.iter().map(u64::to_string)).collect()
    };
    Table {
        title: "Clients",
        head: &["client", "connections", "accepted", "refusals"],
        rows: most(&connections, top).into_iter().map(row).collect(),
    }
}

fn hooks(counts: &mut Counts) -> Table {
    let rows = slowest(&mut counts.hooks, |sample| sample);
    Table {
        title: "Hooks, by the time that they took from sessions",
        head: &["hook", "sessions", "half", "95 of 100", "slowest", "all"],
        rows: rows.into_iter().map(|(row, _)| row).collect(),
    }
}

/// Servers and programs that were asked: block lists, scanners, databases, back ends.
fn outside(counts: &mut Counts) -> Table {
    let rows = slowest(&mut counts.outside, |outside| &mut outside.sample);
    let failed = |name: &str| counts.outside.get(name).map_or(0, |outside| outside.failed);
    let rows = rows.into_iter().map(|(mut row, name)| {
        row.push(failed(&name).to_string());
        row
    });
    Table {
        title: "DNS, scanners and other servers, by the time that they took from sessions",
        head: &["server", "sessions", "half", "95 of 100", "slowest", "all", "no answer"],
        rows: rows.collect(),
    }
}

/// A row for each with its name, the one that took longest in all first.
fn slowest<V>(
    map: &mut HashMap<String, V>,
    sample: impl Fn(&mut V) -> &mut Sample,
) -> Vec<(Vec<String>, String)> {
    let mut rows: Vec<(f64, Vec<String>, String)> = vec![];
    for (name, value) in map {
        let sample = sample(value);
        let times = [50, 95, 100].map(|percent| seconds(sample.percentile(percent)));
        let mut row = vec![name.clone(), sample.len().to_string()];
        row.extend(times);
        row.push(seconds(sample.total()));
        rows.push((sample.total(), row, name.clone()));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
    rows.into_iter().map(|(_, row, name)| (row, name)).collect()
}

/// Seconds with as many places as somebody wants to read.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 100.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 0.001 => format!("{:.0} ms", s * 1000.0),
        s if s > 0.0 => "under 1 ms".to_owned(),
        _ => "0 s".to_owned(),
    }
}

/// Octets in a unit of which there are fewer than ten thousand.
fn octets(octets: u64) -> String {
    let mut count = octets;
    for unit in ["", " KiB", " MiB", " GiB"] {
        if count < 10_000 {
            return format!("{count}{unit}");
        }
        count /= 1024;
    }
    format!("{count} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_that_people_read() {
        let times = [0.0, 0.0004, 0.0123, 1.25, 3600.0].map(seconds);
        assert_eq!(times, ["0 s", "under 1 ms", "12 ms", "1.2 s", "3600 s"]);
        let sizes = [0, 9_999, 10_000, 20_480_000, u64::MAX].map(octets);
        assert_eq!(sizes, ["0", "9999", "9 KiB", "19 MiB", "16777215 TiB"]);
    }

    #[test]
    fn many_hours_become_days() {
        let mut counts = Counts::default();
        for day in 1..=3 {
            for hour in 0..24 {
                let hour = format!("2026-11-{day:02}T{hour:02}");
                counts.hours.insert(hour, Hour { accepted: 2, ..Hour::default() });
            }
        }
        let times = by_time(&counts);
        let times: Vec<_> =
            times.iter().map(|(name, hour)| (name.as_str(), hour.accepted)).collect();
        assert_eq!(times, [("2026-11-01", 48), ("2026-11-02", 48), ("2026-11-03", 48)]);
    }
}
