//! `--status`: what a running daemon serves at `config/status_listen`, for people at a terminal.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::page::{clock, parties, told, words_span as span};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::log;
use crate::server::account;
use crate::server::console::say;
use crate::settings::{STATUS_LISTEN, StatusPlace};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is asked while people watch.
const PACE: Duration = Duration::from_secs(2);

/// The longest answer in octets.
const LONGEST: u64 = 64 << 20;

/// Puts the cursor in the first place of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How many rows of a table are shown.
const ROWS: usize = 10;

/// Shows the status once, or again and again.
///
/// # Errors
/// No status is served, or nobody answers.
pub(in crate::server) fn show(watch: bool, user: Option<&str>) -> Result<()> {
    let config = Config::from_env();
    config.reachable()?;
    let account = account::for_sessions(user)?;
    config.set_home(account.map_or_else(account::own_home, |account| account::home(&account)));
    if let Some(error) = config.check_settings().into_iter().next() {
        return Err(error);
    }
    let place = match config.setting(STATUS_LISTEN) {
        Some(StatusPlace::Unix(path)) => StatusPlace::Unix(config.expand(&path.to_string_lossy())),
        Some(place) => place,
        None => {
            let why = "no status is served: config/status_listen does not say where";
            return Err(Error::new(why));
        }
    };
    loop {
        let text = as_text(&ask(&place)?);
        match watch {
            true => say(&format!("{CLEAR}{text}")),
            false => {
                say(&text);
                return Ok(());
            }
        }
        thread::sleep(PACE);
    }
}

fn ask(place: &StatusPlace) -> Result<Value> {
    let failed = |error: io::Error| {
        let place = match place {
            StatusPlace::Tcp(address) => address.to_string(),
            StatusPlace::Unix(path) => path.display().to_string(),
        };
        Error::new(format!("the daemon does not answer at {place}: {error}"))
    };
    let answer = match place {
        StatusPlace::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                exchange(stream)
            })
        }
        StatusPlace::Unix(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            exchange(stream)
        }),
    };
    let answer = answer.map_err(failed)?;
    let content = answer.split_once("\r\n\r\n").map_or("", |(_, content)| content);
    serde_json::from_str(content).map_err(|error| failed(io::Error::other(error)))
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

fn as_text(status: &Value) -> String {
    let text = |value: &Value, name: &str| clean(value[name].as_str().unwrap_or_default());
    let count = |value: &Value, name: &str| value[name].as_u64().unwrap_or_default();
    let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    let up = count(status, "now").saturating_sub(count(status, "began"));
    let workers = &status["workers"];
    let mut out = format!(
        "{}, qpsmtpd {}, up {}; {} busy, {} waiting, at most {}\n",
        text(status, "me"),
        text(status, "version"),
        span(up as f64),
        count(workers, "busy"),
        count(workers, "waiting"),
        count(workers, "limit"),
    );
    out += &section("Connected now", &["address", "for", "does", "asks"], {
        let row = |client: &Value| {
            let seconds = span(count(client, "seconds") as f64);
            vec![text(client, "ip"), seconds, text(client, "does"), text(client, "asks")]
        };
        list("clients").iter().map(row).collect()
    });
    for (title, metric, labels) in [
        ("Messages", "qpsmtpd_messages_total", &["result"][..]),
        ("Refusals", "qpsmtpd_refusals_total", &["plugin", "hook", "class"]),
        ("Queues", "qpsmtpd_queue_total", &["plugin", "result"]),
        ("Other programs and servers", "qpsmtpd_outside_calls_total", &["call", "result"]),
        ("The configuration was read again", "qpsmtpd_reloads_total", &["result"]),
    ] {
        let mut rows = status["metrics"][metric].as_array().cloned().unwrap_or_default();
        rows.sort_by_key(|row| std::cmp::Reverse(count(row, "value")));
        let row = |row: &Value| {
            let labels = labels.iter().map(|label| text(&row["labels"], label));
            labels.chain([count(row, "value").to_string()]).collect()
        };
        let columns: Vec<&str> = labels.iter().copied().chain(["count"]).collect();
        out += &section(title, &columns, rows.iter().take(ROWS).map(row).collect());
    }
    let seconds = |value: &Value| span(value.as_f64().unwrap_or_default());
    let mut hooks =
        status["metrics"]["qpsmtpd_hook_seconds"].as_array().cloned().unwrap_or_default();
    hooks.sort_by(|one, other| {
        let sum = |value: &Value| value["sum"].as_f64().unwrap_or_default();
        sum(other).total_cmp(&sum(one))
    });
    let row = |row: &Value| {
        let (plugin, hook) = (text(&row["labels"], "plugin"), text(&row["labels"], "hook"));
        vec![
            plugin,
            hook,
            count(row, "count").to_string(),
            seconds(&row["mean"]),
            seconds(&row["sum"]),
        ]
    };
    let rows = hooks.iter().take(ROWS).map(row).collect();
    out += &section("Slowest hooks", &["plugin", "hook", "calls", "mean", "in all"], rows);
    let events = list("events");
    let mut rows = vec![["time", "from", "sender → about"].map(str::to_owned).to_vec()];
    for event in told(&events).take(ROWS) {
        let reply = format!("{} {}", count(event, "code"), text(event, "text"));
        rows.push(vec![text(event, "what"), text(event, "plugin"), reply]);
        let parties = match parties(event) {
            ("", "") => String::new(),
            (sender, "") => clean(sender),
            (sender, about) => clean(&format!("{sender} → {about}")),
        };
        let time = clock(event["time"].as_i64().unwrap_or_default());
        rows.push(vec![time, text(event, "ip"), parties]);
    }
    match rows.len() {
        1 => out,
        _ => out + &section("Last events", &["what", "decided by", "reply"], rows),
    }
}

/// A table with a title; nothing where it has no rows.
fn section(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut rows = rows;
    rows.insert(0, columns.iter().map(|column| (*column).to_owned()).collect());
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    format!("\n{title}\n{}", rows.iter().map(line).collect::<String>())
}

/// What a client has said steers no terminal.
fn clean(text: &str) -> String {
    log::clean(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_status_is_shown_in_tables() {
        let status = json!({
            "me": "mx.test", "version": "2.0.0", "began": 100, "now": 160,
            "workers": {"busy": 1, "waiting": 4, "limit": 15},
            "clients": [{"ip": "192.0.2.1", "seconds": 5, "does": "DATA", "asks": "virus/clamdscan"}],
            "metrics": {
                "qpsmtpd_reloads_total": [{"labels": {"result": "failed"}, "value": 1}],
                "qpsmtpd_refusals_total": [
                    {"labels": {"plugin": "rcpt_ok", "hook": "rcpt", "class": "5xx"}, "value": 1},
                    {"labels": {"plugin": "dnsbl", "hook": "connect", "class": "5xx"}, "value": 20},
                ],
            },
            "events": [
                {"what": "refused", "ip": "192.0.2.1", "code": 550, "text": "a\u{1b}[2Jb", "plugin": "rcpt_ok"},
                {"what": "refusal", "ip": "192.0.2.1", "code": 550, "text": "a\u{1b}[2Jb", "plugin": "rcpt_ok",
                 "hook": "rcpt", "sender": "<a@x.test>", "about": "<b@y.test>"},
            ],
        });
        let text = as_text(&status);
        assert!(
            text.starts_with("mx.test, qpsmtpd 2.0.0, up 1 min; 1 busy, 4 waiting, at most 15\n"),
            "{text}"
        );
        assert!(text.contains("  192.0.2.1  5.0 s  DATA  virus/clamdscan\n"), "{text}");
        assert!(
            text.contains("  plugin   hook     class  count\n  dnsbl    connect  5xx    20\n"),
            "{text}"
        );
        assert!(text.contains("  refusal   rcpt_ok     550 a\\x1b[2Jb\n"), "{text}");
        assert!(text.contains("  192.0.2.1   <a@x.test> → <b@y.test>\n"), "{text}");
        assert!(!text.contains("refused"), "{text}");
        assert!(text.contains("read again\n  result  count\n  failed  1\n"), "{text}");
        assert!(as_text(&json!({})).contains("0 busy"));
    }
}
