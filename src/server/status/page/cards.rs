//! What stands on the page below the figures: plots and tables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::card::{card, table};
use super::events;
use super::plot::{Curve, plot};
use super::words::{escaped, number, span};
use crate::metrics::{Metric, Series};
use crate::server::status::history::{Sample, rates};
use crate::server::status::source::{Snapshot, Source, Times};

/// How many rows a table has at most.
const ROWS: usize = 10;
const CLIENTS: usize = 50;

/// All of them.
pub(super) fn all(source: &Source, seen: &Snapshot) -> String {
    [
        messages(seen),
        connections(seen),
        clients(seen),
        refusals(seen),
        format!("<div class=\"pile\">{}{}</div>", queues(seen), outside(seen)),
        hooks(seen),
        events::card_of(seen),
        order(&source.hooks),
    ]
    .concat()
}

fn messages(seen: &Snapshot) -> String {
    let curves = [
        Curve { class: "good", points: rates(&seen.samples, |sample| sample.accepted) },
        Curve { class: "bad", points: rates(&seen.samples, |sample| sample.refusals) },
    ];
    let legend = "<span class=\"legend\"><span class=\"good\">— accepted</span>\
         <span class=\"bad\">- - refusals</span></span>";
    let svg =
        plot("Messages accepted and refusals per minute, in the last hour", seen.now, &curves);
    card("", &format!("{legend}Messages per minute"), "", &svg)
}

fn connections(seen: &Snapshot) -> String {
    let points = rates(&seen.samples, |sample: &Sample| sample.connections);
    let svg = plot(
        "Connections per minute, in the last hour",
        seen.now,
        &[Curve { class: "curve", points }],
    );
    card("", "Connections per minute", "", &svg)
}

fn clients(seen: &Snapshot) -> String {
    let rows = seen.clients.iter().take(CLIENTS).map(|client| {
        let asks = match &*client.asks {
            "" => "<span class=\"soft\">–</span>".to_owned(),
            plugin => escaped(plugin),
        };
        let since = span(client.seconds as f64);
        let pid = client.pid.to_string();
        vec![escaped(&client.ip), escaped(&client.does), asks, since, pid]
    });
    let columns = [
        ("Address", "t"),
        ("Does", "t"),
        ("Asks the plugin", "t"),
        ("For", "n"),
        ("Process", "n more"),
    ];
    let rows: Vec<_> = rows.collect();
    let content = table(&columns, &rows, "Nobody.");
    let more = format!("{} busy, {} waiting", seen.busy, seen.waiting);
    card("wide", "Connected now", &more, &content)
}

fn refusals(seen: &Snapshot) -> String {
    let mut all: Vec<&Series> = seen.of(Metric::Refusals).collect();
    all.sort_by_key(|series| std::cmp::Reverse(series.values[0]));
    let rows = all.iter().take(ROWS).map(|series| {
        let [hook, plugin, class] = &series.labels[..] else { return vec![] };
        let of_class = match class.as_str() {
            "failure" => "bad",
            class if class.starts_with('4') => "mild",
            _ => "soft",
        };
        let class = format!("<span class=\"{of_class}\">{}</span>", escaped(class));
        vec![escaped(plugin), escaped(hook), class, number(series.values[0])]
    });
    let columns = [("Plugin", "t"), ("Hook", "t"), ("How", "t"), ("Count", "n")];
    let rows: Vec<_> = rows.collect();
    card("", "Refusals", "since the start", &table(&columns, &rows, "None yet."))
}

fn queues(seen: &Snapshot) -> String {
    let mut all: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for series in seen.of(Metric::Queue) {
        let [plugin, result] = &series.labels[..] else { continue };
        *all.entry(plugin).or_default().entry(result).or_default() += series.values[0];
    }
    let rows = all.iter().map(|(plugin, results)| {
        let count = |result: &str| results.get(result).copied().unwrap_or(0);
        let shown = |class: &str, count: u64| match count {
            0 => "<span class=\"soft\">0</span>".to_owned(),
            _ => format!("<span class=\"{class}\">{}</span>", number(count)),
        };
        vec![
            escaped(plugin),
            shown("good", count("queued")),
            shown("mild", count("deferred") + count("declined")),
            shown("", count("refused")),
            shown("bad", count("failure")),
        ]
    });
    let columns =
        [("Plugin", "t"), ("Queued", "n"), ("Not now", "n"), ("Refused", "n"), ("Failed", "n")];
    let rows: Vec<_> = rows.collect();
    card("", "Queues", "since the start", &table(&columns, &rows, "No message yet."))
}

fn hooks(seen: &Snapshot) -> String {
    let mut all: Vec<(&Series, Times)> =
        seen.of(Metric::HookSeconds).map(|series| (series, Times::of(series))).collect();
    all.sort_by(|one, other| other.1.sum.total_cmp(&one.1.sum));
    let rows = all.iter().take(ROWS).map(|(series, times)| {
        let [hook, plugin] = &series.labels[..] else { return vec![] };
        [vec![escaped(plugin), escaped(hook)], durations(times)].concat()
    });
    let columns = [
        ("Plugin", "t"),
        ("Hook", "t"),
        ("Calls", "n more"),
        ("Mean", "n"),
        ("95 % within", "n more"),
        ("In all", "n"),
    ];
    let rows: Vec<_> = rows.collect();
    card("wide", "Slowest hooks", "by total time", &table(&columns, &rows, "None yet."))
}

fn outside(seen: &Snapshot) -> String {
    let mut rows = vec![];
    for series in seen.of(Metric::OutsideSeconds) {
        let name = &series.labels[0];
        let failed = seen.sum(Metric::Outside, |labels| labels[0] == *name && labels[1] != "ok");
        let failed = match failed {
            0 => "<span class=\"soft\">0</span>".to_owned(),
            _ => format!("<span class=\"bad\">{}</span>", number(failed)),
        };
        rows.push([vec![escaped(name), failed], durations(&Times::of(series))].concat());
    }
    let columns = [
        ("Who", "t"),
        ("Failed", "n"),
        ("Calls", "n more"),
        ("Mean", "n"),
        ("95 % within", "n more"),
        ("In all", "n"),
    ];
    card("", "Other programs and servers", "", &table(&columns, &rows, "None was asked yet."))
}

fn durations(times: &Times) -> Vec<String> {
    let most = times.most.map_or("more".to_owned(), span);
    vec![number(times.count), span(times.mean()), most, span(times.sum)]
}

/// Who is asked at which hook.
fn order(hooks: &Value) -> String {
    let text = |value: &Value, name: &str| escaped(value[name].as_str().unwrap_or_default());
    let folder = format!("{}/", text(hooks, "folder"));
    let mut content = String::new();
    let mut list = String::new();
    for hook in hooks["hooks"].as_array().into_iter().flatten() {
        if text(hook, "list") != list {
            list = text(hook, "list");
            if list != "plugins" {
                content += &format!("<h2>Clients with the plugins of {list}</h2>");
            }
        }
        content += &format!(
            "<section><h3>{} <span class=\"soft\">– {}</span></h3><ol>",
            text(hook, "hook"),
            text(hook, "when")
        );
        for handler in hook["handlers"].as_array().into_iter().flatten() {
            let (timeout, on_error) = (handler["timeout"].to_string(), text(handler, "on_error"));
            let (plugin, line) = (text(handler, "plugin"), text(handler, "line"));
            content += &format!(
                "<li>{plugin} <span class=\"soft\">{}, {}, {} s, {on_error}</span></li>",
                line.strip_prefix(&folder).unwrap_or(&line),
                text(handler, "kind"),
                escaped(&timeout),
            );
        }
        content += "</ol></section>";
    }
    let folder = text(hooks, "folder");
    format!(
        "<section class=\"card wide\"><details><summary>Which plugins are asked, in which order</summary>\
         <p class=\"soft\">Each with its line in {folder}, the language, how long it may take, and what \
         follows when it fails.</p><div class=\"order\">{content}</div></details></section>"
    )
}
