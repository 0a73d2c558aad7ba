use super::entry::{Entry, Judgement, explain};
use super::rules::Rules;
use super::{GREYLIST, client};
use crate::hook::Code::{Declined, DenySoft};
use crate::hook::{Code, DECLINED, Hook, WHITELISTHOST};
use crate::plugins::whitelist::WHITELISTRCPT;
use crate::state::{Note, Value};
use crate::testing::Trial;

const START: u64 = 1_700_000_000;
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

fn trial(arguments: &str) -> Trial {
    with_files(arguments, &[])
}

fn with_files(arguments: &str, files: &[(&str, &str)]) -> Trial {
    let trial = Trial::new(&format!("greylisting {arguments}"), files);
    trial.set_clock(START);
    trial
}

fn mail_at(trial: &mut Trial, time: u64, sender: &str) -> Code {
    trial.session.reset_transaction();
    trial.set_clock(START + time);
    trial.mail(sender).code()
}

fn rcpt_at(trial: &mut Trial, time: u64, sender: &str, recipient: &str) -> Code {
    assert_eq!(mail_at(trial, time, sender), Declined);
    trial.rcpt(recipient).code()
}

fn entry(trial: &Trial, key: &str) -> Option<String> {
    trial.store("greylisting").get(key).unwrap()
}

#[test]
fn who_comes_again_in_time_is_known() {
    let mut trial = trial("");
    let mail = |trial: &mut Trial, time: u64| mail_at(trial, time, "<a@example.net>");
    let verdict = trial.mail("<a@example.net>");
    assert_eq!((verdict.code(), verdict.text()), (DenySoft, "This mail is temporarily denied"));
    assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{START}:1:0:0")));
    assert_eq!(mail(&mut trial, 49 * MINUTE), DenySoft);
    assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{START}:1:1:0")));
    assert_eq!(mail(&mut trial, 51 * MINUTE), Declined);
    let since = START + 51 * MINUTE;
    assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{since}:1:1:1")));
    // Each mail renews it.
    for day in [30, 60, 95] {
        assert_eq!(mail(&mut trial, day * DAY), Declined, "{day}");
    }
    assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{}:1:1:4", START + 95 * DAY)));
    assert_eq!(mail(&mut trial, (95 + 36) * DAY), DenySoft);
}

#[test]
fn an_entry_goes_from_new_to_known() {
    let rules = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let pairs: Vec<_> =
            words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
        Rules::default().with(&pairs).unwrap()
    };
    let rules = rules("black_timeout 10 grey_timeout 20 white_timeout 100");
    for (old, now, new, judgement, left) in [
        ("", 1000, "1000:1:0:0", Judgement::New, 20),
        ("1000:1:0:0", 1009, "1000:1:1:0", Judgement::Black(1), 11),
        ("1000:1:1:0", 1010, "1010:1:1:1", Judgement::Grey, 100),
        ("1000:1:1:0", 1019, "1019:1:1:1", Judgement::Grey, 100),
        ("1000:1:1:0", 1020, "1020:2:1:0", Judgement::New, 20),
        ("1010:1:1:1", 1109, "1109:1:1:2", Judgement::White(2), 100),
        ("1010:1:1:1", 1110, "1110:2:1:0", Judgement::New, 20),
        // The clock was set back.
        ("5000:1:0:0", 1000, "1000:1:1:0", Judgement::Black(1), 20),
        ("5000:1:0:3", 1000, "1000:1:0:4", Judgement::White(4), 100),
        ("0:4294967295:4294967295:4294967295", 0, "", Judgement::White(u32::MAX), 100),
    ] {
        let (entry, said) = Entry::next(old.parse().ok(), now, &rules);
        assert_eq!(
            (said, entry.time_left(now, &rules).as_secs()),
            (judgement, left),
            "{old} {now}"
        );
        assert!(new.is_empty() || entry.to_string() == new, "{old} {now}: {entry}");
    }
    for text in ["", "1:2:3", "1:2:3:4:5", "x:1:0:0", "1:-1:0:0"] {
        assert_eq!(text.parse::<Entry>(), Err(()), "{text}");
    }
}

#[test]
fn sender_and_recipient_can_be_part_of_it() {
    let mut trial = trial("remote_ip 0 sender 1 recipient 1");
    for (sender, recipient) in
        [("<a@example.net>", "<b@example.com>"), ("<A@Example.NET>", "<c@x.test>")]
    {
        assert_eq!(rcpt_at(&mut trial, 0, sender, recipient), DenySoft);
    }
    let keys: Vec<String> =
        trial.store("greylisting").entries().unwrap().into_iter().map(|kept| kept.key).collect();
    assert_eq!(keys, ["<a@example.net> <b@example.com>", "<a@example.net> <c@x.test>"]);
    let later = 51 * MINUTE;
    assert_eq!(rcpt_at(&mut trial, later, "<a@example.net>", "<B@example.com>"), Declined);
    assert_eq!(rcpt_at(&mut trial, later, "<z@example.net>", "<b@example.com>"), DenySoft);
    let mut nothing = self::trial("remote_ip 0");
    assert_eq!(nothing.mail("<a@example.net>"), DECLINED);
    assert!(nothing.log().contains("enable one of remote_ip, sender, or recipient!"));
}

#[test]
fn neighbours_and_organizations_are_known_together() {
    let again = |trial: Trial, ip: &str| {
        let mut trial = trial.from_ip(ip);
        mail_at(&mut trial, 51 * MINUTE, "<a@example.net>")
    };
    for (one, near, far, key) in [
        ("192.0.2.1", "192.0.2.254", "192.0.3.1", "192.0.2.0/24"),
        ("2001:db8::1", "2001:db8::ffff:0:0:9", "2001:db8:0:1::1", "2001:db8::/64"),
    ] {
        for (other, code) in [(near, Declined), (far, DenySoft)] {
            let mut trial = trial("remote_ip network").from_ip(one);
            assert_eq!(trial.mail("<a@example.net>").code(), DenySoft);
            assert!(entry(&trial, key).is_some(), "{key}");
            assert_eq!(again(trial, other), code, "{other}");
        }
    }
    let dns = "\
        1.2.0.192.in-addr.arpa PTR mx1.sender.co.uk\nmx1.sender.co.uk A 192.0.2.1\n\
        9.100.51.198.in-addr.arpa PTR mx9.other.sender.co.uk\nmx9.other.sender.co.uk A 198.51.100.9\n\
        7.100.51.198.in-addr.arpa PTR mx1.sender.co.uk\n\
        8.100.51.198.in-addr.arpa PTR dyn-198-51-100-8.sender.co.uk\n\
        dyn-198-51-100-8.sender.co.uk A 198.51.100.8";
    let list = "{dir}/config/list";
    let suffixes = "// ===BEGIN ICANN DOMAINS===\nuk\nco.uk\n// ===END ICANN DOMAINS===\n";
    for (other, code) in
        [("198.51.100.9", Declined), ("198.51.100.7", DenySoft), ("198.51.100.8", DenySoft)]
    {
        let arguments = format!("remote_ip name suffixes {list}");
        let mut trial = with_files(&arguments, &[("list", suffixes)]).with_dns(dns);
        assert_eq!(trial.mail("<a@example.net>").code(), DenySoft);
        assert!(entry(&trial, "sender.co.uk").is_some(), "{}", trial.log());
        assert_eq!(again(trial, other), code, "{other}");
    }
    let missing = Trial::load("greylisting remote_ip name suffixes /nowhere", &[]).err().unwrap();
    assert!(missing.to_string().contains("the list of public suffixes"), "{missing}");
    for (name, ip, is_made) in [
        ("dyn-1-2-0-192.pool.test", "192.0.2.1", true),
        ("1.2.0.192.pool.test", "192.0.2.1", true),
        ("p2-1.pool.test", "192.0.2.1", true),
        ("mx21.pool.test", "192.0.2.1", false),
        ("x2001-db8--dead-beef.test", "2001:db8::dead:beef", true),
        ("mx1.test", "2001:db8::dead:beef", false),
    ] {
        assert_eq!(client::is_made_of(name, ip.parse().unwrap()), is_made, "{name}");
    }
}

#[test]
fn who_was_known_by_its_address_stays_known() {
    let mut trial = trial("remote_ip network");
    trial
        .store("greylisting")
        .put("192.0.2.1", format!("{START}:1:0:3"), std::time::Duration::MAX)
        .unwrap();
    assert_eq!(mail_at(&mut trial, DAY, "<a@example.net>"), Declined);
    assert_eq!(entry(&trial, "192.0.2.0/24"), Some(format!("{}:1:0:4", START + DAY)));
}

#[test]
fn spf_exempts_or_stands_for_the_client() {
    let dns = "example.net TXT v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 -all\n\
        example.org TXT v=spf1 -all";
    let mut exempts = trial("spf 1").with_dns(dns);
    assert_eq!(mail_at(&mut exempts, 0, "<a@example.net>"), Declined);
    for sender in ["<a@example.org>", "<a@elsewhere.test>"] {
        assert_eq!(mail_at(&mut exempts, 0, sender), DenySoft, "{sender}");
    }
    let mut both = Trial::new("sender_permitted_from\ngreylisting spf 1", &[]).with_dns(dns);
    assert_eq!(both.mail("<a@example.net>").code(), Declined);
    let mut perl = trial("spf 1");
    let note = |trial: &mut Trial, result: &str| {
        trial.session.reset_transaction();
        trial.session.transaction.notes.set(Note::new("spfquery"), result.to_owned());
        trial.mail("<a@example.net>").code()
    };
    assert_eq!((note(&mut perl, "pass"), note(&mut perl, "softfail")), (Declined, DenySoft));
    let mut stands = trial("spf domain").with_dns(dns);
    assert_eq!(mail_at(&mut stands, 0, "<a@Example.net>"), DenySoft);
    assert!(entry(&stands, "example.net").is_some());
    let mut stands = stands.from_ip("198.51.100.7");
    assert_eq!(mail_at(&mut stands, 51 * MINUTE, "<b@example.net>"), Declined);
    assert_eq!(mail_at(&mut stands, 51 * MINUTE, "<b@example.org>"), DenySoft);
    assert!(entry(&stands, "198.51.100.7").is_some());
}

#[test]
fn the_null_sender_and_deny_late_are_told_at_data() {
    for (arguments, sender) in
        [("", "<>"), ("recipient 1", "<>"), ("deny_late 1", "<a@example.net>")]
    {
        let mut trial = trial(arguments);
        assert_eq!(rcpt_at(&mut trial, 0, sender, "<b@example.com>"), Declined, "{arguments}");
        let verdict = trial.plain(Hook::Data);
        assert_eq!((verdict.code(), verdict.text()), (DenySoft, super::TEXT), "{arguments}");
        trial.session.transaction.notes.set(WHITELISTRCPT, 1);
        assert_eq!(trial.plain(Hook::Data).code(), Declined);
        trial.session.transaction.notes.set(WHITELISTRCPT, 2);
        assert_eq!(trial.plain(Hook::Data).code(), DenySoft);
        assert_eq!(rcpt_at(&mut trial, 51 * MINUTE, sender, "<b@example.com>"), Declined);
        assert!(!trial.session.transaction.notes.is_true(GREYLIST));
        assert_eq!(trial.plain(Hook::Data).code(), Declined);
    }
}

#[test]
fn some_are_not_put_off() {
    let mut trial = trial("");
    trial.session.connection.relay_client = true;
    assert_eq!(trial.mail("<a@example.net>"), DECLINED);
    trial.session.connection.relay_client = false;
    trial.session.connection.notes.set(WHITELISTHOST, "1".into());
    assert_eq!(trial.mail("<a@example.net>"), DECLINED);
    assert!(trial.store("greylisting").entries().unwrap().is_empty());
}

#[test]
fn countries_and_systems_decide_who_is_put_off() {
    let country = |country: &str| {
        let mut trial = trial("geoip US,uk,HU");
        trial.session.connection.notes.set(Note::new("geoip_country"), country.to_owned());
        trial.mail("<a@example.net>").code()
    };
    for (name, code) in [("US", Declined), ("UK", Declined), ("hu", Declined), ("RU", DenySoft)] {
        assert_eq!(country(name), code, "{name}");
    }
    assert_eq!(trial("geoip US").mail("<a@example.net>").code(), DenySoft);
    for (wanted, key, value, code) in [
        ("genre,Windows", "genre", "windows", DenySoft),
        ("genre,windows", "genre", "Linux", Declined),
        ("detail,XP", "detail", "2000/xp", DenySoft),
        ("genre,linux,link,dsl", "link", "DSL", DenySoft),
        ("link,dsl", "link", "Ethernet", Declined),
        ("distance,8", "distance", "9", DenySoft),
        ("distance,8", "distance", "7", Declined),
        ("uptime,100", "uptime", "99", DenySoft),
        ("uptime,100", "uptime", "500", Declined),
    ] {
        let mut trial = trial(&format!("p0f {wanted}"));
        let p0f = [(key.to_owned(), Value::Str(value.to_owned())), ("other".into(), Value::Null)];
        trial
            .session
            .connection
            .notes
            .set(Note::new("p0f"), p0f.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        assert_eq!(trial.mail("<a@example.net>").code(), code, "{wanted} {value}");
    }
    assert_eq!(trial("p0f genre,windows").mail("<a@example.net>"), DECLINED);
}

#[test]
fn clients_in_files_are_not_put_off() {
    let files = [
        ("greylist_exclude_files", "clients\n{dir}/config/more\n/nowhere\n"),
        ("clients", "192.0.2.7 # one\n198.51.100.0/24\nsender.example\n/^mta[12]\\.siol\\.net$/\n"),
        ("more", "2001:db8::1\n(\n/(/\n"),
    ];
    for (ip, name, code) in [
        ("192.0.2.7", "", Declined),
        ("192.0.2.8", "", DenySoft),
        ("198.51.100.99", "", Declined),
        ("2001:db8::1", "", Declined),
        ("192.0.2.8", "mx.Sender.example", Declined),
        ("192.0.2.8", "nosender.example", DenySoft),
        ("192.0.2.8", "mta2.siol.net", Declined),
        ("192.0.2.8", "mta1234.siol.net", DenySoft),
    ] {
        let dns = format!("8.2.0.192.in-addr.arpa PTR {name}\n{name} A 192.0.2.8");
        let dns = if name.is_empty() { "" } else { dns.as_str() };
        let mut trial = with_files("", &files).from_ip(ip).with_dns(dns);
        assert_eq!(trial.mail("<a@example.net>").code(), code, "{ip} {name}");
    }
    // A name that does not lead back could be anybody's.
    let dns = "8.2.0.192.in-addr.arpa PTR mx.sender.example\nmx.sender.example A 203.0.113.1";
    let mut liar = with_files("", &files).from_ip("192.0.2.8").with_dns(dns);
    assert_eq!(liar.mail("<a@example.net>").code(), DenySoft);
    let log = liar.log();
    for problem in [
        "greylist_exclude_files:3: no file '/nowhere'",
        "more:2: not a host: '('",
        "more:3: pattern '(' does not compile",
    ] {
        assert!(log.contains(problem), "{log}");
    }
}

#[test]
fn the_file_has_arguments_and_config_plugins_counts_before_it() {
    let files =
        [("denysoft_greylist", "black_timeout 60\nrecipient  1\nmode testonly\nodd 1\nsender x\n")];
    let mut trial = with_files("reject 1", &files);
    assert_eq!(rcpt_at(&mut trial, 0, "<a@example.net>", "<b@example.com>"), DenySoft);
    assert_eq!(rcpt_at(&mut trial, 61, "<a@example.net>", "<b@example.com>"), Declined);
    let log = trial.log();
    assert!(
        log.contains("denysoft_greylist:4: unknown argument 'odd' (known: remote_ip, "),
        "{log}"
    );
    assert!(
        log.contains("denysoft_greylist:5: argument sender has the value 'x' (expected: 0, 1)"),
        "{log}"
    );
    // A change counts at once.
    trial.set_config("denysoft_greylist", "black_timeout 3600\n");
    assert_eq!(mail_at(&mut trial, 120, "<a@example.net>"), DenySoft);
    let mut odd = with_files("black_timeout 100", &[("denysoft_greylist", "white_timeout 100\n")]);
    assert_eq!(mail_at(&mut odd, 0, "<a@example.net>"), DenySoft);
    assert!(odd.log().contains("does not go with the arguments: grey_timeout and white_timeout"));
}

#[test]
fn a_recipient_has_settings_of_its_own() {
    let plugins = "user_config {dir}/%u\ngreylisting per_recipient 1";
    let mut trial = Trial::new(plugins, &[("denysoft_greylist", "black_timeout 600")]);
    for (user, text) in [
        ("fast", "black_timeout 60\n"),
        ("open", "reject 0\n"),
        ("off", "mode off\n"),
        ("odd", "sender 1\nwhite_timeout 1\n"),
    ] {
        std::fs::create_dir(trial.dir().join(user)).unwrap();
        std::fs::write(trial.dir().join(user).join("denysoft_greylist"), text).unwrap();
    }
    let rcpt = |trial: &mut Trial, time: u64, user: &str| {
        rcpt_at(trial, time, "<a@example.net>", &format!("<{user}@example.com>"))
    };
    assert_eq!(rcpt(&mut trial, 0, "off"), Declined);
    assert_eq!(entry(&trial, "192.0.2.1"), None);
    assert_eq!(rcpt(&mut trial, 0, "open"), Declined);
    assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{START}:1:0:0")));
    assert_eq!(rcpt(&mut trial, 61, "plain"), DenySoft);
    assert_eq!(rcpt(&mut trial, 61, "odd"), DenySoft);
    assert!(trial.log().contains("recipients cannot set sender"));
    assert!(trial.log().contains("have to be longer than black_timeout"));
    assert_eq!(rcpt(&mut trial, 61, "fast"), Declined);
    assert_eq!(rcpt(&mut trial, 62, "plain"), Declined);
}

#[test]
fn learning_puts_nobody_off() {
    for arguments in ["reject 0", "mode testonly"] {
        let mut trial = trial(arguments);
        assert_eq!(mail_at(&mut trial, 0, "<a@example.net>"), Declined);
        assert!(trial.log().contains("fail, tolerated, initial DENYSOFT, unknown: 192.0.2.1"));
        assert_eq!(mail_at(&mut trial, DAY, "<a@example.net>"), Declined);
        assert_eq!(entry(&trial, "192.0.2.1"), Some(format!("{}:1:0:1", START + DAY)));
    }
    let mut off = trial("mode off");
    assert_eq!(mail_at(&mut off, 0, "<a@example.net>"), Declined);
    assert_eq!(entry(&off, "192.0.2.1"), None);
}

#[test]
fn without_the_store_nobody_is_put_off_unless_on_error_says_so() {
    for (arguments, is_failure) in
        [("", false), ("on_error ignore", false), ("on_error tempfail", true)]
    {
        for hook in ["", "recipient 1"] {
            let mut trial = trial(&format!("{arguments} {hook}"));
            trial.break_store();
            let mut verdict = trial.mail("<a@example.net>");
            if !hook.is_empty() {
                assert_eq!(verdict, DECLINED);
                verdict = trial.rcpt("<b@example.com>");
            }
            assert_eq!(verdict.is_failure(), is_failure, "{arguments} {hook}");
            assert!(trial.log().contains("the store is not available"));
        }
    }
}

#[test]
fn arguments_without_meaning_are_errors() {
    for (line, text) in [
        (
            "remote_ip maybe",
            "argument remote_ip has the value 'maybe' (expected: 0, 1, network, name)",
        ),
        ("soft 1", "unknown argument 'soft' (known: remote_ip, "),
        ("sender", "argument sender has no value"),
        (
            "black_timeout 5m",
            "argument black_timeout has the value '5m' (expected: a number of seconds)",
        ),
        ("black_timeout 60 grey_timeout 60", "grey_timeout and white_timeout have to be longer"),
        ("p0f colour,red", "argument p0f has the value 'colour,red' (expected: genre,VALUE"),
        ("p0f genre", "argument p0f has the value 'genre'"),
        ("reject maybe", "argument reject has the value 'maybe' (expected: 0, 1)"),
        ("mode on", "argument mode has the value 'on' (expected: denysoft, testonly, off)"),
        ("spf pass", "argument spf has the value 'pass' (expected: 0, 1, domain)"),
    ] {
        let error = Trial::load(&format!("greylisting {line}"), &[]).err().unwrap().to_string();
        assert!(error.contains(text), "{line}: {error}");
    }
    let old = "db_dir /var/lib/x redis localhost:6379 nfslock 1 upgrade 1 loglevel 4 p0f 0 geoip 0 \
        per_recipient_db 1 grey_timeout 12000 REMOTE_IP 1 reject naughty";
    let mut trial = trial(old);
    assert_eq!(trial.mail("<a@example.net>").code(), DenySoft);
}

#[test]
fn entries_are_explained() {
    let kept = |value: &str| crate::store::Kept {
        key: "192.0.2.1".into(),
        raw: b"192.0.2.1".to_vec(),
        value: value.into(),
        left: std::time::Duration::from_secs(30 * DAY),
        now: std::time::Duration::from_secs(START),
    };
    let since = |ago: u64| START - ago;
    for (value, text) in [
        (
            format!("{}:1:2:0", since(600)),
            "not known yet, tries: 3, the first 10 min ago; one in 40 min is accepted; \
                forgotten in 30 days",
        ),
        (
            format!("{}:1:0:0", since(2 * DAY)),
            "not known yet, tries: 1, the first 2 days ago; the next one is accepted; \
                forgotten in 30 days",
        ),
        (
            format!("{}:1:0:7", since(3 * 3600)),
            "known, deliveries: 7, the last 3 h ago; forgotten in 30 days without another",
        ),
        ("x".into(), "not an entry of greylisting"),
    ] {
        assert_eq!(explain(&kept(&value), &Rules::default()), text);
    }
}

#[test]
fn entries_of_perl_qpsmtpd_are_taken_over() {
    let rules = |line: &str| {
        let args = crate::hook::Args::new(line.split_whitespace());
        Rules::default().with(&super::rules::pairs(&args).unwrap()).unwrap()
    };
    let take = |key: &str, value: &str, rules: &Rules| {
        super::import::take_over(key, value, START, rules)
            .map(|taken| (taken.key, taken.value, taken.time.as_secs()))
    };
    let since = |ago: u64, rest: &str| format!("{}:{rest}", START - ago);
    let month = 36 * DAY;
    let triplet = "sender 1 recipient 1";
    for (arguments, key, ago, rest, taken) in [
        ("", "3221225985", 0, "1:0:0", Some(("192.0.2.1", month))),
        ("", "3221225985", DAY, "1:2:7", Some(("192.0.2.1", 35 * DAY))),
        ("", "192.0.2.1", DAY, "1:2:7", Some(("192.0.2.1", 35 * DAY))),
        ("remote_ip network", "3221225985", 0, "1:2:7", Some(("192.0.2.1", month))),
        ("", "42540766411282592856903984951653826561", 0, "1:0:1", Some(("2001:db8::1", month))),
        ("", "2001:db8::1", 0, "1:0:1", Some(("2001:db8::1", month))),
        (
            triplet,
            "3221225985:A@b.Test:c@d.test",
            0,
            "1:0:1",
            Some(("192.0.2.1 <a@b.test> <c@d.test>", month)),
        ),
        (triplet, "3221225985::c@d.test", 0, "1:0:1", Some(("192.0.2.1 <> <c@d.test>", month))),
        (
            triplet,
            "2001:db8::1:a@b.test:c@d.test",
            0,
            "1:0:1",
            Some(("2001:db8::1 <a@b.test> <c@d.test>", month)),
        ),
        ("remote_ip 0 sender 1", "a@b.test", 0, "1:0:1", Some(("<a@b.test>", month))),
        // It is over, or nothing of ours.
        ("", "3221225985", month, "1:2:7", None),
        ("grey_timeout 9000", "3221225985", 9000, "1:2:0", None),
        ("", "3221225985:a@b.test", 0, "1:0:1", None),
        (triplet, "3221225985", 0, "1:0:1", None),
        ("remote_ip 0 sender 1", "3221225985", 0, "1:0:1", None),
        ("", "3221225985", 0, "1:0", None),
        ("", "", 0, "1:0:0", None),
    ] {
        let value = since(ago, rest);
        let wanted = taken.map(|(key, time)| (key.to_owned(), value.clone(), time));
        assert_eq!(take(key, &value, &rules(arguments)), wanted, "{arguments} {key} {value}");
    }
    // An entry of a time that is still to come.
    let later = format!("{}:1:0:0", START + DAY);
    let now = format!("{START}:1:0:0");
    assert_eq!(take("1", &later, &rules("")), Some(("0.0.0.1".into(), now, month)));
}
