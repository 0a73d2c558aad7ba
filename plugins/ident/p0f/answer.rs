//! What p0f is asked, and what it answers (the file docs/README of p0f 3.09b, section 4).
//!
//! Numbers have the order of octets of the machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::state::Value;

const ASKED: u32 = 0x5030_4601;
const ANSWERED: u32 = 0x5030_4602;

const BAD_QUESTION: u32 = 0x00;
const OK: u32 = 0x10;
const NO_MATCH: u32 = 0x20;

/// How long a question is, in octets.
const QUESTION: usize = 21;

/// How long an answer is, in octets.
pub(super) const LENGTH: usize = 232;

/// The fields of an answer, in order: numbers of 4 octets behind the first one, then a signed number of 2,
/// numbers of 1, and texts of 32 that zeros fill up.
const NUMBERS: [&str; 8] = [
    "status",
    "first_seen",
    "last_seen",
    "total_conn",
    "uptime_min",
    "up_mod_days",
    "last_nat",
    "last_chg",
];
const SMALL: [&str; 2] = ["bad_sw", "os_match_q"];
const TEXTS: [&str; 6] =
    ["os_name", "os_flavor", "http_name", "http_flavor", "link_type", "language"];
const TEXT: usize = 32;

/// What p0f says.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The fields of the note.
    System(BTreeMap<String, Value>),
    /// It has not seen the client.
    NoMatch,
    /// Something else came: what.
    Wrong(&'static str),
}

/// The question about a client.
pub(super) fn question(client: IpAddr) -> Vec<u8> {
    let mut question = ASKED.to_ne_bytes().to_vec();
    match client.to_canonical() {
        IpAddr::V4(ip) => {
            question.push(4);
            question.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            question.push(6);
            question.extend(ip.octets());
        }
    }
    question.resize(QUESTION, 0);
    question
}

impl Answer {
    /// Reads an answer.
    pub(super) fn read(octets: &[u8]) -> Answer {
        if octets.len() != LENGTH {
            return Answer::Wrong("an answer of the wrong length");
        }
        let mut rest = octets;
        if number(&mut rest) != ANSWERED {
            return Answer::Wrong("bad response magic");
        }
        let mut system = BTreeMap::new();
        let mut set = |name: &str, value| drop(system.insert(name.to_owned(), value));
        set("magic", Value::Int(ANSWERED.into()));
        let numbers = NUMBERS.map(|name| (name, number(&mut rest)));
        match numbers[0].1 {
            OK => {}
            NO_MATCH => return Answer::NoMatch,
            BAD_QUESTION => return Answer::Wrong("bad query"),
            _ => return Answer::Wrong("bad status"),
        }
        for (name, value) in numbers {
            set(name, Value::Int(value.into()));
        }
        set("distance", Value::Int(i16::from_ne_bytes(taken(&mut rest)).into()));
        for name in SMALL {
            set(name, Value::Int(taken::<1>(&mut rest)[0].into()));
        }
        for name in TEXTS {
            set(name, Value::Str(text(&taken::<TEXT>(&mut rest))));
        }
        Answer::System(with_old_names(system))
    }
}

/// Names that version 2 had.
fn with_old_names(mut system: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let text = |system: &BTreeMap<String, Value>, name: &str| match system.get(name) {
        Some(Value::Str(text)) => text.clone(),
        _ => String::new(),
    };
    let name = text(&system, "os_name");
    if name.is_empty() {
        return system;
    }
    let genre = format!("{name} {}", text(&system, "os_flavor"));
    system.insert("genre".into(), Value::Str(genre.trim_end().to_owned()));
    let link = text(&system, "link_type");
    if !link.is_empty() {
        system.insert("link".into(), Value::Str(link));
    }
    if let Some(uptime) = system.get("uptime_min").filter(|uptime| uptime.is_true()).cloned() {
        system.insert("uptime".into(), uptime);
    }
    system
}

fn number(rest: &mut &[u8]) -> u32 {
    u32::from_ne_bytes(taken(rest))
}

/// The next octets; there are as many as [`LENGTH`] says.
fn taken<const COUNT: usize>(rest: &mut &[u8]) -> [u8; COUNT] {
    match rest.split_first_chunk() {
        Some((first, others)) => {
            *rest = others;
            *first
        }
        None => [0; COUNT],
    }
}

/// Up to the first zero, in one line.
fn text(octets: &[u8]) -> String {
    let octets = octets.split(|octet| *octet == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(octets);
    text.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
