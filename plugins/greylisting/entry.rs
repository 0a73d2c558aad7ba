//! What is remembered of a client: `TIME:NEW:BLACK:WHITE`, as Perl qpsmtpd writes it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::plugins::greylisting::rules::Rules;
use crate::store::Kept;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Of a known client: when its last mail came.  Else: when it came first.  In seconds since 1970.
    pub since: u64,
    /// How often it was new.
    pub new: u32,
    /// How often it was put off after that.
    pub black: u32,
    /// How much mail it has sent since it is known; 0: it is not known yet.
    pub white: u32,
}

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is new.
    New,
    /// It came again too soon, so many times.
    Black(u32),
    /// It came again in time and is known from now on.
    Grey,
    /// It is known, and this is so manieth mail.
    White(u32),
}

impl Entry {
    /// The entry after one more try, and what the client is.
    pub(super) fn next(old: Option<Entry>, now: u64, rules: &Rules) -> (Entry, Judgement) {
        let first = Entry { since: now, new: 1, black: 0, white: 0 };
        let Some(old) = old else { return (first, Judgement::New) };
        // A time later than now is from before the clock was set.
        let since = old.since.min(now);
        let age = now - since;
        if old.white > 0 && age < rules.white {
            let white = old.white.saturating_add(1);
            (Entry { since: now, white, ..old }, Judgement::White(white))
        } else if old.white == 0 && age < rules.black {
            let black = old.black.saturating_add(1);
            (Entry { since, black, ..old }, Judgement::Black(black))
        } else if old.white == 0 && age < rules.grey() {
            (Entry { since: now, white: 1, ..old }, Judgement::Grey)
        } else {
            (Entry { new: old.new.saturating_add(1), black: old.black, ..first }, Judgement::New)
        }
    }

    /// How much longer it is to be kept.
    pub(super) fn time_left(&self, now: u64, rules: &Rules) -> Duration {
        let time = if self.white > 0 { rules.white } else { rules.grey() };
        Duration::from_secs(time.saturating_sub(now.saturating_sub(self.since)))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { since, new, black, white } = self;
        write!(f, "{since}:{new}:{black}:{white}")
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(text: &str) -> Result<Entry, ()> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(());
        let (since, new, black, white) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(());
        }
        let count = |text: &str| text.parse().map_err(|_| ());
        Ok(Entry {
            since: since.parse().map_err(|_| ())?,
            new: count(new)?,
            black: count(black)?,
            white: count(white)?,
        })
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::New => f.write_str("initial DENYSOFT, unknown"),
            Judgement::Black(count) => write!(f, "black DENYSOFT, {count} deferred connections"),
            Judgement::Grey => f.write_str("updated grey->white"),
            Judgement::White(count) => write!(f, "white, {count} deliveries"),
        }
    }
}

/// An entry, for people.
pub(super) fn explain(kept: &Kept, rules: &Rules) -> String {
    let (now, left) = (kept.now.as_secs(), span(kept.left.as_secs()));
    let Ok(entry) = kept.value.parse::<Entry>() else {
        return "not an entry of greylisting".to_owned();
    };
    let age = now.saturating_sub(entry.since);
    let (ago, tries) = (span(age), u64::from(entry.black) + 1);
    if entry.white > 0 {
        let white = entry.white;
        return format!(
            "known, deliveries: {white}, the last {ago} ago; forgotten in {left} without another"
        );
    }
    let then = match rules.black.saturating_sub(age) {
        0 => "the next one is accepted".to_owned(),
        time => format!("one in {} is accepted", span(time)),
    };
    format!("not known yet, tries: {tries}, the first {ago} ago; {then}; forgotten in {left}")
}

/// `50 min` for 3000 seconds: the largest unit of which there are at least two.
fn span(seconds: u64) -> String {
    let units = [(86400, "days"), (3600, "h"), (60, "min"), (1, "s")];
    let fits = |(size, _): &&(u64, &str)| seconds >= 2 * size || *size == 1;
    let (size, name) = units.iter().find(fits).copied().unwrap_or((1, "s"));
    format!("{} {name}", seconds / size)
}
