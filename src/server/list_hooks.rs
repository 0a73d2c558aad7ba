//! `--list-hooks`: for every hook the handlers in the order in which they are asked.

use serde_json::{Value, json};

use crate::config::Config;
use crate::error::Result;
use crate::hook::{Hook, Listed, Origin, TABLE};
use crate::plugin;
use crate::server::check::all_but_last;
use crate::server::console::say;

/// Prints the handlers, for people or as JSON.  What is wrong with the configuration goes to standard
/// error, and the plugins of such lines are left out.
///
/// # Errors
/// The last thing for which a start would fail.
pub(super) fn show(config: &Config, as_json: bool) -> Result<()> {
    let (plugins, errors) = plugin::check(config);
    let listed = plugins.listing();
    match as_json {
        true => say(&format!("{:#}\n", as_value(config, &listed))),
        false => say(&as_text(config, &listed)),
    }
    all_but_last(errors)
}

/// The handlers of a list, hook by hook.
fn by_hook(listed: &[Listed]) -> impl Iterator<Item = &[Listed]> {
    listed.chunk_by(|one, next| (&one.list, one.hook) == (&next.list, next.hook))
}

fn as_text(config: &Config, listed: &[Listed]) -> String {
    let folder = config.folder().join("").display().to_string();
    let place_of = |one: &Listed| {
        let place = one.place.as_deref().unwrap_or_default();
        place.strip_prefix(&folder).unwrap_or(place).to_owned()
    };
    let name = listed.iter().map(|one| one.plugin.len()).max().unwrap_or_default();
    let place = listed.iter().map(|one| place_of(one).len()).max().unwrap_or_default();
    let has_lists = listed.iter().any(|one| one.list != "plugins");
    let mut text = format!("The configuration is in {}.\n\n", config.folder().display());
    let mut list = None;
    for handlers in by_hook(listed) {
        let Some(first) = handlers.first() else { continue };
        if has_lists && list != Some(&first.list) {
            text += &match &*first.list {
                "" => "all clients:\n\n".to_owned(),
                file => format!("clients with the plugins of {file}:\n\n"),
            };
            list = Some(&first.list);
        }
        text += &format!("{} ({})\n", first.hook.name(), when(first.hook));
        for (at, one) in handlers.iter().enumerate() {
            let Listed { plugin, timeout, on_error, arguments, behind, .. } = one;
            let line = format!(
                "{:>4}  {plugin:<name$}  {:<place$}  {}, timeout {} s, on_error {on_error}{}  {arguments}",
                at + 1,
                place_of(one),
                source(one),
                timeout.as_secs(),
                behind
                    .as_ref()
                    .map(|other| format!(", never asked: {other} decides"))
                    .unwrap_or_default(),
            );
            text += line.trim_end();
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// What a plugin is, in words.
fn source(one: &Listed) -> String {
    let native = one.native.unwrap_or_default();
    let perl = one.perl.as_deref().unwrap_or_default();
    let own = one.plugin.split(':').next().unwrap_or_default();
    match one.origin {
        Origin::Perl => format!("Perl {perl}"),
        Origin::Known => format!("native {native} for {perl}"),
        Origin::Native if native.is_empty() || native == own => "native".to_owned(),
        Origin::Native => format!("native {native}"),
    }
}

fn when(hook: Hook) -> &'static str {
    TABLE[hook as usize].when
}

/// `{"folder": ..., "hooks": [{"list": ..., "hook": ..., "when": ..., "handlers": [...]}]}`.
pub(super) fn as_value(config: &Config, listed: &[Listed]) -> Value {
    let handler = |one: &Listed| {
        json!({
            "plugin": one.plugin,
            "line": one.place,
            "kind": match one.origin {
                Origin::Perl => "perl",
                Origin::Known | Origin::Native => "native",
            },
            "native": one.native,
            "perl": one.perl,
            "timeout": one.timeout.as_secs(),
            "on_error": one.on_error,
            "arguments": one.arguments,
            "behind": one.behind,
        })
    };
    let hook = |handlers: &[Listed]| {
        let first = handlers.first()?;
        Some(json!({
            "list": first.list,
            "hook": first.hook.name(),
            "when": when(first.hook),
            "handlers": handlers.iter().map(handler).collect::<Vec<_>>(),
        }))
    };
    let hooks: Vec<Value> = by_hook(listed).filter_map(hook).collect();
    json!({ "folder": config.folder().display().to_string(), "hooks": hooks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &[(&str, &str)]) -> Vec<Listed> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (plugins, errors) = plugin::check(&Config::new(vec![dir.path().to_owned()]));
        assert!(errors.is_empty(), "{errors:?}");
        let mut listed = plugins.listing();
        let folder = format!("{}/", dir.path().display());
        for place in listed.iter_mut().filter_map(|listed| listed.place.as_mut()) {
            *place = place.replace(&folder, "");
        }
        listed
    }

    fn shown(listed: &[Listed]) -> Vec<String> {
        let show = |one: &Listed| {
            let place = one.place.as_deref().unwrap_or_default();
            format!("{} {} {} {place}", one.list, one.hook.name(), one.plugin)
        };
        listed.iter().map(show).collect()
    }

    #[test]
    fn handlers_are_listed_in_the_order_in_which_they_are_asked() {
        let listed = listing(&[
            ("logging", "logging/warn\n"),
            (
                "plugins",
                "# first\nrcpt_ok\ncheck_relay\nbadrcptto timeout 7 on_error ignore\nrcpt_ok:1\n",
            ),
        ]);
        let rcpt: Vec<&Listed> = listed.iter().filter(|one| one.hook == Hook::Rcpt).collect();
        let names: Vec<&str> = rcpt.iter().map(|one| one.plugin.as_str()).collect();
        assert_eq!(names, ["rcpt_ok", "badrcptto", "rcpt_ok:1"]);
        assert_eq!(shown(&listed)[0], "plugins logging logging/warn logging:1");
        assert_eq!(rcpt[1].place.as_deref(), Some("plugins:4"));
        assert_eq!((rcpt[1].timeout.as_secs(), rcpt[1].on_error), (7, "ignore"));
        assert_eq!((rcpt[0].timeout.as_secs(), rcpt[0].on_error), (300, "tempfail"));
        assert_eq!(rcpt[1].arguments, "timeout 7 on_error ignore");
        let relay = listed.iter().find(|one| one.plugin == "check_relay").unwrap();
        assert_eq!((relay.native, relay.origin), (Some("relay"), Origin::Native));
        let hooks: Vec<Hook> = listed.iter().map(|one| one.hook).collect();
        assert!(hooks.is_sorted_by_key(|hook| *hook as u8), "{hooks:?}");
    }

    #[test]
    fn each_list_of_clients_has_its_own_order() {
        let listed = listing(&[
            ("logging", "logging/devnull\n"),
            ("plugins", "peers\nhosts_allow\nhelo\n"),
            ("peers/0", "rcpt_ok\nqueue/discard\n"),
            ("peers/local", "queue/discard\n"),
        ]);
        assert_eq!(
            shown(&listed),
            [
                " logging logging/devnull logging:1",
                "peers/0 pre-connection hosts_allow plugins:2",
                "peers/0 connect peers plugins:1",
                "peers/0 rcpt rcpt_ok peers/0:1",
                "peers/0 queue queue/discard peers/0:2",
                "peers/local pre-connection hosts_allow plugins:2",
                "peers/local connect peers plugins:1",
                "peers/local queue queue/discard peers/local:1",
            ]
        );
    }
}
