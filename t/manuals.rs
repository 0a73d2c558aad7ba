//! The manuals of the plugins against the plugins.

use std::collections::BTreeSet;

use qpsmtpd::plugin::Plugin;
use qpsmtpd::plugins::PLUGINS;
use qpsmtpd::testing::Trial;

/// Arguments that every plugin has.
pub(crate) const UNIVERSAL: [&str; 5] =
    ["loglevel", "reject", "reject_type", "timeout", "on_error"];

/// The files that examples need.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("me", "mx.example.com"),
    ("rcpthosts", "example.com"),
    ("smtproutes", "example.com:mail.inside.example"),
];

/// What plugins say on a machine that lacks what their examples need.
pub(crate) const LACKS: [&str; 5] = [
    "not the path of a program",
    "not a program",
    "Could not find exim",
    "built without LDAP",
    "no root certificates",
];

/// The lines of a manual that can stand in `config/plugins`.  A line with a deep indent goes on with
/// the example before it.
pub(crate) fn examples(plugin: &Plugin) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    let (mut part, mut is_open) = ("", false);
    let manual = plugin.manual();
    for line in manual.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if indent == 0 && !text.is_empty() {
            part = text;
        }
        let word = text.split_whitespace().next().unwrap_or_default();
        let name = word.split_once(':').map_or(word, |(name, _)| name);
        let begins = name == plugin.name && ["DESCRIPTION", "ARGUMENTS"].contains(&part);
        if let Some(example) = found.last_mut().filter(|_| is_open && indent > 8) {
            example.extend([" ", text.trim_end_matches("(in one line)").trim_end()]);
        } else if begins {
            found.push(text.to_owned());
        }
        is_open = begins || is_open && indent > 8;
    }
    found
}

#[test]
pub(crate) fn examples_of_manuals_can_be_loaded() {
    let mut count = 0;
    for example in PLUGINS.iter().flat_map(examples) {
        count += 1;
        if let Err(error) = Trial::load(&example, &FILES) {
            let error = error.to_string();
            assert!(LACKS.iter().any(|text| error.contains(text)), "{example}: {error}");
        }
    }
    assert!(count >= 30, "{count}");
}

/// The arguments that a plugin says it knows where it is given one that it does not.
pub(crate) fn known_arguments(plugin: &Plugin) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    // Some plugins have other arguments in front of those with a name.
    for line in ["no_such_argument 1", "1 no_such_argument 1", "/x no_such_argument 1"] {
        let Err(error) = Trial::load(&format!("{} {line}", plugin.name), &FILES) else { continue };
        let error = error.to_string();
        let known = error.rsplit_once("unknown argument 'no_such_argument' (known: ");
        let Some((_, known)) = known else { continue };
        all.extend(known.trim_end_matches(')').split(", ").map(str::to_owned));
    }
    all
}

/// A plugin that refuses an argument says which ones it knows, and its manual has all of them.
#[test]
fn manuals_have_all_arguments() {
    let mut count = 0;
    for plugin in PLUGINS {
        let manual = plugin.manual();
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let words: BTreeSet<&str> = manual.split(|c| !is_in_name(c)).collect();
        for name in known_arguments(plugin) {
            let is_there = UNIVERSAL.contains(&name.as_str()) || words.contains(name.as_str());
            assert!(is_there, "the manual of {} lacks the argument {name}", plugin.name);
            count += 1;
        }
    }
    assert!(count > 200, "{count}");
}
