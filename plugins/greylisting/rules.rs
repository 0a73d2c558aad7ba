//! What the arguments and config/denysoft_greylist say.

use std::path::PathBuf;
use std::rc::Rc;

use regex::Regex;

use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::Args;
use crate::hook::truth;
use crate::mail::patterns::compile;
use crate::mail::suffixes::{self, Suffixes};

/// All that can be set.  Times are in seconds.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub client: Client,
    pub sender: bool,
    pub recipient: bool,
    per_recipient: bool,
    pub deny_late: bool,
    pub black: u64,
    grey: Option<u64>,
    pub white: u64,
    pub rejects: bool,
    pub is_off: bool,
    pub spf: Spf,
    pub geoip: Vec<String>,
    pub p0f: Vec<Criterion>,
    suffixes_file: PathBuf,
    /// The list in that file, where `client` needs it.
    pub suffixes: Option<Rc<Suffixes>>,
}

/// By what a client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    Nothing,
    Address,
    Network,
    Name,
}

/// What SPF is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spf {
    Nothing,
    Exempts,
    StandsForClient,
}

/// What p0f has to say of a client.
#[derive(Debug, Clone)]
pub(super) enum Criterion {
    /// The value of this name fits.
    Fits(&'static str, Regex),
    /// The client is more hops away.
    Distance(f64),
    /// The client has run for a shorter time.
    Uptime(f64),
}

/// An argument: its name, what it may be, and how it is set; None: the word is nothing of that.
type Row = (&'static str, &'static str, fn(&mut Rules, &str) -> Option<()>);

const YES_OR_NO: &str = "0, 1";
const SECONDS: &str = "a number of seconds";

/// THE table of arguments.
const TABLE: [Row; 20] = [
    ("remote_ip", "0, 1, network, name", |rules, word| set(&mut rules.client, client(word))),
    ("sender", YES_OR_NO, |rules, word| set(&mut rules.sender, truth(word))),
    ("recipient", YES_OR_NO, |rules, word| set(&mut rules.recipient, truth(word))),
    ("per_recipient", YES_OR_NO, |rules, word| set(&mut rules.per_recipient, truth(word))),
    ("deny_late", YES_OR_NO, |rules, word| set(&mut rules.deny_late, truth(word))),
    ("black_timeout", SECONDS, |rules, word| set(&mut rules.black, word.parse().ok())),
    ("grey_timeout", SECONDS, |rules, word| set(&mut rules.grey, word.parse().ok().map(Some))),
    ("white_timeout", SECONDS, |rules, word| set(&mut rules.white, word.parse().ok())),
    ("reject", YES_OR_NO, |rules, word| set(&mut rules.rejects, rejects(word))),
    ("mode", "denysoft, testonly, off", |rules, word| {
        (rules.rejects, rules.is_off) = match word.to_ascii_lowercase().as_str() {
            "denysoft" => (true, false),
            "testonly" => (false, false),
            "off" => (false, true),
            _ => return None,
        };
        Some(())
    }),
    ("spf", "0, 1, domain", |rules, word| set(&mut rules.spf, spf(word))),
    ("geoip", "countries, with commas between them", |rules, word| {
        let countries = word.split(',').filter(|country| !["", "0"].contains(country));
        set(&mut rules.geoip, Some(countries.map(str::to_owned).collect()))
    }),
    (
        "p0f",
        "genre,VALUE, detail,VALUE, link,VALUE, distance,NUMBER, uptime,NUMBER",
        |rules, word| set(&mut rules.p0f, criteria(word)),
    ),
    ("suffixes", "a file", |rules, word| set(&mut rules.suffixes_file, Some(word.into()))),
    // The core's.
    ("loglevel", "", |_, _| Some(())),
    // Of the database that Perl qpsmtpd has in the place of the store.
    ("db_dir", "", |_, _| Some(())),
    ("redis", "", |_, _| Some(())),
    ("nfslock", "", |_, _| Some(())),
    ("upgrade", "", |_, _| Some(())),
    ("per_recipient_db", "", |_, _| Some(())),
];

/// What a recipient may say for itself.
const OWN: [&str; 5] = ["black_timeout", "grey_timeout", "white_timeout", "reject", "mode"];

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            client: Client::Address,
            sender: false,
            recipient: false,
            per_recipient: false,
            deny_late: false,
            black: 50 * 60,
            grey: None,
            white: 36 * 24 * 3600,
            rejects: true,
            is_off: false,
            spf: Spf::Nothing,
            geoip: vec![],
            p0f: vec![],
            suffixes_file: suffixes::FILE.into(),
            suffixes: None,
        }
    }
}

/// The arguments as names with values.
pub(super) fn pairs(args: &Args) -> Result<Vec<(String, String)>> {
    let own = args.positional();
    let mut pairs = vec![];
    for pair in own.chunks(2) {
        let [name, value] = pair else {
            return Err(Error::new(format!("argument {} has no value", pair[0])));
        };
        pairs.push((name.to_ascii_lowercase(), (*value).to_owned()));
    }
    pairs.extend(args.named("reject").map(|value| ("reject".to_owned(), value.to_owned())));
    Ok(pairs)
}

impl Rules {
    /// These rules with arguments, which count before them.
    ///
    /// # Errors
    /// One that is not known, or has a value that it cannot have; or what they say together.
    pub(super) fn with(mut self, pairs: &[(String, String)]) -> Result<Rules> {
        pairs.iter().try_for_each(|(name, value)| self.set(name, value))?;
        self.finished()
    }

    /// These rules with the lines of config/denysoft_greylist.
    pub(super) fn with_lines(mut self, lines: &Lines, problems: &mut Vec<Error>) -> Rules {
        lines.read_each(problems, |line| {
            let (name, value) = line.word_and_rest();
            self.set(&name.to_ascii_lowercase(), value)
        });
        self
    }

    /// These rules with the lines of a recipient's own file.
    pub(super) fn with_own_lines(&self, lines: &Lines, problems: &mut Vec<Error>) -> Rules {
        let mut own = self.clone();
        for line in lines.entries() {
            let (name, value) = line.word_and_rest();
            let set = match OWN.contains(&name) {
                true => own.set(name, value),
                false => Err(Error::new(format!("recipients cannot set {name}"))),
            };
            problems.extend(set.err());
        }
        own.finished().unwrap_or_else(|why| {
            problems.push(why);
            self.clone()
        })
    }

    /// Is it recipients that are put off, and not senders?
    pub(super) fn are_by_recipient(&self) -> bool {
        self.recipient || self.per_recipient
    }

    /// How long after its first try a client can come again.
    pub(super) fn grey(&self) -> u64 {
        self.grey.unwrap_or(self.white)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let Some((_, known, set)) = TABLE.iter().find(|(own, ..)| *own == name) else {
            let known: Vec<&str> = TABLE.iter().map(|(own, ..)| *own).collect();
            return Err(Error::unknown("argument", name, &known));
        };
        set(self, value).ok_or_else(|| Error::value(name, value, known))
    }

    fn finished(mut self) -> Result<Rules> {
        if self.grey().min(self.white) <= self.black {
            let text = "grey_timeout and white_timeout have to be longer than black_timeout, or nobody is \
                ever known";
            return Err(Error::new(text));
        }
        self.suffixes = match self.client {
            Client::Name => Some(Suffixes::shared(&self.suffixes_file)?),
            Client::Nothing | Client::Address | Client::Network => None,
        };
        Ok(self)
    }
}

impl Spf {
    /// Does it matter what SPF says?
    pub(super) fn is_asked(self) -> bool {
        self != Spf::Nothing
    }

    /// Is nobody put off who passes?
    pub(super) fn exempts(self) -> bool {
        self == Spf::Exempts
    }
}

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    value.map(|value| *field = value)
}

fn client(word: &str) -> Option<Client> {
    match word {
        "network" => Some(Client::Network),
        "name" => Some(Client::Name),
        _ => truth(word).map(|yes| if yes { Client::Address } else { Client::Nothing }),
    }
}

/// A client that is put off is not naughty: it comes again.
fn rejects(word: &str) -> Option<bool> {
    truth(word).or_else(|| word.eq_ignore_ascii_case("naughty").then_some(true))
}

fn spf(word: &str) -> Option<Spf> {
    match word {
        "domain" => Some(Spf::StandsForClient),
        _ => truth(word).map(|yes| if yes { Spf::Exempts } else { Spf::Nothing }),
    }
}

/// `genre,windows,link,dsl,distance,3`
fn criteria(word: &str) -> Option<Vec<Criterion>> {
    if word == "0" {
        return Some(vec![]);
    }
    let words: Vec<&str> = word.split(',').collect();
    let criterion = |pair: &[&str]| {
        let [key, value] = pair else { return None };
        match *key {
            "distance" => value.parse().ok().map(Criterion::Distance),
            "uptime" => value.parse().ok().map(Criterion::Uptime),
            key => {
                let key = ["genre", "detail", "link"].into_iter().find(|own| *own == key)?;
                Some(Criterion::Fits(key, compile(value).ok()?))
            }
        }
    };
    words.chunks(2).map(criterion).collect()
}
