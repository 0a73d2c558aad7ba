use super::*;
use crate::hook::{Call, Hook, KARMA};
use crate::testing::Trial;

#[test]
fn hosts_are_addresses_networks_and_beginnings() {
    for (entry, ip, found) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.17", false),
        ("192.0.2.1 the gateway", "192.0.2.1", true),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("192.0.2.", "192.0.2.255", true),
        ("10.1", "10.1.2.3", true),
        ("10.1", "10.100.2.3", false),
        ("10", "10.100.2.3", true),
        ("10", "100.1.2.3", false),
        ("2001:db8", "2001:db8:7::1", true),
        ("2001:db8", "2001:db80::1", false),
        ("10.1.", "10.100.2.3", false),
        ("10.1.", "110.1.2.3", false),
        ("10.1.0.0/24", "10.1.0.0", true),
        ("10.1.0.0/24", "10.1.0.255", true),
        ("10.1.0.0/24", "10.1.1.0", false),
        ("2001:DB8::1", "2001:db8::1", true),
        ("2001:DB8:", "2001:db8:7::1", true),
        ("2001:db8:7::/48", "2001:db8:7:ffff::1", true),
        ("2001:db8:7::/48", "2001:db8:8::1", false),
    ] {
        let mut trial = Trial::new("whitelist", &[("whitelisthosts", entry)]).from_ip(ip);
        let verdict = trial.plain(Hook::Connect);
        assert_eq!(verdict, if found { OK } else { DECLINED }, "{entry} for {ip}");
        assert_eq!(trial.session.connection.notes.is_true(WHITELISTHOST), found);
        assert_eq!(trial.session.connection.notes.get(KARMA), found.then_some(5));
        assert_eq!(trial.session.is_immune(), found);
    }
}

#[test]
fn what_is_no_host_is_logged_and_skipped() {
    let list = "localhost\n10.0.0.0/33\n192.0.2.1";
    let mut trial = Trial::new("whitelist", &[("whitelisthosts", list)]);
    assert_eq!(trial.plain(Hook::Connect), OK);
    assert!(
        trial.log().contains(
            "whitelisthosts:1: not an address, the beginning of an address, or a network"
        )
    );
    assert!(
        trial.log().contains(
            "whitelisthosts:2: not an address, the beginning of an address, or a network"
        )
    );
}

#[test]
fn the_environment_speaks_for_every_client() {
    fn by_environment(hooks: &mut Hooks, args: &Args) -> Result<()> {
        register_with(hooks, args, true)
    }
    let mut trial = Trial::with(by_environment, "", &[]);
    assert_eq!(trial.plain(Hook::Connect), OK);
    assert_eq!(trial.session.connection.notes.get(WHITELISTCLIENT), Some(1));
    assert!(!trial.session.is_immune());
    let mut trial = Trial::with(by_environment, "per_recipient 1", &[]);
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    assert_eq!(trial.rcpt("<b@example.com>"), DECLINED);
    trial.set_config("rcpthosts", "example.com");
    assert_eq!(trial.rcpt("<b@example.com>"), OK);
    assert_eq!(trial.rcpt("<b@example.net>"), DECLINED);
}

/// What each list does to a recipient elsewhere, with rcpt_ok behind it.
#[test]
fn what_a_stranger_can_claim_opens_no_domain() {
    for (list, entry, opens) in [
        ("whitelisthosts", "192.0.2.1", true),
        ("whitelisthelo", "client.example", false),
        ("whitelistsenders", "a@example.net", false),
        ("whitelistrcpt", "evil.test", true),
    ] {
        for arguments in ["", "per_recipient 1"] {
            let plugins = format!("user_config {{dir}}/%u\nwhitelist {arguments}\nrcpt_ok");
            let files = [(list, entry), ("rcpthosts", "example.com")];
            let mut trial = Trial::new(&plugins, &files);
            trial.session.connection.hello_host = "client.example".into();
            trial.plain(Hook::Connect);
            trial.call(Hook::Ehlo, &Call::Host("client.example"));
            trial.mail("<a@example.net>");
            let what = format!("{list} {arguments}\n{}", trial.log());
            assert_eq!(trial.rcpt("<b@evil.test>") == OK, opens, "{what}");
            assert_eq!(trial.rcpt("<b@example.com>"), OK, "{what}");
            let route = trial.rcpt("<\"b@evil.test\"@example.com>");
            assert_eq!(route == OK, list == "whitelisthosts", "{what}");
        }
        let plugins = "user_config {dir}/%u\nwhitelist per_recipient 1\nrcpt_ok";
        let mut trial = Trial::new(plugins, &[("rcpthosts", "example.com")]);
        std::fs::create_dir(trial.dir().join("b")).unwrap();
        std::fs::write(trial.dir().join("b").join(list), entry).unwrap();
        trial.session.connection.hello_host = "client.example".into();
        trial.mail("<a@example.net>");
        assert!(trial.rcpt("<b@evil.test>").code().is_deny(), "{list} of its own");
    }
}

#[test]
fn lines_that_fit_nothing_are_named() {
    for (list, line, text) in [
        ("whitelisthelo", "*.wild.test", "each subdomain of wild.test needs its own line"),
        ("whitelistsenders", "@at.test", "not a host: '@at.test' (at.test is one)"),
        ("whitelistrcpt", ".wild.test", "each subdomain of wild.test needs its own line"),
    ] {
        let mut trial = Trial::new("whitelist", &[(list, line)]);
        trial.call(Hook::Ehlo, &Call::Host("client.example"));
        trial.mail("<a@at.test>");
        trial.rcpt("<a@wild.test>");
        let log = trial.log();
        assert!(log.contains(&format!("{list}:1: not a host: ")) && log.contains(text), "{log}");
    }
    let files = [("whitelistsenders", "Good@dot.test. # a friend\nb\u{fc}cher.example")];
    let mut trial = Trial::new("whitelist", &files);
    for sender in ["<good@DOT.test>", "<a@xn--bcher-kva.example>", "<a@B\u{dc}CHER.example>"] {
        assert_eq!(trial.mail(sender), OK, "{sender}");
    }
}

#[test]
fn names_in_helo() {
    let mut trial = Trial::new("whitelist", &[("whitelisthelo", "Mx.example.net")]);
    assert_eq!(trial.call(Hook::Helo, &Call::Host("x.mx.example.net")), DECLINED);
    assert!(!trial.session.connection.notes.is_true(WHITELISTHELO));
    for hook in [Hook::Helo, Hook::Ehlo] {
        assert_eq!(trial.call(hook, &Call::Host("MX.example.net")), OK);
    }
    assert_eq!(trial.session.connection.notes.get(WHITELISTHELO), Some(1));
}

#[test]
fn senders_and_recipients_are_addresses_or_hosts() {
    let list = "Good@Example.net\nexample.org";
    let files = [("whitelistsenders", list), ("whitelistrcpt", list)];
    for (path, verdict) in [
        ("<good@example.NET>", OK),
        ("<anybody@Example.org>", OK),
        ("<bad@example.net>", DECLINED),
        ("<a@sub.example.org>", DECLINED),
        ("<postmaster>", DECLINED),
    ] {
        let mut trial = Trial::new("whitelist", &files);
        assert_eq!(trial.mail(path), verdict, "{path}");
        let is_listed = verdict == OK;
        assert_eq!(trial.session.transaction.notes.is_true(WHITELISTSENDER), is_listed);
        assert_eq!(trial.rcpt(path), verdict, "{path}");
        assert_eq!(trial.rcpt(path), verdict, "{path}");
        let count = trial.session.transaction.notes.get(WHITELISTRCPT);
        assert_eq!(count, is_listed.then_some(2));
    }
    assert_eq!(Trial::new("whitelist", &files).mail("<>"), DECLINED);
}

/// The recipient rich@example.com has lists of its own.
fn personal(arguments: &str, list: &str, own: &str, server: &str) -> Trial {
    let lines = format!("user_config {{dir}}/%u\nwhitelist per_recipient 1 {arguments}");
    let files = [(list, server), ("rcpthosts", "example.com\nexample.org")];
    let trial = Trial::new(&lines, &files);
    std::fs::create_dir(trial.dir().join("rich")).unwrap();
    std::fs::write(trial.dir().join("rich").join(list), own).unwrap();
    trial
}

#[test]
fn recipients_have_lists_of_their_own() {
    for (list, good, other) in [
        ("whitelisthosts", "192.0.2.0/24", "198.51.100."),
        ("whitelisthelo", "client.example", "other.example"),
        ("whitelistsenders", "a@example.net", "b@example.net"),
        ("whitelistrcpt", "example.com", "example.org"),
    ] {
        for (arguments, own, server, rich, poor) in [
            ("", good, other, OK, DECLINED),
            ("", other, good, OK, OK),
            ("merge 0", good, other, OK, DECLINED),
            ("merge 0", other, good, DECLINED, OK),
            ("merge 1", other, other, DECLINED, DECLINED),
        ] {
            let mut trial = personal(arguments, list, own, server);
            trial.session.connection.hello_host = "client.example".into();
            assert_eq!(trial.plain(Hook::Connect), DECLINED);
            assert_eq!(trial.call(Hook::Ehlo, &Call::Host("client.example")), DECLINED);
            assert_eq!(trial.mail("<a@example.net>"), DECLINED);
            let what = format!("{list} {arguments}: {own}, {server}");
            assert_eq!(trial.rcpt("<rich@example.com>"), rich, "{what}");
            assert_eq!(trial.rcpt("<poor@example.com>"), poor, "{what}");
        }
    }
}

#[test]
fn lists_of_recipients_are_parsed_once_and_anew_when_they_change() {
    let mut trial = personal("", "whitelistsenders", "@at.test\n@at.test\na@example.net", "");
    trial.mail("<a@example.net>");
    assert_eq!(trial.rcpt("<rich@example.com>"), OK);
    let log = trial.take_log();
    let why = "whitelistsenders of <rich@example.com>: config hook:1: not a host: '@at.test'";
    assert_eq!((log.matches(why).count(), log.matches("'@at.test'").count()), (1, 1), "{log}");
    assert_eq!(trial.rcpt("<poor@example.com>"), DECLINED);
    assert_eq!(trial.rcpt("<rich@example.com>"), OK);
    assert!(!trial.take_log().contains("at.test"));
    let file = trial.dir().join("rich/whitelistsenders");
    std::fs::write(file, "@dot.test\nb@example.net").unwrap();
    assert_eq!(trial.rcpt("<rich@example.com>"), DECLINED);
    assert!(trial.take_log().contains("not a host: '@dot.test'"));
}

#[test]
fn a_list_of_its_own_is_good_for_that_recipient_only() {
    let mut trial = personal("", "whitelisthosts", "192.0.2.1", "");
    assert_eq!(trial.rcpt("<rich@example.com>"), OK);
    assert!(!trial.session.is_immune());
    assert_eq!(trial.rcpt("<poor@example.com>"), DECLINED);
    let mut trial = personal("", "whitelisthosts", "", "192.0.2.1");
    assert_eq!(trial.rcpt("<rich@example.com>"), OK);
    assert!(trial.session.is_immune());
}

#[test]
fn arguments_without_meaning_are_errors() {
    for line in ["whitelist per_recipient", "whitelist soft 1"] {
        assert!(Trial::load(line, &[]).is_err(), "{line}");
    }
}
