//! What Prometheus and Grafana make of the status.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use qpsmtpd::metrics::{Kind, TABLE};
use regex::Regex;

use super::{get, session, value, wait, with_status};
use crate::harness::{Model, Server, deb};

const RULES: &str = include_str!("../../contrib/prometheus/qpsmtpd.rules.yml");
const DASHBOARD: &str = include_str!("../../contrib/grafana/qpsmtpd.json");
const GUIDE: &str = include_str!("../../docs/operating.md");

/// promtool with a file on its standard input; what it says.
fn promtool(words: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
    said
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    if !deb::need("prometheus") {
        return;
    }
    let config = with_status("{work}/status");
    let server = Server::start(&config, Model::Prefork);
    session(server.connect());
    wait(&config, |status| value(status, "qpsmtpd_session_seconds", &[]) == 1);
    let metrics = get(&config, "/metrics");
    server.stop().unwrap();
    assert_eq!(promtool(&["check", "metrics"], &metrics), "", "{metrics}");
    // What is told is what the table has.
    let told = Regex::new(r"(?m)^# TYPE (\S+) (\S+)$").unwrap();
    for found in told.captures_iter(&metrics) {
        let row = TABLE.iter().find(|row| row.full_name() == found[1]);
        let kind = match row.unwrap_or_else(|| panic!("{}", &found[1])).kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        assert_eq!(&found[2], kind, "{}", &found[1]);
    }
}

#[test]
fn promtool_loads_the_rules() {
    if !deb::need("prometheus") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.yml");
    std::fs::write(&path, RULES).unwrap();
    let said = promtool(&["check", "rules", path.to_str().unwrap()], "");
    assert!(said.contains(&format!("{} rules found", RULES.matches("- alert:").count())), "{said}");
}

/// All that the documents, the rules and the dashboard speak of, as queries have it.
fn names(text: &str) -> BTreeSet<&str> {
    Regex::new(r"\bqpsmtpd_[a-z_]+\b")
        .unwrap()
        .find_iter(text)
        .map(|found| found.as_str())
        .collect()
}

#[test]
fn rules_dashboard_and_guide_name_metrics_that_there_are() {
    let known: BTreeSet<String> = TABLE
        .iter()
        .flat_map(|row| {
            let name = row.full_name();
            let parts: &[&str] = match row.kind {
                Kind::Seconds => &["", "_bucket", "_sum", "_count"],
                Kind::Counter | Kind::Gauge => &[""],
            };
            parts.iter().map(move |part| format!("{name}{part}")).collect::<Vec<_>>()
        })
        .collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
    for (file, text) in [("rules", RULES), ("dashboard", DASHBOARD), ("guide", GUIDE)] {
        let named = names(text);
        assert!(named.len() > 5, "{file}");
        for name in named {
            assert!(known.contains(name), "{file}: {name}");
        }
    }
    let alerts = Regex::new(r"- alert: (\w+)").unwrap();
    for found in alerts.captures_iter(RULES) {
        assert!(GUIDE.contains(&format!("`{}`", &found[1])), "the guide lacks {}", &found[1]);
    }
}

#[test]
fn docs_operating_md_has_the_table() {
    for row in &TABLE {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        let labels = row.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        let labels = labels.join(", ");
        let line = format!("| `{}` | {kind} | {labels} | {} |", row.full_name(), row.help);
        assert!(GUIDE.lines().any(|known| known == line), "docs/operating.md lacks:\n{line}");
    }
}
