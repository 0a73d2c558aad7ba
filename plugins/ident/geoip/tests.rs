use std::fs;

use serde_json::{Value, json};

use super::writer::database;
use super::*;
use crate::hook::{Code, Hook, KARMA};
use crate::testing::Trial;

fn zurich() -> Value {
    json!({
        "city": {"geoname_id": 2_657_896, "names": {"de": "Zürich", "en": "Zurich"}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "CH", "names": {"en": "Switzerland"}},
        "location": {"latitude": 47.3682, "longitude": 8.5671, "time_zone": "Europe/Zurich"},
    })
}

fn auckland() -> Value {
    json!({
        "city": {"names": {"en": "Auckland"}},
        "continent": {"code": "OC"},
        "country": {"iso_code": "NZ", "names": {"en": "New Zealand"}},
        "location": {"latitude": -36.8506, "longitude": 174.7679},
    })
}

fn cities() -> Vec<u8> {
    database(
        "GeoLite2-City",
        &[
            ("192.0.2.0/24", zurich()),
            ("198.51.100.0/25", auckland()),
            ("2001:db8::/32", zurich()),
            ("203.0.113.0/24", json!({"country": {"iso_code": 7}})),
            ("203.0.111.0/24", json!({"city": {"names": {"en": "S\u{e3}o Paulo"}}})),
            ("203.0.112.0/24", json!({"city": {"names": {"en": "Evil\r\nX-Spam: no"}}})),
        ],
    )
}

fn networks() -> Vec<u8> {
    let known = |asn: u32, name: &str| json!({"autonomous_system_number": asn, "autonomous_system_organization": name});
    database(
        "GeoLite2-ASN",
        &[
            ("192.0.2.0/24", known(64496, "Example AG")),
            ("198.51.100.0/24", known(64511, "Another")),
        ],
    )
}

/// A folder with databases, and a trial that has them.
fn trial(arguments: &str, rules: &str) -> (tempfile::TempDir, Trial) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("GeoLite2-City.mmdb"), cities()).unwrap();
    fs::write(folder.path().join("GeoLite2-ASN.mmdb"), networks()).unwrap();
    let line = format!("ident/geoip db_dir {} {arguments}", folder.path().display());
    let trial = Trial::new(&line, &[("geoip", rules)]);
    (folder, trial)
}

fn loads(folder: &tempfile::TempDir, arguments: &str, rules: &str) -> Result<Trial> {
    let line = format!("ident/geoip db_dir {} {arguments}", folder.path().display());
    Trial::load(&line, &[("geoip", rules)])
}

#[test]
fn what_is_known_is_in_notes_and_headers() {
    let (_folder, mut trial) = trial("distance 47.3682,8.5671", "");
    trial = trial.from_ip("198.51.100.1");
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    let notes = &trial.session.connection.notes;
    for (note, value) in
        [(COUNTRY, "NZ"), (COUNTRY_NAME, "New Zealand"), (CONTINENT, "OC"), (CITY, "Auckland")]
    {
        assert_eq!(notes.get(note).as_deref(), Some(value));
    }
    assert_eq!((notes.get(ASN), notes.get(ASN_NAME)), (Some(64511), Some("Another".into())));
    let distance = notes.get(DISTANCE).unwrap();
    assert!((18_400..18_600).contains(&distance), "{distance}");
    let log = format!("ident/geoip: OC, NZ, Auckland, AS64511, {distance} km");
    assert!(trial.log().contains(&log), "{}", trial.log());
    trial.message("Subject: x\nX-GeoIP-Country: XX\n\n");
    trial.plain(Hook::DataPost);
    let header = trial.session.transaction.header.to_bytes();
    let wanted = "X-GeoIP-ASN: 64511\nX-GeoIP-City: Auckland\nX-GeoIP-Continent: OC\n\
        X-GeoIP-Country: NZ\nSubject: x\n";
    assert_eq!(String::from_utf8(header).unwrap().replace("\r\n", "\n"), wanted);
}

#[test]
fn addresses_of_ipv6_and_mapped_ones_are_looked_up() {
    for (ip, country) in [
        ("2001:db8::1", Some("CH")),
        ("2001:db9::1", None),
        ("::ffff:192.0.2.7", Some("CH")),
        ("198.51.100.128", None),
    ] {
        let mut trial = trial("", "").1.from_ip(ip);
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        assert_eq!(trial.session.connection.notes.get(COUNTRY).as_deref(), country, "{ip}");
    }
    let mut trial = trial("", "").1.from_ip("127.0.0.1");
    trial.plain(Hook::Connect);
    assert!(trial.log().contains("skip, this machine"));
    let mut trial = self::trial("", "").1.from_ip("10.0.0.1");
    trial.plain(Hook::Connect);
    assert!(trial.log().contains("skip, no results"));
}

#[test]
fn distances_are_from_an_address_or_a_place() {
    for (arguments, ip, karma) in [
        ("distance 192.0.2.9 too_far 18000", "198.51.100.1", Some(-1)),
        ("distance 192.0.2.9 too_far 19000", "198.51.100.1", None),
        ("distance 47.3,8.5 too_far 18000", "198.51.100.1", Some(-1)),
        ("distance 10.0.0.1 too_far 1", "198.51.100.1", None),
        ("distance 192.0.2.9 too_far 0", "192.0.2.1", None),
    ] {
        let mut trial = trial(arguments, "").1.from_ip(ip);
        trial.plain(Hook::Connect);
        assert_eq!(trial.session.connection.notes.get(KARMA), karma, "{arguments}");
    }
    assert_eq!(kilometers((0.0, 0.0), (0.0, 180.0)), 20_037);
    assert_eq!(kilometers((90.0, 0.0), (-90.0, 77.0)), 20_037);
    assert_eq!(kilometers((51.5, 0.0), (51.5, 0.0)), 0);
}

#[test]
fn rules_refuse_or_change_the_karma() {
    let refused = |what: &str| Verdict::deny(format!("mail from your {what} is not accepted here"));
    for (rules, verdict) in [
        ("deny country ch", refused("country")),
        ("deny country DE FR CH", refused("country")),
        ("deny continent EU", refused("continent")),
        ("deny asn 64511 AS64496", refused("network")),
        ("allow asn 64496\ndeny country CH", DECLINED),
        ("deny country NZ", DECLINED),
        ("deny asn 64497", DECLINED),
    ] {
        let (_folder, mut trial) = trial("", rules);
        assert_eq!(trial.plain(Hook::Connect), verdict, "{rules}");
    }
    let (_folder, mut trial) = trial("", "karma -3 country CH\ndeny continent EU");
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    assert_eq!(trial.session.connection.notes.get(KARMA), Some(-3));
    let (_folder, mut trial) = self::trial("", "deny country CH");
    trial.session.connection.relay_client = true;
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    let (_folder, mut trial) = self::trial("reject 0", "deny country CH");
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    let (_folder, mut trial) = self::trial("reject_type temp", "deny country CH");
    assert_eq!(trial.plain(Hook::Connect).code(), Code::DenySoft);
    // In a running server a bad line is left out.
    trial.set_config("geoip", "deny country\ndeny country NZ\n");
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    assert!(trial.log().contains("geoip:1: no country in the line"), "{}", trial.log());
}

#[test]
fn odd_records_are_no_results_or_fail() {
    let (_folder, mut trial) = trial("", "");
    trial = trial.from_ip("203.0.113.1");
    assert_eq!(trial.plain(Hook::Connect), DECLINED);
    assert!(trial.log().contains("skip, "), "{}", trial.log());
    let mut trial = self::trial("on_error tempfail", "").1.from_ip("203.0.113.1");
    assert!(trial.plain(Hook::Connect).is_failure());
    let mut trial = self::trial("", "").1.from_ip("203.0.112.1");
    trial.plain(Hook::Connect);
    assert_eq!(trial.session.connection.notes.get(CITY).as_deref(), Some("EvilX-Spam: no"));
    let mut trial = self::trial("", "").1.from_ip("203.0.111.1");
    trial.plain(Hook::Connect);
    trial.message("Subject: x\n\n");
    trial.plain(Hook::DataPost);
    let city = trial.session.transaction.header.get("X-GeoIP-City").map(|city| city.into_owned());
    assert_eq!(city.as_deref().map(str::trim), Some("=?utf-8?b?U8OjbyBQYXVsbw==?="));
    assert!(in_header(&"\u{e3}".repeat(100)).len() <= 75);
}

#[test]
fn files_are_cut_off_overwritten_and_replaced() {
    let (folder, mut trial) = trial("", "");
    let file = folder.path().join("GeoLite2-City.mmdb");
    let country = |trial: &mut Trial| {
        trial.session.connection.notes.clear();
        assert_eq!(trial.plain(Hook::Connect), DECLINED);
        trial.session.connection.notes.get(COUNTRY)
    };
    let replace = |octets: &[u8]| {
        let new = folder.path().join("new");
        fs::write(&new, octets).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    let refresh = |trial: &Trial| trial.before_fork();
    assert_eq!(country(&mut trial).as_deref(), Some("CH"));
    assert!(!refresh(&trial));
    // What is no database leaves the old one in use, and is told once.
    for octets in [&b""[..], b"rubbish", &cities()[..500]] {
        replace(octets);
        assert!(!refresh(&trial));
        assert_eq!(country(&mut trial).as_deref(), Some("CH"));
    }
    let log = trial.take_log();
    assert!(log.contains("the new database is broken, the old one stays: "), "{log}");
    replace(&database("GeoLite2-City", &[("192.0.2.0/24", auckland())]));
    assert!(refresh(&trial));
    assert_eq!(country(&mut trial).as_deref(), Some("NZ"));
    // A file that is cut off while it is in use ends no process.
    fs::write(&file, "").unwrap();
    assert_eq!(country(&mut trial), None);
    assert!(trial.log().contains("GeoLite2-City.mmdb: it was truncated"), "{}", trial.log());
    fs::remove_file(&file).unwrap();
    assert!(!refresh(&trial));
}

/// Every database that differs in an octet, or is cut off, is refused or read; nothing panics.
#[test]
fn damage_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("GeoLite2-City.mmdb");
    let good = database("GeoLite2-City", &[("192.0.2.0/28", zurich())]);
    let look = |octets: &[u8]| {
        fs::write(&file, octets).unwrap();
        if let Ok(mut trial) = loads(&folder, "", "") {
            trial.plain(Hook::Connect);
        }
    };
    (0..good.len()).step_by(7).for_each(|length| look(&good[..length]));
    for at in (0..good.len()).step_by(3) {
        let mut octets = good.clone();
        octets[at] ^= 0xff;
        look(&octets);
    }
}

#[test]
fn wrong_arguments_and_files_stop_the_start() {
    let empty = tempfile::tempdir().unwrap();
    let error = loads(&empty, "", "").err().unwrap().to_string();
    assert!(error.contains("no database such as GeoLite2-City.mmdb in /"), "{error}");
    let (folder, _trial) = trial("", "");
    for (arguments, rules, why) in [
        ("colour red", "", "unknown argument 'colour'"),
        ("distance here", "", "LATITUDE,LONGITUDE"),
        ("distance 91,0", "", "LATITUDE,LONGITUDE"),
        ("too_far away", "", "too_far"),
        ("places /no/such.mmdb", "", "/no/such.mmdb: No such file"),
        ("", "deny country CHE", "geoip:1: ident/geoip: not a code of two letters: 'CHE'"),
        ("", "deny asn CH", "geoip:1: ident/geoip: not the number of a network: 'CH'"),
        ("", "refuse country CH", "geoip:1: ident/geoip: unknown action 'refuse'"),
        (
            "",
            "deny city Zurich",
            "geoip:1: ident/geoip: unknown kind 'city' (known: country, continent, asn)",
        ),
        ("", "karma country CH", "geoip:1: ident/geoip: no number after karma"),
    ] {
        let error = loads(&folder, arguments, rules).err().unwrap().to_string();
        assert!(error.contains(why), "{arguments} {rules}: {error}");
    }
    fs::remove_file(folder.path().join("GeoLite2-ASN.mmdb")).unwrap();
    let error = loads(&folder, "", "deny asn 64496").err().unwrap().to_string();
    assert!(error.contains("there is no database of them"), "{error}");
    fs::write(folder.path().join("GeoLite2-City.mmdb"), "rubbish").unwrap();
    let error = loads(&folder, "", "").err().unwrap().to_string();
    assert!(error.contains("GeoLite2-City.mmdb: "), "{error}");
}
