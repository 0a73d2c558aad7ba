//! `--help` and the list of `--help-plugin`: as wide as the terminal, and never very wide.  No plugin's
//! manual is very wide, either.

use qpsmtpd::plugins::PLUGINS;

use crate::harness::deb::need;
use crate::harness::{Config, Model};

const MODELS: [Model; 3] = [Model::Inetd, Model::Forkserver, Model::Prefork];

const TEXTS: [&str; 3] = ["--help", "-h", "--help-plugin"];

/// The longest line of a text, in characters.
fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}

#[test]
fn no_line_is_wide_and_a_narrow_terminal_is_heeded() {
    let config = Config::new();
    for (model, option) in MODELS.into_iter().flat_map(|model| TEXTS.map(|text| (model, text))) {
        let shown = |columns: Option<&str>| {
            let mut command = config.command(model.program());
            command.arg(option).env_remove("COLUMNS");
            let output = command.envs(columns.map(|n| ("COLUMNS", n))).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for (columns, most) in [(None, 100), (Some("60"), 60), (Some("240"), 100)] {
            let text = shown(columns);
            assert!(widest(&text) <= most, "{model} {option} {columns:?}: {text}");
            assert!(widest(&text) > most * 3 / 5, "{model} {option} {columns:?}: {text}");
        }
    }
}

#[test]
fn no_line_of_a_plugin_s_manual_is_wide() {
    let manuals = PLUGINS.iter().map(|plugin| (plugin.name, plugin.manual()));
    let wide: Vec<String> = manuals
        .flat_map(|(name, manual)| {
            let lines = manual.lines().filter(|line| widest(line) > 100);
            lines.map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn the_size_of_the_terminal_counts() {
    if !need("bsdutils") {
        return;
    }
    let config = Config::new();
    for option in TEXTS {
        let line = format!("stty cols 60 rows 24; {} {option}", Model::Prefork.program());
        let mut script = config.command("script");
        script.args(["-qec", &line, "/dev/null"]).env("COLUMNS", "200");
        let output = script.output().unwrap();
        let text = plain(&String::from_utf8(output.stdout).unwrap());
        assert!(text.contains("SMTP") && (40..=60).contains(&widest(&text)), "{text}");
    }
}

/// A text without what switches bold letters on and off.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('m').map_or(part, |(_, after)| after));
    first + &rest.collect::<String>()
}
