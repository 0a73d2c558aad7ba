//! The lines of config/limit: rates and exceptions.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use super::key::{BYS, By, Event, Values, WORDS, Word, names};
use super::rate::Rate;
use crate::config::{Line, Lines, word_and_rest};
use crate::error::{Error, Result};
use crate::hook::Code;
use crate::mail::suffixes::Suffixes;
use crate::store::network_of;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Connections,
    Messages,
    Recipients,
    Octets,
    FailedAuth,
    UnknownRecipients,
    NullSenders,
}

/// What happens beyond a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Warn,
    Defer,
    Refuse,
    Disconnect,
}

/// A line with a rate.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) what: What,
    pub(super) by: By,
    /// None: there is no limit.
    pub(super) rate: Option<Rate>,
    pub(super) action: Action,
    /// For whom alone the line is.
    only: Option<Values>,
    /// What the keys of its entries begin with.
    prefix: String,
}

/// Who is not counted at all.
#[derive(Debug)]
pub(super) enum Exempt {
    Word(Word),
    Of(By, Values),
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) rules: Vec<Rule>,
    pub(super) exempt: Vec<Exempt>,
    /// Where a line counts by organization.
    pub(super) suffixes: Option<Rc<Suffixes>>,
}

/// THE table of what is counted: its name, in words for clients, and by what it can be.
const WHATS: [(What, &str, &str, &[&str]); 7] = [
    (What::Connections, "connections", "connections", &CLIENT),
    (What::Messages, "messages", "messages", &SENDING),
    (What::Recipients, "recipients", "recipients", &RECEIVING),
    (What::Octets, "octets", "octets", &SENDING),
    (What::FailedAuth, "failed_auth", "failed attempts to authenticate", &LOGGING_IN),
    (What::UnknownRecipients, "unknown_recipients", "unknown recipients", &SENDING),
    (What::NullSenders, "null_senders", "bounces", &BOUNCING),
];

const CLIENT: [&str; 4] = ["address", "network", "name", "organization"];
const LOGGING_IN: [&str; 5] = ["address", "network", "name", "organization", "user"];
const SENDING: [&str; 7] =
    ["address", "network", "name", "organization", "sender", "sender_domain", "user"];
const BOUNCING: [&str; 6] =
    ["address", "network", "name", "organization", "recipient", "recipient_domain"];
const RECEIVING: [&str; 9] = [
    "address",
    "network",
    "name",
    "organization",
    "sender",
    "sender_domain",
    "user",
    "recipient",
    "recipient_domain",
];

const ACTIONS: [(Action, &str); 4] = [
    (Action::Warn, "warn"),
    (Action::Defer, "defer"),
    (Action::Refuse, "refuse"),
    (Action::Disconnect, "disconnect"),
];

impl Limits {
    /// Reads the file; lines that cannot be read go to `problems`.
    pub(super) fn parse(lines: &Lines, suffixes: &Path, problems: &mut Vec<Error>) -> Limits {
        let mut limits = Limits::default();
        lines.read_each(problems, |line| limits.add(line, suffixes));
        limits
    }

    /// The lines that hold for an event, each with the key under which it is counted.
    pub(super) fn of<'a>(
        &'a self,
        what: What,
        event: &dyn Event,
        counts: impl Fn(By) -> bool,
    ) -> Vec<(&'a Rule, &'a Rate, String)> {
        let own = self.rules.iter().filter(|rule| rule.what == what && counts(rule.by));
        // Lines for somebody stand in the place of those for all.
        let fits = |rule: &Rule| rule.only.as_ref().map(|only| only.contain(rule.by, event));
        let is_special = |by: By| {
            let same = self.rules.iter().filter(|rule| rule.what == what && rule.by == by);
            same.filter_map(fits).any(|fits| fits)
        };
        let holds = own.filter(|rule| fits(rule).unwrap_or_else(|| !is_special(rule.by)));
        let keyed = |rule: &'a Rule| {
            let value = self.key(rule.by, event)?;
            Some((rule, rule.rate.as_ref()?, format!("{}{value}", rule.prefix)))
        };
        holds.filter_map(keyed).collect()
    }

    pub(super) fn counts(&self, what: What) -> bool {
        self.rules.iter().any(|rule| rule.what == what)
    }

    /// Is nothing counted of it?
    pub(super) fn exempts(&self, event: &dyn Event) -> bool {
        self.exempt.iter().any(|exempt| match exempt {
            Exempt::Word(word) => event.is(*word),
            Exempt::Of(by, values) => values.contain(*by, event),
        })
    }

    fn key(&self, by: By, event: &dyn Event) -> Option<String> {
        match by {
            By::Address(v4, v6) => Some(network_of(event.ip()?, v4, v6)),
            _ => event.value(by),
        }
    }

    fn add(&mut self, line: &Line, suffixes: &Path) -> Result<()> {
        let text = line.text.split(" #").next().unwrap_or_default().trim_end();
        if let ("except", rest) = word_and_rest(text) {
            let (first, values) = word_and_rest(rest);
            let word = WORDS.iter().find(|(_, name)| *name == first && values.is_empty());
            let exempt = match word {
                Some((word, _)) => Exempt::Word(*word),
                None => {
                    let by = By::parse(first, || names(&WORDS) + ", or " + &names(&BYS))?;
                    Exempt::Of(by, Values::parse(by, values)?)
                }
            };
            self.needs(&exempt_by(&exempt), suffixes)?;
            self.exempt.push(exempt);
            return Ok(());
        }
        let rule = Rule::parse(text)?;
        self.needs(&Some(rule.by), suffixes)?;
        self.rules.push(rule);
        Ok(())
    }

    fn needs(&mut self, by: &Option<By>, suffixes: &Path) -> Result<()> {
        if *by == Some(By::Organization) && self.suffixes.is_none() {
            self.suffixes = Some(Suffixes::shared(suffixes)?);
        }
        Ok(())
    }
}

fn exempt_by(exempt: &Exempt) -> Option<By> {
    match exempt {
        Exempt::Word(_) => None,
        Exempt::Of(by, _) => Some(*by),
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Rule> {
        const FORM: &str = "not a limit (expected: WHAT by KEY = COUNT/TIME, or except WHO)";
        let (left, right) = text.split_once('=').ok_or(FORM)?;
        let left: Vec<&str> = left.split_whitespace().collect();
        let [what, "by", key] = left[..] else { return Err(FORM.into()) };
        let row = WHATS.iter().find(|(_, name, ..)| *name == what);
        let Some((what, name, _, keys)) = row else {
            let known: Vec<&str> = WHATS.iter().map(|(_, name, ..)| *name).collect();
            return Err(Error::unknown("counter", what, &known));
        };
        let known = || format!("{name} are counted by {}", keys.join(", "));
        let by = By::parse(key, known)?;
        let word = key.split('/').next().unwrap_or_default();
        if !keys.contains(&word) {
            return Err(Error::new(format!("not by '{key}': {}", known())));
        }
        let mut words = right.split_whitespace().peekable();
        let rate = words.next().ok_or(FORM)?;
        let burst = words.next_if_eq(&"burst").map(|_| words.next().unwrap_or_default());
        let rate = match rate {
            "unlimited" if burst.is_none() => None,
            _ => Some(Rate::parse(rate, burst)?),
        };
        let known = |word: &&&str| ACTIONS.iter().any(|(_, name)| name == *word);
        let action = words.next_if(|word| known(&word)).unwrap_or("defer");
        let action = ACTIONS.iter().find(|(_, name)| *name == action);
        let action = action.map_or(Action::Defer, |(action, _)| *action);
        let only = match (words.next(), words.collect::<Vec<_>>().join(" ")) {
            (None, _) => None,
            (Some("for"), values) => Some(Values::parse(by, &values)?),
            (Some(word), _) => {
                let known = names(&ACTIONS);
                let text = format!(
                    "unexpected '{word}' (expected: burst N, {known}, for WHOM, in this order)"
                );
                return Err(Error::new(text));
            }
        };
        let told = rate.as_ref().map(Rate::key).unwrap_or_default();
        let prefix = format!("{name}:{key}:{told}:");
        Ok(Rule { what: *what, by, rate, action, only, prefix })
    }

    /// What the client is told.
    pub(super) fn text(&self, value: &str) -> String {
        let (.., words, _) = WHATS[self.what as usize];
        let from = match self.by {
            By::Recipient | By::RecipientDomain => "to",
            _ if self.what == What::FailedAuth && self.by == By::User => "as",
            _ => "from",
        };
        let later = if self.action == Action::Refuse { "" } else { ", try again later" };
        format!("too many {words} {from} {value}{later}")
    }

    /// A key of this line without what it begins with.
    pub(super) fn value<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }
}

/// `messages by user`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.prefix.split(':');
        let mut part = || parts.next().unwrap_or_default();
        write!(f, "{} by {}", part(), part())
    }
}

impl Action {
    /// None: nothing is refused.
    pub(super) fn code(self) -> Option<Code> {
        match self {
            Action::Warn => None,
            Action::Defer => Some(Code::DenySoft),
            Action::Refuse => Some(Code::Deny),
            Action::Disconnect => Some(Code::DenySoftDisconnect),
        }
    }
}
