use serde_json::json;

use super::*;
use crate::metrics::{add, keep, remember};
use crate::server::scoreboard::Scoreboard;
use crate::server::status::history::History;
use crate::sys::title;

/// A source with a client that is connected.
fn source() -> (Source, Scoreboard) {
    let board = Scoreboard::new(3).unwrap();
    let (_, row) = board.free().unwrap();
    row.begins();
    title::share(row.shown());
    title::serves("192.0.2.1");
    title::does("DATA");
    let hooks = json!({"hooks": [{"list": "plugins", "hook": "rcpt", "when": "after RCPT",
        "handlers": [{"plugin": "rcpt_ok", "line": "plugins:3", "kind": "native", "timeout": 300,
            "on_error": "tempfail"}]}]});
    let history = History::new().unwrap();
    let source = Source { view: board.view(), history, began: 0, me: "<mx>".into(), hooks };
    (source, board)
}

#[test]
fn what_clients_say_is_text_only() {
    let (source, board) = source();
    keep(board.own_counts());
    let evil = "<script>alert(1)</script>\"'&";
    add(Metric::Refusals, &["rcpt", evil, "5xx"], 1);
    remember(&["0", evil, evil, evil, evil, "550", evil, evil, evil, evil]);
    title::serves(evil);
    title::does(evil);
    title::asks(evil);
    keep(None);
    let page = html(&source);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"), "{page}");
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(!page.contains("alert(1)</script>"), "{page}");
    assert!(page.contains("<h1>&lt;mx&gt;</h1>"), "{page}");
}

#[test]
fn the_page_shows_what_there_is_and_needs_nothing_else() {
    let (source, board) = source();
    keep(board.own_counts());
    add(Metric::Refusals, &["rcpt", "rcpt_ok", "5xx"], 1234);
    add(Metric::Queue, &["queue/maildir", "queued"], 5);
    keep(None);
    source.sample();
    source.sample();
    let Answer { content: page, fields, .. } = answer(&source);
    for part in [
        "<td class=\"t\">192.0.2.1</td>",
        "<td class=\"t\">DATA</td>",
        "<td class=\"n\">1\u{202f}234</td>",
        "<td class=\"t\">queue/maildir</td><td class=\"n\"><span class=\"good\">5</span></td>",
        "<h3>rcpt <span",
        "<li>rcpt_ok <span",
        "<b class=\"\">1 of 3</b>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let outside = regex::Regex::new(r#"(src|href|url)\s*[=(]\s*"?(https?:)?//"#).unwrap();
    assert!(!outside.is_match(&page), "{page}");
    assert!(fields.contains("default-src 'none'"), "{fields}");
}
