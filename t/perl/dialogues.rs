//! The same plugin files, configuration and input in Perl qpsmtpd and here: the same replies, mails,
//! lines of the log, and files.

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::Regex;

use super::case::{Case, parse};
use super::play::{Side, play};
use crate::harness::Log;

/// What is different on purpose, or by chance, and what both become; see docs/differences.md.
const DIFFERENT: &[(&str, &str)] = &[
    // Lines of a reply: a client reads them as one.
    (r"(?m)^< (\d{3})-", "< $1 "),
    // Enhanced status codes (RFC 2034): in front of all texts here, at the end of some there.
    (r"(?m)^(< [245]\d\d) [245]\.\d+\.\d+ ", "$1 "),
    (r"(?m) \(#[245]\.\d+\.\d+\)$", ""),
    // More extensions.
    (r"(?m)^< 250 (ENHANCEDSTATUSCODES|CHUNKING|SMTPUTF8|DSN)\n", ""),
    // Results are folded here.
    (r";\\n\n  \\t", "; "),
    // Perl qpsmtpd 1.00 has it above Received, as we do; Debian's is 0.94.
    (
        r"(?m)^(  Received: .*\n(?:  [ \t].*\n)*)(  Authentication-Results: .*\n(?:  [ \t].*\n)*)",
        "$2$1",
    ),
    (r"(?m)^< 334 \S{24,}$", "< 334 CHALLENGE"),
    (r"(?m)^< 334 +$", "< 334"),
    // Perl has them in any order.
    (r"(?m)^< 250 AUTH .*$", "< 250 AUTH ..."),
    // 1.00 says from where.
    (r"(authentication failed for \S+) from [\d.]+", "$1"),
    // What a plugin has said that did not decide.
    (r" - authldap - temporary auth error", ""),
    // 0.94 makes this comment and does not use it.
    (r" \(smtp-auth username \S+, mechanism \S+\);", ";"),
    // In the log: warnings of Perl's have no plugin there, nor has what a plugin dies of.
    (
        r"(?m)^logged: .*: (Use of uninitialized value|FATAL PLUGIN ERROR|Couldn't open|no connection to).*\n",
        "",
    ),
    // What a process says that a plugin has forked goes to standard error.
    (r"(?m)^logged: .*: \(for \d+\) Queuing to .*\n", ""),
    // Good karma counts once here until a message is accepted.
    (r"(?m)^(logged: .*: karma -?\d+) (\(-?\d+\)|was given already)$", "$1"),
    // What is asked for when is up to the server.
    (r"(?m)^logged: \(config\) .*\n", ""),
    // Qpsmtpd::Auth is ours.
    (r"(?m)^(logged: .*: pass): (clear match|hash match|password fits|answer fits).*$", "$1"),
    (r"(?m)^(logged: .*?) +$", "$1"),
    (r"(?m)^(logged: .*) \d+\.\d+ (s\.|sec)", "$1 TIME $2"),
    (r"(?m)^(logged: .* local load too high): [\d.]+$", "$1"),
    (r"(?m)^(logged: .*) /tmp/\w{10} ", "$1 FILE "),
    // Names, versions, times, process ids.
    (r"qpsmtpd[ /][\w.\-/]+", "qpsmtpd VERSION"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "DATE"),
    (r"Queued! \d+ qp \d+", "Queued! TIME qp PID"),
];

/// The plugins whose native forms are compared, too.
const ASKING: [&str; 10] = [
    "fcrdns",
    "resolvable_fromhost",
    "helo",
    "sender_permitted_from",
    "dkim",
    "dmarc",
    "dnsbl",
    "rhsbl",
    "uribl",
    "dns_whitelist_soft",
];

/// What native plugins write otherwise.
const NATIVE_DIFFERENT: &[(&str, &str)] = &[
    // Folds.
    (r"\\n\n   ", " "),
    // Results of more plugins, with what they are about.
    (r"(?m)^  Authentication-Results: .*\n", ""),
    // That a domain is not there is no failure of the look-up.
    ("Temporary address resolution failure", "FQDN required in the envelope sender"),
    // Who is listed: there it is the name in HELO, whoever it is.
    (
        r"Mail from HELO \S+ rejected because it evil.test",
        "Mail from evil.test rejected because it evil.test",
    ),
    // Mail::SPF has other words.
    (r"(?m)^(< [45]50 SPF - \w+): .*$", "$1: WORDS"),
    (r"(?m)^(  Received-SPF: \w+) \(.*\) receiver=.*?;", "$1 (WORDS) receiver=HOST;"),
];

/// Cases in which native plugins do otherwise on purpose, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("naughty: at connect", "a list has an address for its entries (RFC 5782 2.1)"),
    ("dns_whitelist_soft: a listed client", "a list has an address for its entries"),
    ("rhsbl: the sender's domain", "a list has an address for its entries"),
    ("dnsbl: a listed client", "the text of dnsbl_zones, not the name that was asked for"),
    ("uribl: a listed domain in the text", "endings of 2007 know no `test`"),
    ("uribl: a header", "endings of 2007 know no `test`"),
    ("rhsbl: the name in HELO", "that name is asked for, too"),
    ("dkim: a signature without a key", "`reject 1` refuses"),
];

#[test]
fn the_dialogues_are_those_of_perl_qpsmtpd() {
    if !super::perl_qpsmtpd() {
        return;
    }
    all_are_same(&cases(), same);
}

/// The plugins that ask the domain name system, with the modules of Perl that they need: what clients
/// and recipients see of the native ones.
#[test]
fn native_plugins_say_what_mail_spf_and_mail_dkim_say() {
    if !super::perl_qpsmtpd() {
        return;
    }
    let asks = |line: &String| ASKING.contains(&line.split(' ').next().unwrap_or_default());
    let mut cases = cases();
    let is_known = |case: &Case| OTHERWISE.iter().any(|(name, _)| *name == case.name);
    // karma is Perl on either side.
    let is_perl = |line: &String| line.starts_with("karma");
    cases.retain(|case| {
        case.plugins.iter().any(asks) && !case.plugins.iter().any(is_perl) && !is_known(case)
    });
    super::super::harness::say(&format!("{} cases compared", cases.len()));
    all_are_same(&cases, same_to_others);
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/perl/dialogues");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // For people who write cases: plays only those with this in their names.
    let only = std::env::var("DIALOGUE").unwrap_or_default();
    let cases = files.iter().flat_map(|file| parse(&std::fs::read_to_string(file).unwrap()));
    cases.filter(|case| case.name.contains(&only)).collect()
}

fn all_are_same(cases: &[Case], same: fn(&Case) -> Result<(), String>) {
    assert!(!cases.is_empty());
    let failures = Mutex::new(String::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = same(case) {
                        let mut failures = failures.lock().unwrap();
                        writeln!(failures, "== {}\n{why}", case.name).unwrap();
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "of {} cases, these are different:\n{failures}", cases.len());
}

fn same(case: &Case) -> Result<(), String> {
    let (there, there_log) = play(case, Side::Perl)?;
    let (here, log) = play(case, Side::Ours)?;
    compare((&normal(&there), &there_log), (&normal(&here), &log))
}

/// What is logged of it is not compared.
fn same_to_others(case: &Case) -> Result<(), String> {
    let (there, there_log) = play(case, Side::Perl)?;
    let (here, log) = play(case, Side::Native)?;
    let seen = |text: &str| {
        let text = replaced(NATIVE_DIFFERENT, normal(text));
        let lines = text.lines().filter(|line| !line.starts_with("logged: "));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    compare((&seen(&there), &there_log), (&seen(&here), &log))
}

fn compare((there, there_log): (&str, &Log), (here, log): (&str, &Log)) -> Result<(), String> {
    if there == here {
        return Ok(());
    }
    let mut out = String::new();
    let (mut left, mut right) = (there.lines(), here.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => break,
            (a, b) if a == b => writeln!(out, "    {}", a.unwrap_or_default()).unwrap(),
            (a, b) => {
                writeln!(out, "--- {}\n+++ {}", a.unwrap_or_default(), b.unwrap_or_default())
                    .unwrap();
            }
        }
    }
    Err(format!("{out}the log there:\n{}the log here:\n{}", there_log.tail(), log.tail()))
}

fn normal(text: &str) -> String {
    replaced(DIFFERENT, text.to_owned())
}

fn replaced(rows: &[(&str, &str)], text: String) -> String {
    rows.iter().fold(text, |text, (pattern, with)| {
        Regex::new(pattern).expect("constants").replace_all(&text, *with).into_owned()
    })
}
