//! `--list-hooks`: who is asked, in which order.

use std::fs;

use super::look;
use crate::harness::{Config, Model};

const PERL: &str =
    "sub hook_rcpt { return DECLINED }\nsub hook_pre_connection { return DECLINED }\n";

fn config() -> Config {
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/ours"), PERL).unwrap();
    let dirs = config.path("perl").display().to_string();
    config.set("plugin_dirs", &dirs).set(
        "plugins",
        "# in this order\nours dbpass hunter2\ncheck_badrcptto timeout 9\nrcpt_ok on_error ignore\n\
         queue/maildir {work}/Maildir",
    )
}

#[test]
fn handlers_are_shown_in_order_with_line_kind_and_limits() {
    let config = config();
    let file = config.path("perl/ours").display().to_string();
    for model in Model::ALL {
        let (status, said, errors) = look(&config, model, &["--list-hooks"]);
        assert_eq!(status, 0, "{errors}");
        let lines = |name: &str| {
            let part = said.split("\n\n").find(|part| part.starts_with(name)).unwrap_or_default();
            part.lines().skip(1).map(words).collect::<Vec<_>>()
        };
        assert_eq!(
            lines("rcpt ("),
            [
                format!(
                    "1 ours plugins:2 Perl {file}, timeout 300 s, on_error tempfail dbpass ..."
                ),
                "2 check_badrcptto plugins:3 native badrcptto, timeout 9 s, on_error tempfail \
                 timeout 9"
                    .to_owned(),
                "3 rcpt_ok plugins:4 native, timeout 300 s, on_error ignore on_error ignore"
                    .to_owned(),
            ]
        );
        // Others wait for the parent.
        let parent =
            format!("1 ours plugins:2 Perl {file}, timeout 2 s, on_error tempfail dbpass ...");
        assert_eq!(lines("pre-connection ("), [parent]);
        assert!(lines("logging (")[0].starts_with("1 logging/warn logging:1 native"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn programs_get_the_same_as_json() {
    let config = config();
    let (status, said, _) = look(&config, Model::Inetd, &["--list-hooks=json"]);
    assert_eq!(status, 0);
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        format!("{}/", all["folder"].as_str().unwrap()),
        config.path("config/").display().to_string()
    );
    let hooks = all["hooks"].as_array().unwrap();
    let rcpt = hooks.iter().find(|hook| hook["hook"] == "rcpt").unwrap();
    assert_eq!(rcpt["list"], "plugins");
    let handlers = rcpt["handlers"].as_array().unwrap();
    let kinds: Vec<_> = handlers.iter().map(|one| (&one["plugin"], &one["kind"])).collect();
    assert_eq!(kinds[0].1, "perl");
    assert_eq!(
        (kinds[1].0.as_str(), kinds[1].1.as_str()),
        (Some("check_badrcptto"), Some("native"))
    );
    assert_eq!(handlers[1]["native"], "badrcptto");
    assert_eq!((&handlers[1]["timeout"], &handlers[2]["on_error"]), (&9.into(), &"ignore".into()));
    assert_eq!(handlers[1]["line"], "plugins:3");
}

/// Behind rcpt_ok only those are asked who look at accepted recipients, and everybody if its failures count
/// for nothing.
#[test]
fn who_is_never_asked_is_marked() {
    for (own, badrcptto) in [("rcpt_ok", Some("rcpt_ok")), ("rcpt_ok on_error ignore", None)] {
        let plugins = format!("rcpt_regexp\n{own}\nbadrcptto\nqueue/smtp-forward smtproutes");
        let config = Config::new().set("plugins", &plugins);
        let (status, said, errors) = look(&config, Model::Inetd, &["--list-hooks=json"]);
        assert_eq!(status, 0, "{errors}");
        let all: serde_json::Value = serde_json::from_str(&said).unwrap();
        let hooks = all["hooks"].as_array().unwrap();
        let rcpt = hooks.iter().find(|hook| hook["hook"] == "rcpt").unwrap();
        let handlers = rcpt["handlers"].as_array().unwrap();
        let behind: Vec<_> = handlers.iter().map(|one| one["behind"].as_str()).collect();
        assert_eq!(behind, [None, None, badrcptto, None], "{said}");
        let (_, said, _) = look(&config, Model::Inetd, &["--list-hooks"]);
        let marked: Vec<&str> = said.lines().filter(|line| line.contains("never")).collect();
        assert_eq!(marked.len(), usize::from(badrcptto.is_some()), "{said}");
        assert!(marked.iter().all(|line| line.contains("never asked: rcpt_ok decides")), "{said}");
    }
}

#[test]
fn each_list_of_clients_is_shown() {
    let config = Config::new().set("plugins", "peers");
    fs::create_dir(config.path("config/peers")).unwrap();
    let config = config
        .set("peers/0", "rcpt_ok\nqueue/maildir {work}/Maildir")
        .set("peers/local", "queue/maildir {work}/Maildir");
    let (status, said, errors) = look(&config, Model::Prefork, &["--list-hooks"]);
    assert_eq!(status, 0, "{errors}");
    let heads: Vec<&str> = said.lines().filter(|line| line.contains("clients")).collect();
    assert_eq!(
        heads,
        [
            "all clients:",
            "clients with the plugins of peers/0:",
            "clients with the plugins of peers/local:"
        ]
    );
    let of_local = said.split("peers/local:\n").nth(1).unwrap();
    assert!(of_local.contains("peers/local:1") && !of_local.contains("rcpt_ok"), "{said}");
}

/// The lines that are good are shown, and the others named.
#[test]
fn what_cannot_be_loaded_is_said_and_the_status_tells() {
    let config = Config::new().set("plugins", "rcpt_ok\nno_such\nqueue/discard");
    let (status, said, errors) = look(&config, Model::Forkserver, &["--list-hooks"]);
    assert_eq!(status, 1);
    assert!(errors.contains("plugins:2: unknown plugin 'no_such'"), "{errors}");
    assert!(said.contains("rcpt_ok") && said.contains("queue/discard"), "{said}");
}
