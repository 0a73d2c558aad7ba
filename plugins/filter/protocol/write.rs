//! What a filter is told and asked, as lines.

use std::time::{SystemTime, UNIX_EPOCH};

use super::tables::{EVENTS, Event, Phase, Request, Version};

/// The lines with which a filter is greeted.
pub(crate) fn greeting(version: Version, me: &str) -> String {
    let server = env!("CARGO_PKG_VERSION");
    format!(
        "config|smtpd-version|{server}\nconfig|protocol|{version}\nconfig|smtp-session-timeout|300\n\
         config|subsystem|smtp-in\nconfig|admd|{}\nconfig|ready\n",
        field(me, true)
    )
}

/// The line that tells an event of a session: its fields in the order of the newest version, of which
/// the last may be left out.
pub(crate) fn report(version: Version, event: Event, session: u64, fields: &[&str]) -> Vec<u8> {
    let row = &EVENTS[event as usize];
    let mut fields = fields.to_vec();
    if row.swapped.is_some_and(|last| version <= last) && fields.len() > 1 {
        let last = fields.len() - 1;
        fields.swap(last - 1, last);
    }
    let time = timestamp();
    let mut line = format!("report|{version}|{time}|smtp-in|{}|{session:016x}", row.name);
    add_fields(&mut line, &fields);
    line.into_bytes()
}

/// The line that asks about a phase.
pub(crate) fn ask(version: Version, phase: Phase, request: Request, fields: &[&str]) -> Vec<u8> {
    let mut line = head(version, phase, request);
    // There is a last field always, and be it an empty one.
    add_fields(&mut line, if fields.is_empty() { &[""] } else { fields });
    line.into_bytes()
}

/// Everything before the line of a message in the line that asks about it.
pub(crate) fn data_head(version: Version, request: Request) -> Vec<u8> {
    (head(version, Phase::DataLine, request) + "|").into_bytes()
}

fn head(version: Version, phase: Phase, Request { session, token }: Request) -> String {
    let (time, name) = (timestamp(), phase.row().name);
    format!("filter|{version}|{time}|smtp-in|{name}|{session:016x}|{token:016x}")
}

fn add_fields(line: &mut String, fields: &[&str]) {
    for (at, text) in fields.iter().enumerate() {
        line.push('|');
        line.push_str(&field(text, at + 1 == fields.len()));
    }
    line.push('\n');
}

/// A field: without what ends it.
fn field(text: &str, is_last: bool) -> String {
    let ends = |c: char| c.is_control() && c != '\t' || c == '|' && !is_last;
    text.replace(ends, "?")
}

fn timestamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", now.as_secs(), now.subsec_micros())
}
