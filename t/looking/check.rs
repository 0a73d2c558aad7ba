//! `--check`: all that a start would find, at once.

use std::fs;

use super::look;
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server};

/// What a check says on standard error, which has to fail where a start does.
fn faults(config: &Config, more: &[&str]) -> Vec<String> {
    let (status, said, errors) = look(config, Model::Prefork, &[&["--check"], more].concat());
    assert_eq!(status, 1, "{errors}");
    assert!(said.starts_with("the configuration is in "), "{said}");
    assert!(!said.contains("is good"), "{said}");
    let arguments = [&["--listen-address", "127.0.0.1:0"], more].concat();
    let started = config.command(Model::Prefork.program()).args(arguments).output().unwrap();
    assert_eq!(started.status.code(), Some(1), "a start does not fail");
    errors.lines().map(str::to_owned).collect()
}

fn assert_named(faults: &[String], wanted: &[&str]) {
    for want in wanted {
        let is_there = faults.iter().any(|line| line.contains(want));
        assert!(is_there, "{want} is not in:\n{}", faults.join("\n"));
    }
}

/// One fault hides no other, be it in the same line, file or another one.
#[test]
fn all_problems_of_all_files_are_named_with_line_and_the_word_that_was_meant() {
    let config = Config::new()
        .set(
            "plugins",
            "rcpt_okk\nheaders rejct 1 dayz 3 timeout never\n$include nowhere\nmaildir\n\
             badmailfrom reject_type sotf\n$include nothing\nrcpt_ok loglevle 3\nrcpt_ok:1\nqueue/discard",
        )
        .set("logging", "logging/wran\nlogging/warn")
        .set("tls_ports", "465\nabc\n10465\n99999")
        .set("perl_plugins", "alwys")
        .set("databytes", "10M")
        .set("store", "lmbd")
        .set("rcpthost", "example.net");
    let config = config.set("loglevel", "LOGLOUD");
    let faults = faults(&config, &["--listen-address", "no.such.name.invalid:x"]);
    assert_eq!(faults.iter().filter(|line| line.contains("LOGLOUD")).count(), 1);
    assert_named(
        &faults,
        &[
            "plugins:1: unknown plugin 'rcpt_okk': it is not native",
            "; did you mean 'rcpt_ok'?",
            "plugins:2: headers: argument timeout has the value 'never'",
            "plugins:2: headers: unknown argument 'rejct'; did you mean 'reject'? (known: ",
            "plugins:2: headers: unknown argument 'dayz'; did you mean 'days'? (known: ",
            "plugins:3: $include nowhere: no such file",
            "; did you mean 'queue/maildir'?",
            "plugins:5: badmailfrom: argument reject_type has the value 'sotf'",
            "plugins:6: $include nothing: no such file",
            "plugins:7: rcpt_ok: unexpected argument 'loglevle'; did you mean 'loglevel'?",
            "logging:1: unknown plugin 'logging/wran'",
            "; did you mean 'logging/warn'?",
            "tls_ports:2: tls_ports is 'abc', not a port",
            "tls_ports:4: tls_ports is '99999', not a port",
            "perl_plugins:1: perl_plugins is 'alwys', not one of auto, always; did you mean 'always'?",
            "databytes:1: databytes is '10M', not a number",
            "store:1: store is 'lmbd', not lmdb",
            "rcpthost: nothing reads this file; did you mean 'rcpthosts'?",
            "--listen-address no.such.name.invalid:x: no such port",
        ],
    );
}

#[test]
fn hooks_of_perl_plugins_that_there_are_not_are_named() {
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    let dirs = config.path("perl").display().to_string();
    let file = |name: &str, text: &str| fs::write(config.path("perl").join(name), text).unwrap();
    file("asks", "sub register { $_[0]->register_hook('conect', 'here') }\nsub here { }\n");
    file("sleeps", "# sub hook_rcptt\nsub hook_rctp { return DENY }\nsub hook_own_thing { }\n");
    let config = config
        .set("plugin_dirs", &dirs)
        .set("plugins", "asks\nsleeps\nrcpt_ok\nqueue/maildir {work}/Maildir");
    let found = faults(&config, &[]);
    assert_named(
        &found,
        &[
            "plugins:1: asks: asks: there is no hook 'conect'; did you mean 'connect'?",
            "perl/sleeps: there is no hook 'rctp', so nobody calls hook_rctp; did you mean 'hook_rcpt'?",
        ],
    );
    assert!(!found.iter().any(|line| line.contains("own_thing") || line.contains("rcptt")));
}

/// A store that does not answer stops no start, nor does a server that mail is handed to.
#[test]
fn back_ends_that_are_away_are_warned_of() {
    let config = Config::new()
        .set("store", "redis redis://127.0.0.1:1/")
        .set("plugins", "karma\nrcpt_ok\nqueue/smtp-forward 127.0.0.1 1");
    let (status, said, errors) = look(&config, Model::Prefork, &["--check"]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("the store is not available: Redis 127.0.0.1:1: "), "{errors}");
    assert!(said.contains("the configuration is good"), "{said}");
    Server::start(&config, Model::Prefork).stop().unwrap();
}

/// Lines of lists that fit nothing stop nothing, and are named.
#[test]
fn lines_of_lists_that_fit_nothing_are_named() {
    let config = Config::new()
        .set("plugins", "relay\nbadmailfrom\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("rcpthosts", "example.com\n*.wild.test\n@at.test")
        .set("relayclients", "192.0.2.7\n192.0.2.700")
        .set("databytes", "10485760 # ten MB");
    let octets = b"\xef\xbb\xbfbad@example.net\n# J\xfcrgen\nJ\xfcrgen@example.net\n";
    fs::write(config.path("config/badmailfrom"), octets).unwrap();
    let (status, _, errors) = look(&config, Model::Prefork, &["--check"]);
    assert_eq!(status, 0, "{errors}");
    let faults: Vec<String> = errors.lines().map(str::to_owned).collect();
    assert_named(
        &faults,
        &[
            "rcpthosts:2: ",
            "rcpthosts:3: ",
            "relayclients:2: ",
            "badmailfrom: begins with a byte order",
            "badmailfrom:3: not UTF-8",
        ],
    );
}

/// Only where that is certain: a plugin whose failure is ignored does not always decide.
#[test]
fn plugins_that_are_never_asked_are_named() {
    let behind = "plugins:2: badrcptto is never asked at rcpt: rcpt_ok decides before it";
    for (plugins, is_named) in [
        ("rcpt_ok\nbadrcptto\nqueue/discard", true),
        ("badrcptto\nrcpt_ok\nqueue/discard", false),
        ("rcpt_ok on_error ignore\nbadrcptto\nqueue/discard", false),
    ] {
        let config = Config::new().set("plugins", plugins);
        let (status, _, errors) = look(&config, Model::Prefork, &["--check"]);
        assert_eq!(status, 0, "{errors}");
        assert_eq!(errors.contains(behind), is_named, "{errors}");
        assert_eq!(errors.contains("never asked"), is_named, "{errors}");
    }
}

/// Plugins of the site get none of root's rights, whichever program looks.
#[test]
fn root_checks_as_the_user_of_the_sessions() {
    if unprivileged().is_none() {
        return;
    }
    let config = Config::new();
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/ours"), "sub register { die 'root is here' unless $> }\n").unwrap();
    let dirs = config.path("perl").display().to_string();
    let config = config.set("plugin_dirs", &dirs).set("plugins", "ours\nrcpt_ok\nqueue/discard");
    for model in Model::ALL {
        let output = config.command(model.program()).arg("--check").output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("\nchecked as the user "), "{model}: {said}{errors}");
        assert!(!errors.contains("root is here"), "{model}: {errors}");
    }
}
