use super::*;

fn read<T: Value>(setting: Setting<T>, texts: &[&str]) -> Result<T, String> {
    setting.read(texts)
}

#[test]
fn names_are_there_once_and_found() {
    for (at, row) in TABLE.iter().enumerate() {
        assert!(TABLE[..at].iter().all(|other| other.name != row.name), "{}", row.name);
        assert_eq!(find(row.name).map(|found| found.name), Some(row.name));
    }
}

#[test]
fn defaults_are_of_their_kind() {
    for row in TABLE {
        let texts = match row.default {
            Default::Is(text) => vec![text],
            Default::Without(_) => vec![],
            Default::Host | Default::As(_) => continue,
        };
        assert!(row.read(&texts).is_ok(), "{}", row.name);
    }
}

#[test]
fn a_number_may_be_followed_by_a_comment() {
    for text in ["10485760", "10485760 # ten MB", "10485760\t#", "10485760 #ten"] {
        assert_eq!(read(DATABYTES, &[text, "more"]), Ok(10_485_760), "{text}");
    }
    for text in ["10M", "10 MB", "-1", "1e6", "# 1", "", "0x10", "99999999999999999999"] {
        let why = read(DATABYTES, &[text]).unwrap_err();
        assert_eq!(why, format!("databytes is '{text}', not a number"));
    }
}

#[test]
fn times_are_seconds_that_no_clock_overflows() {
    assert_eq!(read(TIMEOUT, &["60 # a minute"]), Ok(Duration::from_secs(60)));
    for text in ["0", "soon", "60s", "18446744073709551615", "-5"] {
        assert!(read(TIMEOUT, &[text]).unwrap_err().contains("seconds"), "{text}");
    }
}

#[test]
fn yes_and_no_have_few_words() {
    for (text, is_on) in [("1", true), ("YES # always", true), ("0", false), ("Off", false)] {
        assert_eq!(read(TLS_BEFORE_AUTH, &[text]), Ok(is_on), "{text}");
    }
    for text in ["2", "ja", "", "yes please"] {
        assert!(read(TLS_BEFORE_AUTH, &[text]).is_err(), "{text}");
    }
}

#[test]
fn words_levels_and_permissions_are_known_ones() {
    assert_eq!(read(BARE_NEWLINE, &["Normalize"]), Ok(BareNewline::Normalize));
    let why = read(BARE_NEWLINE, &["ignore"]).unwrap_err();
    assert_eq!(why, "bare_newline is 'ignore', not one of reject, normalize, accept");
    assert_eq!(read(LOGLEVEL, &["LOGINFO"]), Ok(Level::Info));
    assert_eq!(read(LOGLEVEL, &["7"]), Ok(Level::Debug));
    assert_eq!(read(LOGLEVEL, &["9"]), Ok(Level::Debug));
    for text in ["LOUD", "-1", "+1"] {
        let why = read(LOGLEVEL, &[text]).unwrap_err();
        assert!(why.contains("(0 to 7, where more is 7, or LOGEMERG to LOGDEBUG)"), "{why}");
    }
    assert_eq!(read(SPOOL_PERMS, &["0750"]), Ok(Permissions(0o750)));
    for text in ["rwx", "0999", "77777", "0777", "1777"] {
        assert!(read(SPOOL_PERMS, &[text]).is_err(), "{text}");
    }
    assert!(read(AUTH_MECHANISMS, &["plain", "LOGIN"]).unwrap().contain("Plain"));
    assert!(read(AUTH_MECHANISMS, &["plain", "GSSAPI"]).unwrap_err().contains("GSSAPI"));
}

#[test]
fn name_servers_have_addresses() {
    let address = |text| read(DNS_SERVERS, &[text]).unwrap().as_slice()[0].address.to_string();
    assert_eq!(address("192.0.2.1"), "192.0.2.1:53");
    assert_eq!(address("192.0.2.1:5353 # ours"), "192.0.2.1:5353");
    assert_eq!(address("2001:db8::1"), "[2001:db8::1]:53");
    assert_eq!(address("[2001:db8::1]"), "[2001:db8::1]:53");
    assert_eq!(address("[2001:db8::1]:54"), "[2001:db8::1]:54");
    let trusted = |text| read(DNS_SERVERS, &[text]).unwrap().as_slice()[0].trusted;
    assert!(trusted("127.0.0.1") && trusted("[::1]:5353") && trusted("192.0.2.1 trusted"));
    assert!(!trusted("192.0.2.1"));
    for text in ["", "ns.example", "192.0.2.1:x", "192.0.2.1 very", "192.0.2.1 trusted x", "[::1"] {
        assert!(read(DNS_SERVERS, &["127.0.0.1", text]).is_err(), "{text}");
    }
}

#[test]
fn names_of_hosts_are_words() {
    assert_eq!(read(ME, &["mx_1.example.com # we"]).as_deref(), Ok("mx_1.example.com"));
    assert!(read(ME, &["mx.example.com,"]).is_err());
    assert!(read(ME, &["our server"]).is_err());
    assert_eq!(read(ME, &["B\u{fc}cher.example"]).as_deref(), Ok("xn--bcher-kva.example"));
    assert_eq!(read(ME, &["xn--bcher-kva.example"]).as_deref(), Ok("xn--bcher-kva.example"));
    assert!(read(ME, &["a\u{fffd}b.example"]).is_err());
    let greeting = read(SMTPGREETING, &["hello # there"]).unwrap();
    assert_eq!(greeting.as_deref(), Some("hello # there"));
}

#[test]
fn names_of_variables_may_end_in_a_star() {
    let names = read(KEEP_ENVIRONMENT, &["MAILDIR # ours", "FAKETIME*"]).unwrap();
    assert!(names.iter().eq(["MAILDIR", "FAKETIME*"]));
    for text in ["MAILDIR MAILUSER", "MAILDIR=/var/mail", "*DIR"] {
        let why = read(KEEP_ENVIRONMENT, &["TZ", text]).unwrap_err();
        assert_eq!(why, format!("keep_environment is '{text}', not NAME or NAME*"));
    }
}

#[test]
fn addresses_and_networks_are_found() {
    let lines = ["192.0.2.1 198.51.100.7/24", "2001:db8::/32", "::ffff:203.0.113.1", "::1 # we"];
    let networks = read(PROXY_FROM, &lines).unwrap();
    for (ip, found) in [
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("198.51.100.0", true),
        ("198.51.100.255", true),
        ("198.51.101.0", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::1", false),
        ("203.0.113.1", true),
        ("::1", true),
    ] {
        assert_eq!(networks.contains(ip.parse().unwrap()), found, "{ip}");
    }
    for line in ["localhost", "192.0.2.0/33", "192.0.2.*", "192.0.2.1 and others"] {
        let why = read(PROXY_FROM, &["::1", line]).unwrap_err();
        assert_eq!(why, format!("proxy_from is '{line}', not an address or network"));
    }
}

#[test]
fn ports_are_numbers() {
    let ports = read(LMTP_PORTS, &["24", "2003 # another"]).unwrap();
    assert!(ports.contains(24) && ports.contains(2003) && !ports.contains(25));
    for line in ["0", "65536", "lmtp", "24,25"] {
        assert!(read(LMTP_PORTS, &[line]).unwrap_err().contains(line), "{line}");
    }
}

/// What others see of a line is neither a secret nor a plugin's argument.
#[test]
fn secrets_are_not_shown() {
    assert_eq!(SCRAM_SECRET.row().kind.shown("hunter2"), "(set)");
    assert_eq!(PLUGINS.row().kind.shown("auth/x password hunter2"), "auth/x");
    assert_eq!(ME.row().kind.shown("mx.test"), "mx.test");
}

#[test]
fn docs_config_md_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    let doc = std::fs::read_to_string(path).unwrap();
    let rows: Vec<String> = TABLE.iter().map(|row| row.markdown()).collect();
    let table = rows.join("\n");
    assert!(doc.contains(&table), "the table in docs/config.md should be:\n{table}\n");
    let count = doc.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 6);
    assert_eq!(count.count(), rows.len() + 2, "docs/config.md has other rows");
}
