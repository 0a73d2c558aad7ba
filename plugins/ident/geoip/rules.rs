//! The lines of config/geoip.

use super::databases::Place;
use crate::config::{Line, Lines};
use crate::error::Error;

pub(super) const NAME: &str = "geoip";

/// What comes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Deny,
    Karma(i64),
}

/// By what a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Country,
    Continent,
    Asn,
}

/// THE table of them: the word in a line, and for clients.
const WHATS: [(What, &str, &str); 3] = [
    (What::Country, "country", "country"),
    (What::Continent, "continent", "continent"),
    (What::Asn, "asn", "network"),
];

impl What {
    fn row(self) -> &'static (What, &'static str, &'static str) {
        &WHATS[self as usize]
    }

    pub(super) fn name(self) -> &'static str {
        self.row().1
    }

    pub(super) fn shown(self) -> &'static str {
        self.row().2
    }

    /// A value as a place has it.
    fn read(self, word: &str) -> Result<String, String> {
        let code = word.to_ascii_uppercase();
        let is_code = code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        match self {
            What::Asn => {
                let number = code.strip_prefix("AS").unwrap_or(&code);
                let number = number.parse::<u32>();
                number
                    .map(|number| number.to_string())
                    .map_err(|_| format!("not the number of a network: '{word}'"))
            }
            _ if is_code => Ok(code),
            _ => Err(format!("not a code of two letters: '{word}'")),
        }
    }

    fn of(self, place: &Place) -> Option<String> {
        match self {
            What::Country => place.country.clone(),
            What::Continent => place.continent.clone(),
            What::Asn => place.asn.map(|asn| asn.to_string()),
        }
    }
}

/// All lines, in order.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    action: Action,
    what: What,
    values: Vec<String>,
}

impl Rules {
    pub(super) fn parse(lines: &Lines, problems: &mut Vec<Error>) -> Rules {
        Rules(lines.read_each(problems, rule))
    }

    /// Does any line go by that?
    pub(super) fn ask_about(&self, what: What) -> bool {
        self.0.iter().any(|rule| rule.what == what)
    }

    /// What the first line says that fits.
    pub(super) fn find(&self, place: &Place) -> Option<(Action, What)> {
        let fits = |rule: &&Rule| {
            rule.what.of(place).is_some_and(|own| rule.values.contains(&own.to_ascii_uppercase()))
        };
        self.0.iter().find(fits).map(|rule| (rule.action, rule.what))
    }
}

fn rule(line: &Line) -> Result<Rule, String> {
    let mut words = line.text.split_whitespace();
    let action = match words.next() {
        Some("allow") => Action::Allow,
        Some("deny") => Action::Deny,
        Some("karma") => {
            let number = words.next().and_then(|word| word.parse().ok());
            Action::Karma(number.ok_or("no number after karma")?)
        }
        other => {
            let known = ["allow", "deny", "karma"];
            return Err(Error::unknown("action", other.unwrap_or(""), &known).to_string());
        }
    };
    let word = words.next().unwrap_or_default();
    let row = WHATS.iter().find(|(_, name, _)| *name == word);
    let known = || WHATS.map(|(_, name, _)| name);
    let (what, ..) = *row.ok_or_else(|| Error::unknown("kind", word, &known()).to_string())?;
    let values: Vec<String> = words.map(|word| what.read(word)).collect::<Result<_, _>>()?;
    match values.is_empty() {
        true => Err(format!("no {} in the line", what.name())),
        false => Ok(Rule { action, what, values }),
    }
}
