//! The last events on the page: what was taken and refused.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::card::{card, table};
use super::words::escaped;
use crate::server::status::source::Snapshot;

/// How many are shown at most.
const EVENTS: usize = 20;

/// Its table: the newest first.
pub(super) fn card_of(seen: &Snapshot) -> String {
    let rows: Vec<_> = told(&seen.events).take(EVENTS).map(row_of).collect();
    let columns = [
        ("Time", "t"),
        ("What", "t"),
        ("From", "t"),
        ("Sender", "a"),
        ("About", "a"),
        ("Decided by", "t"),
        ("Reply", "t r"),
    ];
    card("wide events", "Last events", "", &table(&columns, &rows, "None yet."))
}

/// The events to show, of events that begin with the newest: each refused message once.
pub(in super::super) fn told(events: &[Value]) -> impl Iterator<Item = &Value> {
    let newest_first = events.windows(2).map(|pair| (&pair[0], pair.get(1)));
    let oldest = events.last().map(|event| (event, None));
    let shown = newest_first.chain(oldest).filter(|(event, before)| !is_told(event, *before));
    shown.map(|(event, _)| event)
}

/// Who wrote to whom: the sender, and what else the event is about.
pub(in super::super) fn parties(event: &Value) -> (&str, &str) {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    match (text("hook"), text("about")) {
        (_, "") => (text("sender"), text("recipient")),
        ("mail", about) => (about, text("recipient")),
        (_, about) => (text("sender"), about),
    }
}

/// Is this the end of a message of which the event before has told already that it was refused?
fn is_told(event: &Value, before: Option<&Value>) -> bool {
    let same = |before: &Value| {
        ["ip", "plugin", "code", "text"].iter().all(|name| event[name] == before[name])
    };
    event["what"] != "refusal" && before.is_some_and(|it| it["what"] == "refusal" && same(it))
}

fn row_of(event: &Value) -> Vec<String> {
    let text = |name: &str| escaped(event[name].as_str().unwrap_or_default());
    let address = |address: &str| {
        let bare = address.strip_prefix('<').and_then(|address| address.strip_suffix('>'));
        // The null sender stays as it is.
        let bare = bare.filter(|bare| !bare.is_empty()).unwrap_or(address);
        escaped(bare).replace('@', "<wbr>@")
    };
    let what = event["what"].as_str().unwrap_or_default();
    let code = event["code"].as_u64().unwrap_or_default();
    let class = match code {
        200..300 => "good",
        400..500 => "mild",
        _ => "bad",
    };
    let (sender, about) = parties(event);
    vec![
        clock(event["time"].as_i64().unwrap_or_default()),
        format!("<span class=\"tag {class}\">{}</span>", escaped(what)),
        text("ip"),
        address(sender),
        address(about),
        text("plugin"),
        format!("{code} {}", text("text")),
    ]
}

/// The time of day on this machine.
pub(in super::super) fn clock(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_that_was_refused_is_told_once() {
        let end =
            json!({"what": "refused", "ip": "192.0.2.1", "plugin": "a", "code": 552, "text": "x"});
        let mut refusal = end.clone();
        refusal["what"] = "refusal".into();
        assert!(is_told(&end, Some(&refusal)));
        assert!(!is_told(&refusal, Some(&refusal)) && !is_told(&end, Some(&end)));
        refusal["text"] = "y".into();
        assert!(!is_told(&end, Some(&refusal)) && !is_told(&end, None));
    }

    #[test]
    fn addresses_are_bare_and_may_be_broken() {
        let event = json!({"what": "refusal", "hook": "rcpt", "code": 550, "sender": "<>",
            "about": "<b@example.com>"});
        assert_eq!(row_of(&event)[3..5], ["&lt;&gt;", "b<wbr>@example.com"]);
    }
}
