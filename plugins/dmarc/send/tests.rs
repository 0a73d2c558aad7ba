use super::super::kept::{FIRST, SPREAD};
use super::super::rows::ROWS;
use super::*;
use crate::testing::Trial;

const DNS: &str = "\
    _dmarc.a.example TXT v=DMARC1; p=none\n\
    a.example._report._dmarc.moved.test TXT v=DMARC1; rua=mailto:new@moved.test,mailto:x@y.test\n\
    a.example._report._dmarc.later.test TXT failed";

const BEGIN: u64 = 1_799_971_200;
const KEY: &str = "2027-01-15 a.example 01020304";

/// A report on a.example, and a queue.
fn trial(addresses: &str, queue: &str) -> Trial {
    let lines = format!("dmarc reports dmarc@mx.example\n{queue}");
    let trial = Trial::new(&lines, &[("me", "mx.example")]).with_dns(DNS);
    trial.set_clock(BEGIN);
    let time = Duration::from_secs(8 * DAY);
    let report = format!("1 0 0 {addresses} <policy_published/>");
    trial.store(REPORTS).put(KEY, report, time).unwrap();
    trial.store(REPORTS).put("2027-01-15", 1, time).unwrap();
    let row = "3 <record><count/></record>";
    trial.store(ROWS).put(format!("{KEY} 0102"), row, time).unwrap();
    trial.store(ROWS).put("2027-01-15 b.example 01020304 0102", row, time).unwrap();
    trial
}

const QUEUE: &str = "queue/maildir {dir}/Maildir";
const OWN: &str = "mailto:in@a.example";

fn job(trial: &mut Trial, word: &str, at: u64) -> Result<String> {
    job_within(trial, word, at, 2 * ONE)
}

fn job_within(trial: &mut Trial, word: &str, at: u64, limit: Duration) -> Result<String> {
    trial.set_clock(at);
    trial.session.run_job("dmarc-reports", word, limit).unwrap()
}

fn mails(trial: &Trial) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(trial.dir().join("Maildir/new")) else {
        return vec![];
    };
    entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// How many entries of the report there are.
fn left(trial: &Trial) -> usize {
    let count = |table, key| trial.store(table).entries_from(key).unwrap().len();
    count(REPORTS, KEY) + count(ROWS, KEY)
}

#[test]
fn a_report_is_sent_once_at_the_time_of_its_domain() {
    let mut trial = trial(OWN, QUEUE);
    let due = due(BEGIN, "a.example");
    assert!((BEGIN + DAY + FIRST..BEGIN + DAY + FIRST + SPREAD).contains(&due));
    assert_ne!(due, super::due(BEGIN, "b.example"));
    for (word, at) in [("send", due - 1), ("all", BEGIN + DAY - 1), ("show", due)] {
        job(&mut trial, word, at).unwrap();
        assert_eq!((mails(&trial).len(), left(&trial)), (0, 2), "{word}");
    }
    let shown = job(&mut trial, "show", due).unwrap();
    assert!(shown.contains(OWN) && shown.contains("<count>3</count>"), "{shown}");
    job(&mut trial, "send", due).unwrap();
    job(&mut trial, "send", due).unwrap();
    let mails = mails(&trial);
    assert_eq!((mails.len(), left(&trial)), (1, 0));
    assert!(mails[0].contains("\nTo: <in@a.example>\n"), "{}", mails[0]);
    // What belongs to others is left alone.
    assert_eq!(trial.store(ROWS).entries().unwrap().len(), 1);
    assert!(job(&mut trial, "sometimes", due).is_err());
}

#[test]
fn a_record_that_is_never_the_same_makes_no_flood_of_reports() {
    let mut trial = trial(OWN, QUEUE);
    for id in 0..20 {
        let (key, time) = (format!("2027-01-15 a.example {id}"), Duration::from_secs(8 * DAY));
        let report = format!("1 0 0 {OWN} <policy_published/>");
        trial.store(REPORTS).put(&key, report, time).unwrap();
        trial.store(ROWS).put(format!("{key} 1"), "1 <record><count/></record>", time).unwrap();
    }
    job(&mut trial, "all", BEGIN + DAY).unwrap();
    assert_eq!(mails(&trial).len(), MOST_OF_DAY);
    assert_eq!(trial.store(REPORTS).entries_from("2027-01-15 a").unwrap(), []);
}

#[test]
fn what_there_is_no_time_for_waits() {
    let mut trial = trial(OWN, QUEUE);
    job_within(&mut trial, "all", BEGIN + DAY, ONE / 2).unwrap();
    assert_eq!((mails(&trial).len(), left(&trial)), (0, 2));
    assert!(trial.log().contains("the rest waits"));
}

#[test]
fn what_the_queue_does_not_take_is_tried_again_and_given_up_in_the_end() {
    let mut trial = trial(OWN, "");
    for _ in 0..2 {
        let error = job(&mut trial, "all", BEGIN + DAY).unwrap_err().to_string();
        assert!(error.starts_with("1 reports could not be sent"), "{error}");
        assert_eq!(left(&trial), 2);
    }
    assert!(trial.take_log().contains("will be tried again: no plugin queues it"));
    job(&mut trial, "all", BEGIN + DAY + GIVE_UP).unwrap();
    assert_eq!(left(&trial), 0);
    assert!(trial.log().contains("too old to be sent"));
}

#[test]
fn what_somebody_else_sends_or_has_sent_is_not_sent() {
    let mut trial = trial(OWN, QUEUE);
    let kept = trial.store(REPORTS).entries_from(KEY).unwrap().pop().unwrap();
    let now = BEGIN + DAY;
    assert_eq!(claim(&trial.session, &kept, now), Ok(true));
    assert_eq!(claim(&trial.session, &kept, now), Ok(false));
    job(&mut trial, "all", now + CLAIM).unwrap();
    assert_eq!((mails(&trial).len(), left(&trial)), (0, 2));
    job(&mut trial, "all", now + CLAIM + 1).unwrap();
    assert_eq!((mails(&trial).len(), left(&trial)), (0, 0));
    assert!(trial.log().contains("interrupted"));
}

#[test]
fn reports_go_only_to_who_wants_them_and_not_larger_than_they_want() {
    for (addresses, expected) in [
        ("mailto:in@a.example!1k,mailto:in@sub.a.example", "<in@a.example>,\n <in@sub.a.example>"),
        ("mailto:in@a.example,mailto:in@a.example", "<in@a.example>"),
        ("mailto:in@a.example!10,mailto:in@moved.test", "<new@moved.test>"),
        ("mailto:in@b.example,mailto:in@a.example!10,mailto:nobody", ""),
    ] {
        let mut trial = trial(addresses, QUEUE);
        job(&mut trial, "all", BEGIN + DAY).unwrap();
        let to = mails(&trial).pop().unwrap_or_default();
        let to = to.split_once("\nTo: ").map_or("", |(_, behind)| behind);
        assert_eq!(to.split("\nDate:").next(), Some(expected), "{addresses}");
        assert_eq!(left(&trial), 0);
    }
    let mut later = trial("mailto:in@later.test,mailto:in@a.example", QUEUE);
    assert!(job(&mut later, "all", BEGIN + DAY).is_err());
    assert_eq!((mails(&later).len(), left(&later)), (0, 2));
}
