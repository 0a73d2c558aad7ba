use crate::hook::{Call, Hook};
use crate::testing::Trial;

use super::*;

const DNS: &str = "\
    _dmarc.reject.example TXT v=DMARC1; p=reject; rua=mailto:a@reject.example, https://x.example/\n\
    _dmarc.test.example TXT v=DMARC1; p=reject; t=y; aspf=s; rua=mailto:a@test.example\n\
    _dmarc.quiet.example TXT v=DMARC1; p=reject\n\
    _dmarc.web.example TXT v=DMARC1; p=reject; rua=https://web.example/\n\
    reject.example TXT v=spf1 ip4:192.0.2.1 -all\n\
    other.example TXT v=spf1 ip4:192.0.2.1 -all";

fn trial(arguments: &str) -> Trial {
    let trial = Trial::new(&format!("dmarc {arguments}"), &[]).with_dns(DNS);
    trial.set_clock(1_800_000_000);
    trial
}

fn send(trial: &mut Trial, sender: &str, from: &str) {
    trial.session.transaction.clear();
    trial.mail(sender);
    trial.message(&format!("From: {from}\r\n\r\nHello\r\n"));
    trial.call(Hook::DataPostHeaders, &Call::Nothing);
}

fn rows(trial: &Trial) -> Vec<String> {
    let entries = trial.store(ROWS).entries().unwrap();
    entries.into_iter().map(|kept| kept.value).collect()
}

#[test]
fn messages_of_a_kind_are_counted_in_one_row_a_day() {
    let mut trial = trial("reports dmarc@mx.example");
    for _ in 0..3 {
        send(&mut trial, "<x@other.example>", "a@sub.reject.example");
    }
    send(&mut trial, "<x@reject.example>", "a@reject.example");
    let reports = trial.store(REPORTS).entries().unwrap();
    let keys: Vec<&str> = reports.iter().map(|kept| kept.key.as_str()).collect();
    assert_eq!(keys[0], "2027-01-15");
    assert!(keys[1].starts_with("2027-01-15 reject.example "), "{keys:?}");
    assert_eq!((keys.len(), reports[0].value.as_str()), (2, "2"));
    let report: Report = reports[1].value.parse().unwrap();
    assert_eq!((report.rows, report.addresses), (2, vec!["mailto:a@reject.example".into()]));
    let mut found = rows(&trial);
    found.sort();
    assert_eq!(
        found,
        [
            "1 <record><row><source_ip>192.0.2.1</source_ip><count/><policy_evaluated>\
             <disposition>pass</disposition><dkim>fail</dkim><spf>pass</spf></policy_evaluated></row>\
             <identifiers><header_from>reject.example</header_from>\
             <envelope_from>reject.example</envelope_from></identifiers>\
             <auth_results><spf><domain>reject.example</domain><scope>mfrom</scope>\
             <result>pass</result></spf></auth_results></record>",
            "3 <record><row><source_ip>192.0.2.1</source_ip><count/><policy_evaluated>\
             <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\
             <identifiers><header_from>sub.reject.example</header_from>\
             <envelope_from>other.example</envelope_from></identifiers>\
             <auth_results><spf><domain>other.example</domain><scope>mfrom</scope>\
             <result>pass</result></spf></auth_results></record>",
        ]
    );
    // The day ends at midnight, UTC.
    trial.set_clock(1_800_000_000 / DAY * DAY + DAY);
    send(&mut trial, "<x@reject.example>", "a@reject.example");
    assert_eq!(rows(&trial).len(), 3);
    assert!(trial.store(REPORTS).get::<u32>("2027-01-16").unwrap() == Some(1));
    // What is never sent is not kept for ever.
    trial.set_clock(1_800_000_000 / DAY * DAY + 8 * DAY);
    assert_eq!(rows(&trial).len(), 1);
}

#[test]
fn rows_say_why_the_policy_was_not_followed() {
    let mut trial = trial("reports dmarc@mx.example");
    send(&mut trial, "<x@other.example>", "a@test.example");
    let row = rows(&trial).pop().unwrap();
    for part in ["<disposition>none<", "<type>policy_test_mode<", "<type>local_policy<"] {
        assert!(row.contains(part), "{row}");
    }
    let report = trial.store(REPORTS).entries().unwrap().pop().unwrap().value;
    for part in ["<p>reject</p>", "<aspf>s</aspf>", "<testing>y</testing>", ">treewalk<"] {
        assert!(report.contains(part), "{report}");
    }
    let mut tolerant = self::trial("reject 0 reports dmarc@mx.example");
    send(&mut tolerant, "<x@other.example>", "a@reject.example");
    let row = rows(&tolerant).pop().unwrap();
    assert!(row.contains("<disposition>none<") && row.contains(">local_policy<"), "{row}");
}

#[test]
fn only_who_asks_for_reports_by_mail_gets_some_and_only_if_it_is_wanted_here() {
    for (arguments, from) in [
        ("", "a@reject.example"),
        ("reports dmarc@mx.example", "a@quiet.example"),
        ("reports dmarc@mx.example", "a@web.example"),
        ("reports dmarc@mx.example", "a@reject.example, b@test.example"),
    ] {
        let mut trial = trial(arguments);
        send(&mut trial, "<x@other.example>", from);
        assert_eq!(rows(&trial), [""; 0], "{arguments} {from}");
    }
    assert!(Trial::load("dmarc reports nobody", &[]).is_err());
    assert!(Trial::load("dmarc reports a@", &[]).is_err());
}

#[test]
fn without_the_store_mail_is_judged_all_the_same() {
    let mut trial = trial("reports dmarc@mx.example");
    trial.break_store();
    trial.mail("<x@other.example>");
    trial.message("From: a@reject.example\r\n\r\nHello\r\n");
    let verdict = trial.call(Hook::DataPostHeaders, &Call::Nothing);
    assert_eq!(verdict.text(), "failed DMARC policy");
}

/// Adds rows of forged mail until no more fit.
#[test]
fn forged_mail_does_not_fill_the_store() {
    let trial = trial("reports dmarc@mx.example");
    let (reports, rows) = (trial.store(REPORTS), trial.store(ROWS));
    let said = std::cell::RefCell::new(vec![]);
    let add = |domain: &str, record: &str| {
        let report = "1 0 0 mailto:a@b.example <policy_published/>".parse().unwrap();
        let warn = |text: &str| said.borrow_mut().push(text.to_owned());
        add(&reports, &rows, domain, &report, record, &warn).unwrap();
    };
    for row in 0..MOST_OF_REPORT + 5 {
        add("a.example", &row.to_string());
    }
    add("a.example", "7");
    assert_eq!(rows.entries().unwrap().len(), MOST_OF_REPORT as usize);
    let report = reports.entries().unwrap().pop().unwrap().value;
    assert!(report.starts_with("1000 5 0 "), "{report}");
    assert_eq!(said.borrow().len(), 1, "{said:?}");
    reports.put("2027-01-15", MOST_OF_DAY - 1, Duration::from_secs(9)).unwrap();
    for domain in ["b.example", "c.example", "d.example"] {
        add(domain, "1");
    }
    assert_eq!(rows.entries().unwrap().len(), MOST_OF_REPORT as usize + 1);
    assert_eq!(reports.entries().unwrap().len(), 3);
    assert_eq!(said.borrow().len(), 2, "{said:?}");
}

#[test]
fn people_read_what_is_kept() {
    let kept = |value: &str| Kept {
        key: String::new(),
        raw: vec![],
        value: value.into(),
        left: Duration::ZERO,
        now: Duration::ZERO,
    };
    let row = "3 <record><source_ip>192.0.2.1</source_ip><count/><disposition>none</disposition>\
        <dkim>pass</dkim><spf>fail</spf><header_from>a.example</header_from></record>";
    assert_eq!(
        explain_row(&kept(row)),
        "3 messages of a.example from 192.0.2.1: done to them: none; aligned DKIM: pass, SPF: fail"
    );
    let row: Row = row.parse().unwrap();
    assert!(row.xml().contains("<count>3</count>"));
    assert_eq!(row.count(), 3);
}
