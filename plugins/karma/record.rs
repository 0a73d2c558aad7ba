//! What is known of an address: how often it was naughty or nice, and its penalty.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DAY: f64 = 86400.0;

/// How a connection was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    Naughty,
    Neutral,
    Nice,
}

/// How penalties are reckoned: what the arguments say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// With how many naughty connections more than nice ones the penalties begin.
    pub(super) negative: i64,
    pub(super) penalty_days: f64,
    /// How long a record is kept after the last connection and the end of the penalty; and a penalty
    /// grows by no more.
    pub(super) keep_days: u32,
}

/// A record, as Perl's plugin writes it: `START:NAUGHTY:NICE:CONNECTS`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// When the penalty began, in seconds since 1970; later than now for one that lasts longer; 0: there
    /// is none.
    pub(super) start: u64,
    pub(super) naughty: u32,
    pub(super) nice: u32,
    pub(super) connects: u32,
}

impl Record {
    /// Nice connections less naughty ones.
    pub(super) fn history(&self) -> i64 {
        i64::from(self.nice) - i64::from(self.naughty)
    }

    /// How many days of the penalty are left.
    pub(super) fn days_left(&self, now: Duration, rules: &Rules) -> Option<f64> {
        if self.start == 0 {
            return None;
        }
        // One that begins later than any penalty is from before the clock was set back.
        let latest = now.as_secs_f64() + f64::from(rules.keep_days) * DAY;
        let left = rules.penalty_days + ((self.start as f64).min(latest) - now.as_secs_f64()) / DAY;
        (left > 0.0).then_some(left)
    }

    /// A connection ends; returns what the log says of it.
    pub(super) fn count(&mut self, conduct: Conduct, now: Duration, rules: &Rules) -> &'static str {
        self.connects = self.connects.saturating_add(1);
        match conduct {
            Conduct::Neutral => "neutral",
            Conduct::Nice => {
                self.nice = self.nice.saturating_add(1);
                "positive"
            }
            Conduct::Naughty => {
                self.naughty = self.naughty.saturating_add(1);
                if self.history() > -rules.negative {
                    return "negative";
                }
                self.penalize(now, rules)
            }
        }
    }

    /// The penalty begins.
    pub(super) fn penalize(&mut self, now: Duration, rules: &Rules) -> &'static str {
        self.start = now.as_secs();
        if self.nice > 0 || self.history() >= -5 {
            return "negative, sent to penalty box";
        }
        let more = self.naughty.min(rules.keep_days);
        self.start += u64::from(more) * DAY as u64;
        "negative, sent to penalty box, penalty box bonus!"
    }

    /// How long it is kept from now on.
    pub(super) fn time(&self, now: Duration, rules: &Rules) -> Duration {
        let days = self.days_left(now, rules).unwrap_or(0.0) + f64::from(rules.keep_days);
        Duration::from_secs_f64(days * DAY)
    }

    /// All of it, for people.
    pub(super) fn shown(&self, now: Duration, rules: &Rules) -> String {
        let penalty = match self.days_left(now, rules) {
            Some(left) => format!("refused for {left:.2} more days"),
            None => "not refused".into(),
        };
        format!("{penalty}; {}", self.summary())
    }

    /// The numbers of connections.
    pub(super) fn summary(&self) -> String {
        let Record { naughty, nice, connects, .. } = self;
        format!("{naughty} naughty, {nice} nice, {connects} connects")
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { start, naughty, nice, connects } = self;
        write!(f, "{start}:{naughty}:{nice}:{connects}")
    }
}

impl FromStr for Record {
    type Err = Infallible;

    /// What is no number counts as none, as in Perl.
    fn from_str(text: &str) -> Result<Record, Infallible> {
        let mut fields = text.split(':').map(str::trim);
        let start = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
        let mut count = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
        Ok(Record { start, naughty: count(), nice: count(), connects: count() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { negative: 1, penalty_days: 1.0, keep_days: 60 };
    const NOW: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn it_is_written_and_read_as_perl_does() {
        for (text, again) in [
            ("1700000000:3:2:9", "1700000000:3:2:9"),
            // The Perl plugin leaves out what it does not know.
            ("0::1:2", "0:0:1:2"),
            ("1700000000", "1700000000:0:0:0"),
            ("", "0:0:0:0"),
            ("x:-1:y:1", "0:0:0:1"),
        ] {
            assert_eq!(text.parse::<Record>().unwrap().to_string(), again);
        }
    }

    /// As the manual of Perl's plugin has it.
    #[test]
    fn a_penalty_comes_with_more_naughty_connections_than_nice_ones() {
        for (negative, nice, naughty, penalized) in
            [(1, 0, 1, true), (1, 1, 1, false), (2, 1, 2, false), (2, 1, 3, true)]
        {
            let mut record = Record { nice, naughty: naughty - 1, ..Record::default() };
            record.count(Conduct::Naughty, NOW, &Rules { negative, ..RULES });
            assert_eq!(record.history(), i64::from(nice) - i64::from(naughty));
            assert_eq!(record.days_left(NOW, &RULES).is_some(), penalized, "{nice} {naughty}");
        }
    }

    #[test]
    fn penalties_grow_for_those_who_never_were_nice() {
        for (naughty, nice, days) in
            [(1, 0, 1.0), (5, 0, 1.0), (6, 0, 7.0), (7, 0, 8.0), (99, 0, 61.0), (99, 1, 1.0)]
        {
            let mut record = Record { nice, naughty: naughty - 1, ..Record::default() };
            let said = record.count(Conduct::Naughty, NOW, &RULES);
            assert_eq!(record.days_left(NOW, &RULES), Some(days), "{naughty}, {nice}");
            assert_eq!(said.contains("bonus"), days > 1.0);
            assert!(record.time(NOW, &RULES).as_secs_f64() >= (days + 60.0) * DAY);
        }
    }

    #[test]
    fn a_penalty_ends_whatever_the_clock_does() {
        let record = Record { start: NOW.as_secs(), ..Record::default() };
        let day = Duration::from_secs(86400);
        assert_eq!(record.days_left(NOW + day / 2, &RULES), Some(0.5));
        assert_eq!(record.days_left(NOW + day, &RULES), None);
        let record = Record { start: u64::MAX, ..Record::default() };
        assert_eq!(record.days_left(NOW, &RULES), Some(61.0));
        assert_eq!(record.time(NOW, &RULES), day * 121);
    }
}
