//! How often something may happen: the generic cell rate algorithm (GCRA), which remembers one time.
//!
//! Each event takes a part of the time, TIME/COUNT.  What is remembered is the time until which all
//! that happened so far has used it up; it may be ahead of the clock by as many parts as the burst has.

use std::fmt;
use std::time::Duration;

/// COUNT/TIME, and as many at once as `burst` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rate {
    /// COUNT/TIME as it is written.
    text: String,
    burst: u64,
    /// What one takes, in nanoseconds, rounded up: never more than the rate.
    each: u128,
    is_burst_told: bool,
}

/// What is remembered: a time in nanoseconds since 1970.
pub(crate) type Mark = u64;

/// The units of times, in seconds.
const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400), ('w', 604_800)];

/// What the letters behind numbers mean.
const LARGE: [(char, u64); 3] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];

/// The longest time until a burst is made good.
const LONGEST: Duration = Duration::from_secs(366 * 86400);

/// By how much the clocks of hosts that share a store may differ.  A mark that is further ahead than
/// it can be is from before the clock was set back.
const SKEW: Duration = Duration::from_secs(60);

impl Rate {
    /// Reads `100/1h`, with a burst of its own or one of COUNT.  The error says what is wrong.
    pub(crate) fn parse(text: &str, burst: Option<&str>) -> Result<Rate, String> {
        let form = || format!("'{text}' is not a rate such as 100/1h, 5/s or 20M/1d");
        let (count, time) = text.split_once('/').ok_or_else(form)?;
        let count = number(count).filter(|count| *count > 0).ok_or_else(form)?;
        let time = duration(time).filter(|time| !time.is_zero()).ok_or_else(form)?;
        let given = burst.map(|word| {
            let burst = number(word).filter(|burst| *burst > 0);
            burst.ok_or_else(|| format!("burst '{word}' is not a number of 1 or more"))
        });
        let burst = given.transpose()?;
        let each = time.as_nanos().div_ceil(count.into());
        let rate = Rate {
            text: text.to_owned(),
            burst: burst.unwrap_or(count),
            each,
            is_burst_told: burst.is_some_and(|burst| burst != count),
        };
        match rate.whole() > LONGEST.as_nanos() {
            true => Err(format!("'{text}': a burst would take more than a year to recover")),
            false => Ok(rate),
        }
    }

    /// In the keys of entries.
    pub(super) fn key(&self) -> String {
        if self.is_burst_told { format!("{}+{}", self.text, self.burst) } else { self.text.clone() }
    }

    /// What [`Rate::key`] has made.
    pub(super) fn from_key(key: &str) -> Option<Rate> {
        let (rate, burst) =
            key.split_once('+').map_or((key, None), |(rate, burst)| (rate, Some(burst)));
        Rate::parse(rate, burst).ok()
    }

    /// So many happen, all at once: what is to be remembered, or how long it takes until they may.  More
    /// than the burst count as the burst.
    pub(crate) fn take(
        &self,
        mark: Option<Mark>,
        count: u64,
        now: Duration,
    ) -> Result<Mark, Duration> {
        let now = now.as_nanos();
        let after =
            now.max(mark.unwrap_or(0).into()) + self.each * u128::from(count.min(self.burst));
        match after.checked_sub(now + self.whole()) {
            None | Some(0) => Ok(nanoseconds(after)),
            Some(wait) => Err(Duration::from_nanos(nanoseconds(wait))),
        }
    }

    /// As if so many had not happened.
    pub(super) fn give_back(&self, mark: Mark, count: u64) -> Mark {
        let part = self.each * u128::from(count.min(self.burst));
        nanoseconds(u128::from(mark).saturating_sub(part))
    }

    /// Can the mark not be true, because the clock was set back since?
    pub(crate) fn is_ahead(&self, mark: Mark, now: Duration) -> bool {
        u128::from(mark) > now.as_nanos() + self.whole() + SKEW.as_nanos()
    }

    /// How many of the burst are used up.
    pub(crate) fn used(&self, mark: Mark, now: Duration) -> u64 {
        let used = u128::from(mark).saturating_sub(now.as_nanos()).div_ceil(self.each);
        u64::try_from(used).unwrap_or(u64::MAX).min(self.burst)
    }

    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    /// For how long a mark means anything.
    pub(crate) fn keep(mark: Mark, now: Duration) -> Duration {
        Duration::from_nanos(mark).saturating_sub(now) + Duration::from_secs(1)
    }

    fn whole(&self) -> u128 {
        self.each * u128::from(self.burst)
    }
}

/// As the line has it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.is_burst_told { write!(f, " burst {}", self.burst) } else { Ok(()) }
    }
}

fn nanoseconds(time: u128) -> u64 {
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// `20`, `20K`, `20M`, `20G`.
fn number(text: &str) -> Option<u64> {
    let (digits, factor) = with_unit(text, &LARGE).unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// `1h`, `90s`, or only `h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (digits, factor) = with_unit(text, &UNITS)?;
    let digits = if digits.is_empty() { "1" } else { digits };
    Some(Duration::from_secs(digits.parse::<u32>().ok().map(u64::from)?.checked_mul(factor)?))
}

fn with_unit<'a>(text: &'a str, units: &[(char, u64)]) -> Option<(&'a str, u64)> {
    units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str, burst: &str) -> Rate {
        Rate::parse(text, Some(burst).filter(|burst| !burst.is_empty())).unwrap()
    }

    #[test]
    fn rates_are_read_and_shown() {
        for (text, burst, shown, key) in [
            ("100/1h", "", "100/1h", "100/1h"),
            ("100/1h", "20", "100/1h burst 20", "100/1h+20"),
            ("5/s", "5", "5/s", "5/s"),
            ("20M/1d", "1G", "20M/1d burst 1073741824", "20M/1d+1073741824"),
        ] {
            let found = rate(text, burst);
            assert_eq!((found.to_string(), found.key()), (shown.to_owned(), key.to_owned()));
            assert_eq!(Rate::from_key(key).unwrap(), found);
        }
        for (text, burst) in [
            ("100", None),
            ("100/", None),
            ("0/1h", None),
            ("1/0h", None),
            ("-1/1h", None),
            ("1/1y", None),
            ("x/1h", None),
            ("1/1h", Some("0")),
            ("1/1h", Some("x")),
            ("1/500d", None),
            ("1/1h", Some("9999999")),
            ("99999999999999999999/1h", None),
            ("18446744073709551615G/1h", None),
        ] {
            assert!(Rate::parse(text, burst).is_err(), "{text} {burst:?}");
        }
    }

    #[test]
    fn a_burst_and_then_one_after_the_other() {
        let rate = rate("60/1h", "3");
        let at = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
        let mut mark = None;
        for _ in 0..3 {
            mark = Some(rate.take(mark, 1, at(0)).unwrap());
        }
        assert_eq!(rate.take(mark, 1, at(0)), Err(Duration::from_secs(60)));
        assert_eq!(rate.take(mark, 1, at(59)), Err(Duration::from_secs(1)));
        assert_eq!(rate.used(mark.unwrap(), at(0)), 3);
        assert_eq!(rate.used(mark.unwrap(), at(61)), 2);
        let next = rate.take(mark, 1, at(60)).unwrap();
        assert_eq!(rate.give_back(next, 1), mark.unwrap());
        assert!(rate.take(Some(next), 1, at(60)).is_err());
        // Who comes after a long time has no more than the burst.
        assert!(rate.take(Some(next), 3, at(9999)).is_ok());
        assert!(rate.take(Some(rate.take(Some(next), 3, at(9999)).unwrap()), 1, at(9999)).is_err());
        // What is more than the burst is the burst.
        assert!(rate.take(None, 100, at(0)).is_ok());
        assert!(rate.take(Some(next), 100, at(60)).is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        let rate = rate("60/1h", "3");
        let at = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
        let mark = rate.take(None, 3, at(0)).unwrap();
        assert!(!rate.is_ahead(mark, at(0)) && !rate.is_ahead(mark, at(0) - SKEW));
        assert!(rate.is_ahead(mark, at(0) - SKEW - Duration::from_nanos(1)));
    }

    /// Numbers that look random and are always the same.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    /// Whenever who asks however often: in any stretch of time no more than the burst and what the rate
    /// gives in that time; and all that ask no sooner than the rate has it are let in.
    #[test]
    fn random_sequences_get_what_the_rate_says() {
        let mut random = Random(7);
        for round in 0..100 {
            let (count, seconds) = (1 + random.below(500), 1 + random.below(5000));
            let burst = 1 + random.below(count.min(40));
            let rate = rate(&format!("{count}/{seconds}s"), &burst.to_string());
            let each = Duration::from_nanos(nanoseconds(rate.each));
            let mut now = Duration::from_secs(1_700_000_000);
            let (mut mark, mut admitted) = (None, vec![]);
            let mut last_wait: Option<Duration> = None;
            for _ in 0..300 {
                // Often at once, often too soon, sometimes much later.
                now += match random.below(4) {
                    0 => Duration::ZERO,
                    1 => each.mul_f64(random.below(100) as f64 / 100.0),
                    2 => last_wait.unwrap_or(each),
                    _ => each * (random.below(2 * burst) as u32),
                };
                match rate.take(mark, 1, now) {
                    Ok(next) => {
                        mark = Some(next);
                        admitted.push(now);
                        last_wait = None;
                    }
                    Err(wait) => {
                        assert!(rate.take(mark, 1, now + wait).is_ok(), "the time that it says");
                        let sooner = now + wait - Duration::from_nanos(1);
                        assert!(rate.take(mark, 1, sooner).is_err(), "and no sooner");
                        last_wait = Some(wait);
                    }
                }
            }
            for (first, begin) in admitted.iter().enumerate() {
                for (admitted, end) in (1..).zip(&admitted[first..]) {
                    let most = u128::from(burst)
                        + (*end - *begin).as_nanos() * u128::from(count)
                            / Duration::from_secs(seconds).as_nanos();
                    assert!(admitted <= most, "round {round}: {rate}");
                }
            }
            // Never fewer than the rate: who keeps to it is never refused, and who asks all the time
            // gets a burst and then one in each part of the time.
            let mut mark = None;
            for part in 0..100 {
                mark = Some(rate.take(mark, 1, now + each * part).unwrap());
            }
            let (mut mark, mut got) = (None, 0);
            let step = each / 7;
            for tick in 0..700 {
                if let Ok(next) = rate.take(mark, 1, now + step * tick) {
                    (mark, got) = (Some(next), got + 1);
                }
            }
            let parts = (step * 699).as_nanos() / each.as_nanos();
            assert_eq!(u128::from(got as u64), u128::from(burst) + parts, "{rate}");
        }
    }
}
