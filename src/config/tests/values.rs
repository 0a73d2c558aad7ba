use super::*;
use crate::settings::{DATABYTES, ME, ME_AUTH_RESULTS, PROXY_FROM, TIMEOUT, TIMEOUTSMTPD};
use std::time::Duration;

#[test]
fn a_setting_follows_its_file() {
    let setup = setup();
    assert_eq!(setup.config.setting(DATABYTES), 0);
    assert!(!setup.config.is_set(DATABYTES));
    setup.write("a/databytes", "# octets\n1000 # few\n2000\n");
    setup.config.expire();
    assert_eq!(setup.config.setting(DATABYTES), 1000);
    assert!(setup.config.is_set(DATABYTES));
    assert!(setup.problems().is_empty());
}

/// No limit is turned off by a value that cannot be read.
#[test]
fn the_last_good_value_stays_and_is_said_once() {
    let setup = with("a/databytes", "1000");
    assert_eq!(setup.config.setting(DATABYTES), 1000);
    setup.write("a/databytes", "\n10M\n");
    for _ in 0..3 {
        setup.config.expire();
        assert_eq!(setup.config.setting(DATABYTES), 1000);
    }
    let why = "a/databytes:2: databytes is '10M', not a number; the last value stays";
    assert_eq!(setup.problems(), [why]);
    setup.write("a/databytes", "2000");
    setup.config.expire();
    assert_eq!(setup.config.setting(DATABYTES), 2000);
    assert!(setup.problems().is_empty());
}

/// What a check returns is no problem to log as well.
#[test]
fn a_fault_is_named_once() {
    let setup = with("a/databytes", "10M");
    setup.write("a/timeout", "soon");
    setup.config.setting(DATABYTES);
    assert_eq!(setup.config.check_settings().len(), 2);
    setup.config.setting(DATABYTES);
    assert!(setup.problems().is_empty());
}

/// Otherwise each of a hundred workers would say the same.
#[test]
fn what_the_parent_knows_it_says_itself() {
    let setup = with("a/databytes", "1000");
    assert_eq!(setup.config.setting(DATABYTES), 1000);
    assert!(setup.list("known").is_empty());
    setup.config.leave_parent();
    setup.write("a/databytes", "10M");
    setup.write("a/known", "$include nothing");
    setup.config.expire();
    assert_eq!(setup.config.setting(DATABYTES), 1000);
    assert!(setup.list("known").is_empty());
    assert!(setup.problems().is_empty());
    setup.write("a/new", "$include nothing");
    assert!(setup.list("new").is_empty());
    assert_eq!(setup.problems(), ["a/new:1: $include nothing: no such file"]);
}

#[test]
fn a_list_stays_whole_or_as_it_was() {
    let setup = with("a/proxy_from", "192.0.2.1\n");
    let has = |ip: &str| setup.config.setting(PROXY_FROM).contains(ip.parse().unwrap());
    assert!(has("192.0.2.1") && !has("192.0.2.2"));
    setup.write("a/proxy_from", "192.0.2.2\nlocalhost\n");
    setup.config.expire();
    assert!(has("192.0.2.1") && !has("192.0.2.2"));
    setup.write("a/proxy_from", "192.0.2.2\n");
    setup.config.expire();
    assert!(has("192.0.2.2") && !has("192.0.2.1"));
}

#[test]
fn a_value_that_never_was_good_is_the_default() {
    let setup = with("a/timeoutsmtpd", "soon");
    setup.write("a/timeout", "60");
    assert_eq!(setup.config.setting(TIMEOUTSMTPD), Duration::from_secs(60));
    let why = "a/timeoutsmtpd:1: timeoutsmtpd is 'soon', not a number of seconds";
    assert!(setup.problems()[0].starts_with(why));
}

#[test]
fn a_setting_can_be_what_another_is() {
    let setup = with("a/timeout", "60");
    setup.write("a/me", "mx.test");
    assert_eq!(setup.config.setting(TIMEOUTSMTPD), setup.config.setting(TIMEOUT));
    assert_eq!(setup.config.setting(ME_AUTH_RESULTS), "mx.test");
    setup.write("a/timeoutsmtpd", "300");
    setup.config.expire();
    assert_eq!(setup.config.setting(TIMEOUTSMTPD), Duration::from_secs(300));
    assert_eq!(setup.config.setting(ME), "mx.test");
}

/// Who asks again within the second must not take it for known, either.
#[test]
fn a_setting_that_was_never_read_decides_nothing() {
    let setup = with("a/me", "$include gone");
    for _ in 0..3 {
        setup.config.setting(ME_AUTH_RESULTS);
        assert!(setup.config.take_unread() && !setup.config.take_unread());
        setup.config.setting(ME);
        assert!(setup.config.take_unread() && !setup.config.take_unread());
    }
    setup.write("b/gone", "mx.test");
    setup.config.expire();
    assert_eq!(setup.config.setting(ME_AUTH_RESULTS), "mx.test");
    fs::remove_file(setup.path("b/gone")).unwrap();
    for _ in 0..2 {
        setup.config.expire();
        assert_eq!(setup.config.setting(ME_AUTH_RESULTS), "mx.test");
        assert_eq!(setup.config.setting(ME), "mx.test");
    }
    assert!(!setup.config.take_unread());
}

/// A file that has gone away gives the default with the next HUP, not before.
#[test]
fn a_setting_outlives_its_file_until_all_is_read_anew() {
    let setup = with("a/timeoutsmtpd", "300");
    setup.write("a/timeout", "60");
    let both = |config: &Config| [config.setting(TIMEOUTSMTPD), config.setting(TIMEOUT)];
    let seconds = |all: [u64; 2]| all.map(Duration::from_secs);
    assert_eq!(both(&setup.config), seconds([300, 60]));
    fs::remove_file(setup.path("a/timeoutsmtpd")).unwrap();
    setup.write("a/timeout", "70");
    setup.config.expire();
    assert_eq!(both(&setup.config), seconds([300, 70]));
    let anew = setup.config.anew();
    assert_eq!(both(&anew), seconds([70, 70]));
    setup.write("a/timeout", "80");
    anew.expire();
    assert_eq!(both(&anew), seconds([80, 80]));
    setup.write("a/timeout", "soon");
    anew.expire();
    assert_eq!(both(&anew), seconds([80, 80]));
}

#[test]
fn a_check_names_all_that_is_wrong() {
    let setup = with("a/databytes", "10M");
    assert!(setup.config.check_settings().len() == 1);
    setup.write("a/tls_before_auth", "ja");
    setup.write("b/proxy_ports", "25\nsmtps\n");
    setup.write("a/lmtp_ports", "$include missing\n");
    let all: Vec<_> =
        setup.config.check_settings().iter().map(|error| setup.short(error)).collect();
    assert_eq!(
        all,
        [
            "a/databytes:1: databytes is '10M', not a number",
            "a/lmtp_ports:1: $include missing: no such file",
            "b/proxy_ports:2: proxy_ports is 'smtps', not a port from 1 to 65535",
            "a/tls_before_auth:1: tls_before_auth is 'ja', not 0 or 1",
        ]
    );
    assert!(setup.problems().is_empty());
}

#[test]
fn what_is_in_effect_is_shown_with_its_place() {
    let setup = with("a/databytes", "# few\n1000\n2000\n");
    setup.write("a/proxy_from", "192.0.2.1\n$include more\n");
    setup.write("b/more", "::1\n");
    setup.write("a/scram_secret", "hunter2");
    let shown = setup.config.shown();
    let of = |name: &str| -> Vec<(String, Option<String>)> {
        let lines = shown.iter().filter(|line| line.name == name);
        lines
            .map(|line| (line.text.clone(), line.place.as_deref().map(|at| setup.short(at))))
            .collect()
    };
    let line = |text: &str, place: &str| (text.to_owned(), Some(place.to_owned()));
    assert_eq!(of("databytes"), [line("1000", "a/databytes:2")]);
    assert_eq!(of("proxy_from"), [line("192.0.2.1", "a/proxy_from:1"), line("::1", "b/more:1")]);
    assert_eq!(of("scram_secret"), [line("(set)", "a/scram_secret:1")]);
    assert_eq!(of("timeoutsmtpd"), [("1200".to_owned(), None)]);
    assert_eq!(of("lmtp_ports"), [(String::new(), None)]);
}
