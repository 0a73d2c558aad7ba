//! `--report`: a log that a daemon has written, as text and as a page.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use crate::harness::{Config, Model, Server};

fn report(config: &Config, words: &[&str]) -> Output {
    let mut command = config.command(Model::Inetd.program());
    command.arg("--report").args(words).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A configuration whose log has a refused recipient and two accepted messages.
fn with_log() -> Config {
    let config = Config::new()
        .set("plugins", "rcpt_ok\nqueue/maildir {work}/Maildir")
        .set("logging", "logging/file loglevel LOGINFO format json {work}/log");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    for _ in 0..2 {
        client.ask("MAIL FROM:<<b>@example.net>", "501");
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@elsewhere.test>", "550");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        client.send_raw(b"Subject: x\r\n\r\ntext\r\n.\r\n");
        client.expect("250");
    }
    client.quit();
    server.stop().unwrap();
    config
}

/// The rows of the table with this title.
fn rows<'a>(report: &'a str, title: &str) -> Vec<&'a str> {
    let (_, table) = report.split_once(&format!("\n{title}\n\n")).unwrap();
    table.lines().skip(1).take_while(|line| !line.is_empty()).map(str::trim).collect()
}

#[test]
fn a_log_becomes_text_and_a_page() {
    let config = with_log();
    let log = config.path("log");
    let report = said(&self::report(&config, &[log.to_str().unwrap()]));
    for figure in ["1  connections", "2  messages accepted", "2  recipients of accepted messages"] {
        assert!(report.lines().any(|line| line.trim_start() == figure), "{figure}: {report}");
    }
    let refusals = rows(&report, "Refusals by plugin and reason");
    assert!(refusals[0].starts_with("rcpt_ok at rcpt") && refusals[0].ends_with("550         2"));
    assert!(refusals[1].starts_with("Relaying denied"), "{refusals:?}");
    assert_eq!(rows(&report, "Recipients"), ["<b@example.com>         2"]);

    let page = said(&self::report(&config, &["--html", log.to_str().unwrap()]));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg "), "{page}");
    assert!(!page.contains("http:") && !page.contains("<script"), "{page}");
    assert!(page.contains("<td>&lt;b@example.com&gt;</td><td>2</td>"), "{page}");
}

#[test]
fn a_log_comes_from_standard_input_too() {
    let config = with_log();
    let mut command = config.command(Model::Prefork.program());
    command.args(["--report", "--top", "1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(config.path("log")).unwrap()).unwrap();
    drop(input);
    let report = said(&child.wait_with_output().unwrap());
    assert!(report.contains("2  messages accepted\n"), "{report}");
}

#[test]
fn what_is_no_log_is_told() {
    let config = Config::new();
    fs::write(config.path("text"), "4711 connect from 192.0.2.1\n").unwrap();
    let text = config.path("text");
    for (words, wanted) in [
        (vec![text.to_str().unwrap()], "no events in 1 lines: events need"),
        (vec!["/none"], "cannot read /none: No such file or directory"),
        (vec!["--time", "2020-01-01"], "no events in 0 lines"),
    ] {
        let output = report(&config, &words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{words:?}: {error}");
    }
    for word in ["--html", "log"] {
        for model in Model::ALL {
            let output = config.command(model.program()).arg(word).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{output:?}");
        }
    }
}

#[test]
fn numbers_of_any_size_are_added() {
    let config = Config::new();
    let line = |size: u64| {
        format!(
            "{{\"time\": \"2026-11-28T10\", \"event\": {{\"kind\": \"message\", \"result\": \"accepted\", \
             \"size\": {size}, \"recipient_count\": {size}}}}}\n"
        )
    };
    fs::write(config.path("log"), line(u64::MAX) + &line(1)).unwrap();
    let log = config.path("log");
    for words in [vec![log.to_str().unwrap()], vec![log.to_str().unwrap(), "--html"]] {
        let report = said(&report(&config, &words));
        assert!(report.contains(&u64::MAX.to_string()), "{report}");
    }
}
