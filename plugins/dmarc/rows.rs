//! What reports will say: rows in the store, one for each kind of mail of a domain on a day, with how
//! many messages there were.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::hook::{Hooks, Session};
use crate::log::Level;
use crate::origin::dkim;
use crate::origin::dmarc::{Discovery, Finding, Outcome, Policy, Record};
use crate::store::{Change, Keep, Kept, Put, Table, Unavailable};

use super::xml::{element, text, within};

/// The table with an entry for each report, `DAY DOMAIN ID`, and one for each day.
pub(super) const REPORTS: &str = "dmarc";

/// The table with the rows, `DAY DOMAIN ID ROW`.
pub(super) const ROWS: &str = "dmarc_rows";

/// The seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// What is kept longer than that after its day is forgotten by the store itself.
const KEPT: u64 = 7 * DAY;

/// The most rows of a report, and of a day, so that forged mail does not fill the store.
const MOST_OF_REPORT: u32 = 1000;
const MOST_OF_DAY: u32 = 20_000;

/// The most addresses of a record that get reports.
pub(super) const MOST_ADDRESSES: usize = 5;

/// The longest address, as a URI.
const LONGEST_ADDRESS: usize = 300;

/// A row with more signatures than fit into that many octets has no more of them.
const LONGEST_ROW: usize = 3000;

/// What stands in a row where the count will be.
const COUNT: &str = "<count/>";

/// A report that is being collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// How many rows it has.
    pub(super) rows: u32,
    /// How many messages are not in it because there were too many kinds of them.
    pub(super) left_out: u32,
    /// When somebody began to send it, in seconds since 1970; 0: nobody has.
    pub(super) claimed: u64,
    /// Where it goes: URIs with `mailto:`.
    pub(super) addresses: Vec<String>,
    /// The element `policy_published`.
    pub(super) policy: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { rows, left_out, claimed, addresses, policy } = self;
        write!(f, "{rows} {left_out} {claimed} {} {policy}", addresses.join(","))
    }
}

impl FromStr for Report {
    type Err = ();

    fn from_str(text: &str) -> Result<Report, ()> {
        let words: Vec<&str> = text.splitn(5, ' ').collect();
        let [rows, left_out, claimed, addresses, policy] = words[..] else { return Err(()) };
        Ok(Report {
            rows: rows.parse().map_err(drop)?,
            left_out: left_out.parse().map_err(drop)?,
            claimed: claimed.parse().map_err(drop)?,
            addresses: addresses.split(',').map(str::to_owned).collect(),
            policy: policy.to_owned(),
        })
    }
}

/// A kind of mail, and how much of it there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    count: u64,
    /// The element `record`, with [`COUNT`] in it.
    record: String,
}

impl Row {
    /// The element `record`.
    pub(super) fn xml(&self) -> String {
        self.record.replacen(COUNT, &element("count", &self.count.to_string()), 1)
    }

    /// How many messages.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.record)
    }
}

impl FromStr for Row {
    type Err = ();

    fn from_str(text: &str) -> Result<Row, ()> {
        let (count, record) = text.split_once(' ').ok_or(())?;
        Ok(Row { count: count.parse().map_err(drop)?, record: record.to_owned() })
    }
}

/// Says what the entries are.
pub(super) fn explain(hooks: &mut Hooks) {
    hooks.keeps(REPORTS, |kept| {
        let Ok(report) = kept.value.parse::<Report>() else {
            return format!("rows of that day for reports on DMARC: {}", kept.value);
        };
        let Report { rows, left_out, claimed, addresses, .. } = report;
        let mut text = format!("a report on DMARC with {rows} rows for {}", addresses.join(", "));
        if left_out > 0 {
            let _ = write!(text, "; {left_out} messages are not in it, there were too many kinds");
        }
        if claimed > 0 {
            text += "; it is being sent, or that was broken off";
        }
        text
    });
    hooks.keeps(ROWS, explain_row);
}

fn explain_row(kept: &Kept) -> String {
    let Ok(Row { count, record }) = kept.value.parse::<Row>() else { return "no row".into() };
    let [source, from, disposition, dkim, spf] =
        ["source_ip", "header_from", "disposition", "dkim", "spf"]
            .map(|name| within(&record, name));
    format!(
        "{count} messages of {from} from {source}: done to them: {disposition}; aligned DKIM: {dkim}, \
         SPF: {spf}"
    )
}

/// Counts a message for the report to its author's domain, if that asks for one.  `refused`: because
/// of its policy.
///
/// # Errors
/// The store does not answer.
pub(super) fn count(
    session: &Session,
    finding: &Finding,
    discovery: Discovery<'_>,
    refused: bool,
) -> Result<(), Unavailable> {
    let Some((domain, record)) = &finding.record else { return Ok(()) };
    let addresses = addresses(record);
    // What nobody knows is tried again, or delivered as if there were no policy.
    if addresses.is_empty() || finding.outcome == Outcome::TempError {
        return Ok(());
    }
    if !is_name(domain) || !is_name(&finding.domain) {
        return Ok(());
    }
    let policy = policy(domain, record, discovery);
    let report = Report { rows: 1, left_out: 0, claimed: 0, addresses, policy };
    let row = self::record(session, finding, record, refused);
    let (reports, rows) = (session.store(REPORTS), session.store(ROWS));
    add(&reports, &rows, domain, &report, &row, &|text| session.log(Level::Warn, text))
}

/// Adds a message to the rows of today.
fn add(
    reports: &Table,
    rows: &Table,
    domain: &str,
    report: &Report,
    record: &str,
    warn: &dyn Fn(&str),
) -> Result<(), Unavailable> {
    let now = reports.now().as_secs();
    let day = date(now);
    // A record that is changed during the day makes a report of its own (RFC 9990 3.1).
    let id = hash(&report.to_string(), 4);
    let key = format!("{day} {domain} {id}");
    let row_key = format!("{key} {}", hash(record, 8));
    let time = Duration::from_secs((now / DAY + 1) * DAY + KEPT - now);
    let is_known = rows.update(&row_key, |old: Option<Row>| match old {
        Some(Row { count, record }) => (Put(Row { count: count + 1, record }, time), true),
        None => (Keep, false),
    })?;
    if is_known {
        return Ok(());
    }
    let so_far: u32 = reports.get(&day)?.unwrap_or(0);
    let is_full = so_far >= MOST_OF_DAY;
    let left_out = reports.update(&key, |old: Option<Report>| match old {
        None if is_full => (Keep, Some(0)),
        None => (Put(report.clone(), time), None),
        Some(old) if is_full || old.rows >= MOST_OF_REPORT => {
            let left_out = old.left_out + 1;
            (Put(Report { left_out, ..old }, time), Some(left_out))
        }
        Some(old) => (Put(Report { rows: old.rows + 1, ..old }, time), None),
    })?;
    match left_out {
        Some(1) => {
            warn(&format!("more kinds of mail of {domain} than a report takes: some are left out"));
        }
        Some(_) => {}
        None => {
            rows.update(&row_key, |old: Option<Row>| {
                let count = old.map_or(0, |row| row.count) + 1;
                (Put(Row { count, record: record.to_owned() }, time), ())
            })?;
            let so_far = reports.update(&day, |old: Option<u32>| -> (Change<u32>, u32) {
                let so_far = old.unwrap_or(0) + 1;
                (Put(so_far, time), so_far)
            })?;
            if so_far == MOST_OF_DAY {
                warn("more kinds of mail than reports of a day take: the rest is left out");
            }
        }
    }
    Ok(())
}

/// The day of a time, in UTC.
pub(super) fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%F").to_string()
}

/// So many octets of a hash, in hexadecimal digits.
pub(super) fn hash(text: &str, octets: usize) -> String {
    let octets = Sha256::digest(text).into_iter().take(octets);
    octets.map(|octet| format!("{octet:02x}")).collect()
}

/// A name as hosts have it: nothing else is ever put into a file name, a subject or a question.
fn is_name(domain: &str) -> bool {
    let fits = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    domain.len() <= 253
        && !domain.starts_with('.')
        && domain.contains('.')
        && domain.bytes().all(fits)
}

/// Where the domain wants reports, as far as they can be sent there: by mail.
pub(super) fn addresses(record: &Record) -> Vec<String> {
    let is_plain = |uri: &&String| {
        let is_mail = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
        is_mail && uri.len() <= LONGEST_ADDRESS && uri.bytes().all(|octet| octet.is_ascii_graphic())
    };
    record.reports.iter().filter(is_plain).take(MOST_ADDRESSES).cloned().collect()
}

/// The element `policy_published`.
fn policy(domain: &str, record: &Record, discovery: Discovery<'_>) -> String {
    let alignment = |strict| if strict { "s" } else { "r" };
    let method = match discovery {
        Discovery::Walk => "treewalk",
        Discovery::Suffixes(_) => "psl",
    };
    let content = [
        ("domain", domain),
        ("discovery_method", method),
        ("p", record.policy.name()),
        ("sp", record.below.name()),
        ("np", record.nonexistent.name()),
        ("adkim", alignment(record.strict_dkim)),
        ("aspf", alignment(record.strict_spf)),
        ("testing", if record.testing { "y" } else { "n" }),
    ]
    .map(|(name, value)| text(name, value));
    element("policy_published", &content.concat())
}

/// The element `record` of a message, without the count.
fn record(session: &Session, finding: &Finding, published: &Record, refused: bool) -> String {
    let results = &session.transaction.results;
    let verdict = |aligned| if aligned { "pass" } else { "fail" };
    let (disposition, reasons) = disposition(finding, published, refused);
    let mut evaluated = text("disposition", disposition)
        + &text("dkim", verdict(finding.dkim_aligned))
        + &text("spf", verdict(finding.spf_aligned));
    for (kind, comment) in reasons {
        evaluated += &element("reason", &(text("type", kind) + &text("comment", comment)));
    }
    let source = session.connection.remote_ip.to_canonical().to_string();
    let row = text("source_ip", &source) + COUNT + &element("policy_evaluated", &evaluated);
    let mut identifiers = text("header_from", &finding.domain);
    if let Some(spf) = &results.spf {
        identifiers += &text("envelope_from", &spf.domain);
    }
    let mut auth = String::new();
    let mut signatures: Vec<&dkim::Finding> = results.dkim.iter().flatten().collect();
    signatures.retain(|signature| !signature.domain.is_empty() && !signature.selector.is_empty());
    signatures.sort_by_key(|signature| signature.outcome != dkim::Outcome::Pass);
    for dkim::Finding { domain, selector, outcome, .. } in signatures {
        let names = text("domain", domain) + &text("selector", selector);
        let signature = element("dkim", &(names + &text("result", outcome.name())));
        if auth.len() + signature.len() <= LONGEST_ROW {
            auth += &signature;
        }
    }
    if let Some((domain, outcome)) = results.spf_for_dmarc() {
        let scope = text("domain", domain) + &text("scope", "mfrom");
        auth += &element("spf", &(scope + &text("result", outcome.name())));
    }
    let content = element("row", &row)
        + &element("identifiers", &identifiers)
        + &element("auth_results", &auth);
    element("record", &content)
}

/// What was done to the message, and why it is not what the domain has asked for.
fn disposition(
    finding: &Finding,
    published: &Record,
    refused: bool,
) -> (&'static str, Vec<(&'static str, &'static str)>) {
    if finding.outcome == Outcome::Pass {
        return ("pass", vec![]);
    }
    let mut reasons = vec![];
    if published.testing {
        reasons.push(("policy_test_mode", "t=y"));
    }
    if refused {
        return ("reject", reasons);
    }
    if finding.policy != Policy::None {
        reasons.push(("local_policy", "delivered, with the result in Authentication-Results"));
    }
    ("none", reasons)
}

#[cfg(test)]
mod tests {
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
}
