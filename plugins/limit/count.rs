//! Counts, and says what is too much.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::key::By;
use super::lines::{Action, Limits, Rule, What};
use super::rate::{Mark, Rate};
use super::recent::Recent;
use super::seen::{ALL, About, Seen};
use crate::config::Derived;
use crate::hook::{DECLINED, Incoming, Session, Verdict};
use crate::log::Level;
use crate::store::{ByAddress, Keep, Put, Table, Unavailable};

/// The file of the configuration, and the table of the store.
pub(super) const NAME: &str = "limit";

/// For how long the parent knows that a client is exempt.
const EXEMPT: Duration = Duration::from_secs(3600);

thread_local! {
    /// What the parent has counted; it outlives the plugin, which a HUP loads anew.
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

/// The plugin.
pub(super) struct Limit {
    pub(super) limits: Rc<Derived<Limits>>,
    /// Clients that sessions have found to be exempt, for the parent.
    pub(super) exempt: ByAddress,
    pub(super) is_strict: bool,
    pub(super) is_dry: bool,
}

/// What to do with something that happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// So many happen now.
    Count(u64),
    /// One has happened: nobody is told that it is too much.
    CountQuietly,
    /// Would one be too much?
    Look,
}

impl Limit {
    /// Before a process is spent.
    pub(super) fn pre_connection(&self, client: &Incoming<'_>) -> Verdict {
        let limits = client.derived(&self.limits);
        let ip = client.remote_ip;
        let is_exempt = client.is_free
            || !limits.counts(What::Connections)
            || self.exempt.get(ip).is_some()
            || limits.exempts(&ip);
        if is_exempt {
            return DECLINED;
        }
        let due = limits.of(What::Connections, &ip, By::is_address);
        RECENT.with_borrow_mut(|recent| {
            let recent = recent.get_or_insert_with(Recent::new);
            let mut taken: Vec<(&Rate, &str)> = vec![];
            for (rule, rate, key) in &due {
                let Err(wait) = recent.take(key, rate) else {
                    taken.push((rate, key));
                    continue;
                };
                let detail = detail(rule, rate, key, wait);
                let code = rule.action.code().filter(|_| !self.is_dry);
                let told = if code.is_none() { "fail, tolerated" } else { "fail" };
                client.log(Level::Info, format_args!("{told}, {detail}"));
                if rule.action != Action::Warn {
                    taken.iter().for_each(|(rate, key)| recent.give_back(key, rate));
                    return code
                        .map_or(DECLINED, |code| Verdict::new(code, rule.text(rule.value(key))));
                }
            }
            DECLINED
        })
    }

    /// Counts what the parent did not.
    pub(super) fn connect(&self, session: &mut Session) -> Outcome {
        let passed_parent = session.connection.passed_parent;
        let limits = session.derived(&self.limits);
        if passed_parent && limits.counts(What::Connections) {
            let about = About::of(&ALL);
            if limits.exempts(&Seen::of(session, &about, limits.suffixes.as_deref())) {
                self.exempt.set(session.connection.remote_ip, 1, EXEMPT);
            }
        }
        let counts = |by: By| !(passed_parent && by.is_address());
        self.judge(session, What::Connections, &About::of(&counts), How::Count(1))
    }

    /// Counts, or looks; what is too much is refused.
    pub(super) fn judge(
        &self,
        session: &mut Session,
        what: What,
        about: &About<'_>,
        how: How,
    ) -> Outcome {
        let limits = session.derived(&self.limits);
        if !limits.counts(what) {
            return Ok(DECLINED);
        }
        let seen = Seen::of(session, about, limits.suffixes.as_deref());
        if limits.exempts(&seen) {
            return Ok(DECLINED);
        }
        let due = limits.of(what, &seen, about.counts);
        let table = session.store(NAME);
        let mut taken: Vec<(&Rate, &str)> = vec![];
        for (rule, rate, key) in &due {
            let Some(answer) = self.available(ask(session, &table, rate, key, how))? else {
                continue;
            };
            let Err(wait) = answer else {
                taken.push((rate, key));
                continue;
            };
            let verdict = match how {
                How::CountQuietly => DECLINED,
                _ => self.refuse(session, rule, detail(rule, rate, key, wait), rule.value(key)),
            };
            if rule.action != Action::Warn {
                for (rate, key) in taken.iter().filter(|_| how != How::Look) {
                    self.available(give_back(&table, rate, key, how))?;
                }
                return Ok(verdict);
            }
        }
        Ok(DECLINED)
    }

    fn refuse(&self, session: &mut Session, rule: &Rule, detail: String, value: &str) -> Verdict {
        let Some(code) = rule.action.code() else {
            return session.fail(format_args!("tolerated, {detail}"));
        };
        if !self.is_dry && matches!(rule.what, What::FailedAuth | What::UnknownRecipients) {
            session.adjust_karma(-1);
        }
        session.get_reject_as(code, &rule.text(value), detail)
    }

    /// None: the store does not answer, and it is as if nothing were known.
    fn available<T>(
        &self,
        answer: std::result::Result<T, Unavailable>,
    ) -> std::result::Result<Option<T>, Unavailable> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.is_strict => Err(error),
            Err(_) => Ok(None),
        }
    }
}

pub(super) type Outcome = std::result::Result<Verdict, Unavailable>;

/// The inner error is how long it takes until one more may happen.
fn ask(
    session: &Session,
    table: &Table,
    rate: &Rate,
    key: &str,
    how: How,
) -> std::result::Result<std::result::Result<(), Duration>, Unavailable> {
    let now = table.now();
    let believed = |mark: Option<Mark>| mark.filter(|mark| !rate.is_ahead(*mark, now));
    let (old, answer) = match how {
        How::Look => {
            let old = table.get::<Mark>(key)?;
            (old, rate.take(believed(old), 1, now).map(drop))
        }
        How::Count(_) | How::CountQuietly => table.update(key, |old: Option<Mark>| {
            match rate.take(believed(old), how.many(), now) {
                Ok(mark) => (Put(mark, Rate::keep(mark, now)), (old, Ok(()))),
                Err(wait) => (Keep, (old, Err(wait))),
            }
        })?,
    };
    if old != believed(old) {
        session.log(Level::Warn, format_args!("the clock was set back: {key} is counted anew"));
    }
    Ok(answer)
}

fn give_back(
    table: &Table,
    rate: &Rate,
    key: &str,
    how: How,
) -> std::result::Result<(), Unavailable> {
    let now = table.now();
    table.update(key, |old: Option<Mark>| match old {
        Some(mark) => {
            let mark = rate.give_back(mark, how.many());
            (Put(mark, Rate::keep(mark, now)), ())
        }
        None => (Keep, ()),
    })
}

impl How {
    fn many(self) -> u64 {
        if let How::Count(many) = self { many } else { 1 }
    }
}

/// For the log.
fn detail(rule: &Rule, rate: &Rate, key: &str, wait: Duration) -> String {
    format!("{rule} {}: {rate}, free again in {} s", rule.value(key), seconds(wait))
}

/// Rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
