//! The page: one document with nothing from elsewhere.  It needs no script; with one it stays up to date.

mod card;
mod cards;
mod events;
mod plot;
mod words;

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

pub(super) use self::events::{clock, parties, told};
pub(super) use self::words::span as words_span;
use self::words::{escaped, number, span};
use super::http::Answer;
use super::source::{Snapshot, Source};
use crate::metrics::Metric;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The page with what a browser may do with it: nothing but this style and this script counts, so that
/// what a client has said could do no harm even if it were not text only.
pub(super) fn answer(source: &Source) -> Answer {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(STYLE),
        digest(SCRIPT),
    );
    let fields = format!("Content-Security-Policy: {policy}\r\nX-Frame-Options: DENY\r\n");
    Answer { fields, ..Answer::found("text/html; charset=utf-8", html(source)) }
}

fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}

fn html(source: &Source) -> String {
    let seen = source.look();
    let (me, version) = (escaped(&source.me), env!("CARGO_PKG_VERSION"));
    let up = span(seen.now.saturating_sub(source.began) as f64);
    let (tiles, cards) = (tiles(source, &seen), cards::all(source, &seen));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{me} – qpsmtpd</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style>\
         <noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript></head><body>\n\
         <header><h1>{me}</h1><p>qpsmtpd {version}, up {up}</p></header>\n\
         <main><div class=\"tiles\">{tiles}</div><div class=\"cards\">{cards}</div></main>\n\
         <footer><span id=\"state\">reload the page to see what is new</span> · \
         <a href=\"/status.json\">JSON</a> · <a href=\"/metrics\">Prometheus</a></footer>\n\
         <script>{SCRIPT}</script></body></html>\n"
    )
}

/// What matters most, in figures.
fn tiles(source: &Source, seen: &Snapshot) -> String {
    let hour = |now: u64, before: fn(&super::history::Sample) -> u64| {
        let first = seen.samples.iter().find(|sample| sample.time + 3600 >= seen.now);
        number(now.saturating_sub(first.map_or(0, before)))
    };
    let connections = seen.sum(Metric::Connections, |_| true);
    let accepted = seen.sum(Metric::Messages, |labels| labels[0] == "accepted");
    let refusals = seen.sum(Metric::Refusals, |_| true);
    let failures = seen.sum(Metric::Refusals, |labels| labels[2] == "failure")
        + seen.sum(Metric::WorkerFailures, |_| true)
        + seen.sum(Metric::Reloads, |labels| labels[0] == "failed");
    let busy = format!("{} of {}", seen.busy, source.view.most());
    let tile = |figure: String, class: &str, text: &str| {
        format!("<div class=\"tile\"><b class=\"{class}\">{figure}</b><span>{text}</span></div>")
    };
    let of_failures = if failures > 0 { "bad" } else { "" };
    [
        tile(busy, "", "connected now"),
        tile(hour(connections, |sample| sample.connections), "", "connections in the last hour"),
        tile(
            hour(accepted, |sample| sample.accepted),
            "good",
            "messages accepted in the last hour",
        ),
        tile(hour(refusals, |sample| sample.refusals), "", "refusals in the last hour"),
        tile(number(failures), of_failures, "failures since the start"),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
