//! Tests of the plugin helo.

use super::*;
use crate::hook::{Call, Hook, KARMA, NAUGHTY, NAUGHTY_REJECT_TYPE, Verdict};
use crate::testing::Trial;

const NOT_FQDN: &str = "HELO name is not fully qualified. Read RFC 2821";
const CHARACTERS: &str = "HELO name contains invalid FQDN characters. Read RFC 1035";
const FORGED: &str = "Forged IPs not accepted here";
const PLAIN: &str = "Plain IP is invalid HELO hostname (RFC 2821)";
const LITERAL: &str = "RFC 2821 allows an address literal, but we do not";

/// A name for either client, and addresses for all names that can have one.
fn everything(cases: &[(&str, [&str; 3])]) -> String {
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let of = |(name, _): &(&str, _)| {
        name.is_ascii().then(|| format!("{} A 192.0.2.1\n", name.to_ascii_lowercase()))
    };
    let names: String = cases.iter().filter_map(of).collect();
    format!("{names}1.2.0.192.in-addr.arpa PTR mx.example.net\n{v6} PTR mx.example.net\n")
}

fn hello(trial: &mut Trial, host: &str) -> Verdict {
    let verdict = trial.call(Hook::Ehlo, &Call::Host(host));
    assert_eq!(trial.call(Hook::Helo, &Call::Host(host)), verdict);
    verdict
}

/// What each policy says of names that a client at `ip` gives.
fn check(ip: &str, cases: &[(&str, [&str; 3])]) {
    for (name, policy) in POLICIES {
        let mut trial = Trial::new(&format!("helo policy {name}"), &[])
            .from_ip(ip)
            .with_dns(&everything(cases));
        for (host, texts) in cases {
            let verdict = hello(&mut trial, host);
            assert_eq!(verdict.text(), texts[policy], "{host} from {ip}, {name}");
            let code = if texts[policy].is_empty() { Code::Declined } else { Code::DenyDisconnect };
            assert_eq!(verdict.code(), code);
        }
    }
}

#[test]
fn policies_have_more_and_more_checks() {
    check(
        "192.0.2.1",
        &[
            ("mx.example.net", ["", "", ""]),
            ("MX-1.Example.net", ["", "", ""]),
            ("localhost", ["You are not localhost"; 3]),
            ("LocalHost", ["You are not localhost"; 3]),
            ("[192.0.2.1]", ["", "", LITERAL]),
            ("[192.0.2.2]", [FORGED; 3]),
            ("[999.0.2.1]", [FORGED; 3]),
            ("[IPv6:2001:db8::1]", [FORGED; 3]),
            ("[2001:db8::1]", [FORGED; 3]),
            ("192.0.2.1", [PLAIN; 3]),
            ("192.0.2.2", [PLAIN; 3]),
            ("999.0.2.1", [PLAIN; 3]),
            ("2001:db8::1", [PLAIN; 3]),
            ("pc", ["", NOT_FQDN, NOT_FQDN]),
            ("[pc]", ["", NOT_FQDN, NOT_FQDN]),
            ("my_pc.example.net", ["", CHARACTERS, CHARACTERS]),
            ("b\u{fc}cher.example", ["", CHARACTERS, CHARACTERS]),
            ("1.2.3.4.example", ["", "", ""]),
            ("1.2.3", ["", "", ""]),
        ],
    );
    check(
        "2001:db8::1",
        &[
            ("[IPv6:2001:db8::1]", ["", "", LITERAL]),
            ("[ipv6:2001:DB8:0::1]", ["", "", LITERAL]),
            ("[2001:db8::1]", ["", "", LITERAL]),
            ("[IPv6:2001:db8::2]", [FORGED; 3]),
            ("[192.0.2.1]", [FORGED; 3]),
        ],
    );
    check("127.0.0.1", &[("localhost", ["", NOT_FQDN, NOT_FQDN])]);
    check("::1", &[("localhost", ["", NOT_FQDN, NOT_FQDN])]);
}

#[test]
fn badhelo_has_names_and_patterns() {
    let list = "AOL.com\n\\.dyn\\.Example$\nyahoo.com\n!^[a-z0-9.\\[\\]:-]+$\n[aeiou]{9}\n";
    let mut trial = Trial::new("helo", &[("badhelo", list)]);
    let not_allowed = "Your HELO hostname is not allowed";
    for (host, text) in [
        ("aol.COM", "I do not believe you are aol.COM."),
        ("yahoo.com", "I do not believe you are yahoo.com."),
        ("mx.aol.com", ""),
        ("h1.DYN.example", not_allowed),
        ("h1.dyn.example.net", ""),
        ("my_pc", not_allowed),
        ("aeiouaeiou", not_allowed),
    ] {
        assert_eq!(hello(&mut trial, host).text(), text, "{host}");
    }
    assert!(trial.log().contains(r"(ehlo) helo: fail, badhelo pattern match (\.dyn\.Example$)"));
    assert!(trial.log().contains("(ehlo) helo: fail, in badhelo"));
}

#[test]
fn a_pattern_that_does_not_compile_is_logged_and_skipped() {
    let mut trial = Trial::new("helo", &[("badhelo", "(x\n!(?=y)\naol.com")]);
    assert_eq!(hello(&mut trial, "x.example"), DECLINED);
    assert!(hello(&mut trial, "aol.com").code().is_deny());
    assert!(trial.log().contains("badhelo:1: pattern '(x' does not compile: unclosed group"));
    assert!(trial.log().contains("badhelo:2: pattern '(?=y)' does not compile"));
    trial.set_config("badhelo", "x.example");
    assert!(hello(&mut trial, "x.example").code().is_deny());
    assert_eq!(hello(&mut trial, "aol.com"), DECLINED);
}

#[test]
fn the_arguments_say_how_to_refuse() {
    for (arguments, code) in [
        ("", Code::DenyDisconnect),
        ("reject 0", Code::Declined),
        ("reject naughty", Code::Declined),
        ("reject_type perm", Code::Deny),
        ("reject_type temp", Code::DenySoft),
    ] {
        let mut trial = Trial::new(&format!("check_spamhelo {arguments}"), &[]);
        assert_eq!(hello(&mut trial, "localhost").code(), code, "{arguments}");
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-2));
        let is_marked = trial.session.connection.notes.is_true(NAUGHTY);
        assert_eq!(is_marked, arguments == "reject naughty");
    }
    for line in ["helo policy loose", "helo policy", "helo strict 1"] {
        assert!(Trial::load(line, &[]).is_err(), "{line}");
    }
}

#[test]
fn naughty_learns_how_to_refuse() {
    for (arguments, word) in [("", "disconnect"), ("reject_type temp", "temp")] {
        let mut trial = Trial::new(&format!("helo reject naughty {arguments}"), &[]);
        hello(&mut trial, "localhost");
        let found = trial.session.connection.notes.get(NAUGHTY_REJECT_TYPE);
        assert_eq!(found.as_deref(), Some(word));
    }
}

#[test]
fn immune_clients_are_not_judged() {
    let mut trial = Trial::new("helo policy strict", &[]);
    trial.session.connection.relay_client = true;
    assert_eq!(hello(&mut trial, "localhost"), DECLINED);
}

#[test]
fn the_message_gets_the_name() {
    let mut trial = Trial::new("helo", &[]);
    trial.session.connection.hello_host = "mx.example.net".into();
    trial.message("Subject: x\nX-HELO: forged\nX-Helo: twice\n\ntext\n");
    assert_eq!(trial.plain(Hook::DataPost), DECLINED);
    let header = trial.session.transaction.header.to_bytes();
    assert_eq!(header, b"X-HELO: mx.example.net\r\nSubject: x\r\n");
    trial.session.connection.hello_host = "m\u{fc}.test".into();
    trial.message("Subject: x\n\n");
    trial.plain(Hook::DataPost);
    let header = trial.session.transaction.header.to_bytes();
    assert_eq!(header, b"X-HELO: m?.test\r\nSubject: x\r\n");
}

const DNS: &str = "\
    1.2.0.192.in-addr.arpa PTR mx1.example.net\n\
    mx1.example.net A 192.0.2.1\n\
    pool.example.org A 192.0.2.99\n\
    mx7.example.net A 198.51.100.1\n\
    six.example.org AAAA 2001:db8::1\n\
    text.example.net TXT none\n\
    later.example.org A failed\n\
    half.example.org A failed\n\
    half.example.org AAAA 2001:db8::1";

/// What a policy says of a name, and the notes of the name and the address.
fn in_dns(policy: &str, host: &str, dns: &str) -> (String, bool, bool) {
    let mut trial = Trial::new(&format!("helo policy {policy}"), &[]).with_dns(dns);
    let text = hello(&mut trial, host).text().to_owned();
    let notes = &trial.session.connection.notes;
    (text, notes.is_true(FORWARD_MATCH), notes.is_true(REVERSE_MATCH))
}

#[test]
fn names_have_addresses_and_addresses_names() {
    let other = "That HELO hostname fails FCrDNS";
    let none = "HELO hostname does not exist";
    let no_address = "HELO hostname did not resolve";
    for (host, rfc, strict, forward, reverse) in [
        ("mx1.example.net", "", "", true, true),
        ("mx1.example.net.", "", "", true, true),
        ("pool.example.org", "", "", true, false),
        ("mx7.example.net", "", "", false, true),
        ("six.example.org", "", other, false, false),
        ("nowhere.example.org", none, none, false, false),
        ("text.example.net", no_address, no_address, false, true),
        ("later.example.org", "", "", false, false),
        ("half.example.org", "", other, false, false),
        ("[192.0.2.1]", "", LITERAL, false, false),
    ] {
        assert_eq!(in_dns("lenient", host, DNS), (String::new(), false, false), "{host}");
        assert_eq!(in_dns("rfc", host, DNS), (rfc.into(), forward, reverse), "{host}");
        assert_eq!(in_dns("strict", host, DNS).0, strict, "{host}");
    }
    let nameless = "mx1.example.net A 192.0.2.1";
    assert_eq!(in_dns("rfc", "mx1.example.net", nameless).0, "no rDNS for 192.0.2.1");
    let odd = format!("{nameless}\n1.2.0.192.in-addr.arpa TXT x");
    assert_eq!(in_dns("rfc", "mx1.example.net", &odd).0, "no reverse DNS for 192.0.2.1");
    assert_eq!(in_dns("rfc", "[192.0.2.1]", "").0, "no rDNS for 192.0.2.1");
}

#[test]
fn nobody_is_refused_for_a_name_server_that_is_away() {
    let away =
        "1.2.0.192.in-addr.arpa PTR failed\nmx.example.org A failed\nmx.example.org AAAA failed";
    for policy in ["rfc", "strict"] {
        assert_eq!(in_dns(policy, "mx.example.org", away).0, "", "{policy}");
    }
    let mut trial = Trial::new("helo policy strict", &[]).with_dns(away);
    hello(&mut trial, "mx.example.org");
    assert!(trial.log().contains("a look-up failed: no answer in time"));
}

#[test]
fn a_second_name_is_judged_by_itself() {
    let mut trial = Trial::new("helo policy rfc", &[]).with_dns(DNS);
    hello(&mut trial, "mx1.example.net");
    hello(&mut trial, "six.example.org");
    assert!(!trial.session.connection.notes.is_true(FORWARD_MATCH));
}
