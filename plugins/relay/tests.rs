use super::*;
use crate::hook::{Code, Hook};
use crate::testing::Trial;

fn may_relay(file: &str, entry: &str, ip: &str) -> bool {
    let mut trial = Trial::new("relay", &[(file, entry)]).from_ip(ip);
    assert_eq!(trial.plain(Hook::Connect).code(), Code::Declined);
    trial.session.connection.relay_client
}

#[test]
fn addresses_first_numbers_and_networks() {
    for (entry, ip, found) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.10", false),
        ("192.0.2.1 # the gateway", "192.0.2.1", true),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("192.168.42.", "192.168.42.0", true),
        ("192.168.42.", "192.168.42.255", true),
        ("192.168.42.", "192.168.4.2", false),
        ("10.", "10.255.255.255", true),
        ("10.", "100.1.1.1", false),
        ("10.1.0.0/24", "10.1.0.0", true),
        ("10.1.0.0/24", "10.1.0.255", true),
        ("10.1.0.0/24", "10.1.1.0", false),
        ("10.1.0.77/24", "10.1.0.1", true),
        ("10.1.0.1/32", "10.1.0.1", true),
        ("10.1.0.1/32", "10.1.0.2", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("::ffff:10.1.0.0/112", "10.1.9.9", true),
        ("::ffff:10.1.0.0/112", "10.2.9.9", false),
        ("::ffff:0:0/96", "2001:db8::1", false),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::1", "2001:db8::1", true),
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1", true),
        ("2001:db8:", "2001:db8::", true),
        ("2001:db8:", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db8:", "2001:db80::1", false),
        ("2001:db8:e431:ae06:", "2001:db8:e431:ae06::5", true),
        ("2001:0db8:e431", "2001:db8:e431::1", true),
        ("2001:0db8:e431", "2001:db8:e432::1", false),
        ("2001:db8:7::/48", "2001:db8:7::", true),
        ("2001:db8:7::/48", "2001:db8:7:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db8:7::/48", "2001:db8:8::", false),
        ("2001:db8::1/128", "2001:db8::1", true),
    ] {
        for file in ["relayclients", "morerelayclients"] {
            assert_eq!(may_relay(file, entry, ip), found, "{entry} in {file} for {ip}");
        }
    }
}

#[test]
fn norelayclients_comes_first() {
    let files = [("relayclients", "192.0.2.\n::1"), ("norelayclients", "192.0.2.1\n::1")];
    let mut trial = Trial::new("relay", &files);
    trial.session.connection.relay_client = true;
    trial.plain(Hook::Connect);
    assert!(!trial.session.connection.relay_client);
    assert!(trial.log().contains("(connect) relay: fail, disabled by norelayclients (192.0.2.1)"));
    for (ip, found) in [("192.0.2.2", true), ("::1", false)] {
        let mut trial = Trial::new("relay", &files).from_ip(ip);
        trial.plain(Hook::Connect);
        assert_eq!(trial.session.connection.relay_client, found, "{ip}");
    }
}

#[test]
fn the_environment_and_the_local_host() {
    fn by_environment(hooks: &mut Hooks, args: &Args) -> Result<()> {
        register_with(hooks, args, true)
    }
    let mut trial = Trial::with(by_environment, "", &[]);
    trial.plain(Hook::Connect);
    assert!(trial.session.connection.relay_client);
    assert!(trial.log().contains("pass, enabled by env"));
    let mut trial = Trial::with(by_environment, "", &[("norelayclients", "192.0.2.1")]);
    trial.plain(Hook::Connect);
    assert!(!trial.session.connection.relay_client);
}

#[test]
fn no_address_may_relay_by_itself() {
    for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "192.0.2.1", "fe80::1"] {
        assert!(!may_relay("rcpthosts", "", ip), "{ip}");
    }
    assert!(may_relay("relayclients", "127.0.0.1", "::ffff:127.0.0.1"));
    assert!(may_relay("relayclients", "::ffff:127.0.0.1", "127.0.0.1"));
}

#[test]
fn the_environment_says_yes_as_in_perl() {
    for (value, yes) in [(None, false), (Some(""), false), (Some("0"), false), (Some("1"), true)] {
        assert_eq!(says_yes(value.map(OsStr::new)), yes, "{value:?}");
    }
}

#[test]
fn what_was_found_is_logged() {
    let files =
        [("relayclients", "192.0.2.0/30\n198.51.100."), ("morerelayclients", "203.0.113.1")];
    for (ip, line) in [
        ("192.0.2.3", "pass, cidr match in relayclients (192.0.2.3)"),
        ("198.51.100.7", "pass, octet match in relayclients (198.51.100.7)"),
        ("203.0.113.1", "pass, octet match in morerelayclients (203.0.113.1)"),
        ("::1", "skip, no match"),
        ("203.0.113.2", "skip, no match"),
    ] {
        let mut trial = Trial::new("relay", &files).from_ip(ip);
        trial.plain(Hook::Connect);
        assert!(trial.log().contains(line), "{ip}: {}", trial.log());
    }
}

#[test]
fn a_map_has_addresses_and_first_numbers() {
    let mut trial = Trial::new("relay", &[]);
    let mut map = cdb2::CDBWriter::create(trial.dir().join("config/morerelayclients.cdb")).unwrap();
    let entries =
        ["192.0.2.1", "198.51.", "2001:db8:1:", "2001:0db8:0002", "2001:0db8:0003:", "2001:db8::4"];
    for key in entries {
        map.add(key.as_bytes(), b"").unwrap();
    }
    map.finish().unwrap();
    for (ip, found) in [
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("198.51.100.7", true),
        ("198.5.1.1", false),
        ("2001:db8:1::9", true),
        ("2001:db8:2::9", true),
        ("2001:db8:3::9", true),
        ("2001:db8::4", true),
        ("2001:db8::5", false),
    ] {
        trial.session.connection.relay_client = false;
        trial = trial.from_ip(ip);
        trial.plain(Hook::Connect);
        assert_eq!(trial.session.connection.relay_client, found, "{ip}");
    }
}

#[test]
fn a_line_that_is_no_client_is_logged_and_skipped() {
    let wrong = [
        "localhost",
        "192.168.42",
        "192.168.256.",
        "10.0.0.0/33",
        "2001:db8",
        "x:",
        ":",
        "1.2.3.4.5.",
    ];
    let lines = format!("{}\n192.0.2.1", wrong.join("\n"));
    let mut trial = Trial::new("relay", &[("relayclients", &lines)]);
    trial.plain(Hook::Connect);
    assert!(trial.session.connection.relay_client);
    for (index, word) in wrong.iter().enumerate() {
        let line = format!(
            "relayclients:{}: not an address, the beginning of an address, or a network: '{word}'",
            index + 1
        );
        assert!(trial.log().contains(&line), "{line}\n{}", trial.log());
    }
}

#[test]
fn only_refuses_everybody_else() {
    let mut trial = Trial::new("relay only 1", &[]);
    let verdict = trial.rcpt("<b@example.com>");
    assert_eq!((verdict.code(), verdict.text()), (Code::Deny, "relaying denied"));
    trial.session.connection.relay_client = true;
    assert_eq!(trial.rcpt("<b@example.com>").code(), Code::Ok);
    for line in ["relay", "relay only 0"] {
        assert_eq!(Trial::new(line, &[]).rcpt("<b@example.com>").code(), Code::Declined, "{line}");
    }
    assert_eq!(Trial::new("relay_only", &[]).rcpt("<b@example.com>").code(), Code::Deny);
    for line in ["relay only", "relay some 1"] {
        assert!(Trial::load(line, &[]).is_err(), "{line}");
    }
}
