//! How long a client has been waited for, and how much longer it may be.

use std::time::{Duration, Instant};

use super::Leaves::AtOnce;
use super::Limit::{Is, Pace, Plugin, Proof, Twice};
use super::Setting::{Command, Data, Proxy};
use super::{Clock, End, Limit, SLOWEST, SLOWEST_IN_OVERLOAD, State};
use crate::hook::Session;
use crate::settings::{
    PROXY_TIMEOUT, TIMEOUT, TIMEOUT_FIRST_RECIPIENT, TIMEOUT_OVERLOAD, TIMEOUTSMTPD,
};

/// What the settings say.
#[derive(Debug, Clone, Copy)]
struct Seconds {
    proxy: Duration,
    command: Duration,
    data: Duration,
    first_recipient: Duration,
    overload: Duration,
}

/// How long a client has been waited for, and how much longer it may be.
#[derive(Debug)]
pub struct Waits {
    limits: Seconds,
    is_proven: bool,
    /// By clock, since the last message that was accepted.
    spent: [Duration; 4],
    octets: u64,
    /// Since the client was asked to leave.
    asked_spent: Duration,
    asked_octets: u64,
    was_asked: bool,
    /// In the whole session, refused messages included.
    all_octets: u64,
}

/// One wait that goes on.
#[derive(Debug)]
pub struct Wait {
    state: State,
    began: Instant,
    /// Was nothing asked of it yet?
    is_new: bool,
    asked: Option<Instant>,
}

impl Wait {
    /// The time.  A wait that has just begun need not look at the clock again: that is worth
    /// something, as there is a wait for every line.
    pub(in crate::smtp) fn now(&mut self) -> Instant {
        match std::mem::take(&mut self.is_new) {
            true => self.began,
            false => Instant::now(),
        }
    }
}

impl Waits {
    /// Nothing was waited for yet.
    pub(crate) fn new(session: &mut Session) -> Waits {
        let limits = Seconds {
            proxy: session.setting(PROXY_TIMEOUT),
            command: session.setting(TIMEOUTSMTPD),
            data: session.setting(TIMEOUT),
            first_recipient: session.setting(TIMEOUT_FIRST_RECIPIENT),
            overload: session.setting(TIMEOUT_OVERLOAD),
        };
        Waits { limits, ..Waits::all(Duration::ZERO) }
    }

    /// The same limit for everything.
    pub(crate) fn all(limit: Duration) -> Waits {
        Waits {
            limits: Seconds {
                proxy: limit,
                command: limit,
                data: limit,
                first_recipient: limit,
                overload: limit,
            },
            is_proven: false,
            spent: [Duration::ZERO; 4],
            octets: 0,
            asked_spent: Duration::ZERO,
            asked_octets: 0,
            was_asked: false,
            all_octets: 0,
        }
    }

    /// The client has had a recipient accepted, or has authenticated.
    pub(crate) fn is_proven(&mut self) {
        self.is_proven = true;
    }

    /// A message was accepted: what was waited for is forgotten.
    pub(crate) fn got_message(&mut self) {
        self.spent = [Duration::ZERO; 4];
        self.octets = 0;
    }

    /// Octets of a message have come.
    pub(in crate::smtp) fn got_octets(&mut self, state: State, count: usize) {
        if matches!(state.row().clock, Clock::Message | Clock::Refused) {
            self.all_octets += count as u64;
        }
        if state.row().clock == Clock::Message {
            self.octets += count as u64;
            if self.was_asked {
                self.asked_octets += count as u64;
            }
        }
    }

    /// How many octets of messages the session had.
    pub(crate) fn all_octets(&self) -> u64 {
        self.all_octets
    }

    /// A wait begins.
    pub(in crate::smtp) fn begin(&self, state: State) -> Wait {
        Wait { state, began: Instant::now(), is_new: true, asked: None }
    }

    /// How much longer a wait may go on.  `asked`: the client was asked to leave.
    ///
    /// # Errors
    /// No longer.
    pub(in crate::smtp) fn left(
        &mut self,
        wait: &mut Wait,
        now: Instant,
        asked: bool,
    ) -> Result<Duration, End> {
        let row = wait.state.row();
        let waited = now.saturating_duration_since(wait.began);
        let spent = self.spent[row.clock as usize] + waited;
        let one = self.limit(row.one).saturating_sub(waited);
        let left = one.min(self.limit(row.whole).saturating_sub(spent));
        if left.is_zero() {
            return Err(End::Timeout);
        }
        if !asked {
            return Ok(left);
        }
        if row.leaves == AtOnce {
            return Err(End::Stopping);
        }
        self.was_asked = true;
        let since = *wait.asked.get_or_insert(now);
        let earned = Duration::from_secs(self.asked_octets / SLOWEST_IN_OVERLOAD);
        let spent = self.asked_spent + now.saturating_duration_since(since);
        match (self.limits.overload + earned).saturating_sub(spent) {
            Duration::ZERO => Err(End::Stopping),
            rest => Ok(left.min(rest)),
        }
    }

    /// A wait is over.
    pub(in crate::smtp) fn end(&mut self, wait: &Wait) {
        let now = Instant::now();
        self.spent[wait.state.row().clock as usize] += now.saturating_duration_since(wait.began);
        if let Some(since) = wait.asked {
            self.asked_spent += now.saturating_duration_since(since);
        }
    }

    fn limit(&self, limit: Limit) -> Duration {
        let limits = &self.limits;
        let seconds = |setting| match setting {
            Proxy => limits.proxy,
            Command => limits.command,
            Data => limits.data,
        };
        match limit {
            Is(setting) => seconds(setting),
            Twice(setting) => 2 * seconds(setting),
            Pace(setting) => 2 * seconds(setting) + Duration::from_secs(self.octets / SLOWEST),
            Proof if self.is_proven => limits.command,
            Proof => limits.first_recipient,
            Plugin(_) => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Leaves::UnlessItGetsOn;
    use super::super::WAITS;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits() -> Waits {
        let limits = Seconds {
            proxy: 10 * SECOND,
            command: 100 * SECOND,
            data: 200 * SECOND,
            first_recipient: 300 * SECOND,
            overload: 5 * SECOND,
        };
        Waits { limits, ..Waits::all(SECOND) }
    }

    /// What is left after `seconds` in a state.
    fn left(waits: &mut Waits, state: State, seconds: u32, asked: bool) -> Result<u64, End> {
        let mut wait = waits.begin(state);
        let began = wait.began;
        waits.left(&mut wait, began, asked)?;
        let now = began + seconds * SECOND;
        waits.left(&mut wait, now, asked).map(|left| left.as_secs())
    }

    #[test]
    fn one_wait_and_all_of_them_have_a_limit() {
        let mut waits = waits();
        assert_eq!(left(&mut waits, State::Command, 30, false), Ok(70));
        assert_eq!(left(&mut waits, State::Command, 100, false), Err(End::Timeout));
        waits.spent[Clock::Commands as usize] = 250 * SECOND;
        assert_eq!(left(&mut waits, State::Auth, 30, false), Ok(20));
        assert_eq!(left(&mut waits, State::Handshake, 50, false), Err(End::Timeout));
        waits.is_proven();
        assert_eq!(left(&mut waits, State::Transaction, 0, false), Err(End::Timeout));
        waits.got_message();
        assert_eq!(left(&mut waits, State::Transaction, 30, false), Ok(70));
    }

    #[test]
    fn a_message_earns_its_time() {
        let mut waits = waits();
        waits.spent[Clock::Message as usize] = 390 * SECOND;
        assert_eq!(left(&mut waits, State::Data, 3, false), Ok(7));
        waits.got_octets(State::Bdat, 10_000);
        assert_eq!(left(&mut waits, State::Bdat, 3, false), Ok(107));
        waits.got_octets(State::Refused, 10_000);
        assert_eq!(left(&mut waits, State::Data, 3, false), Ok(107));
    }

    #[test]
    fn who_was_asked_to_leave_has_to_unless_it_gets_on() {
        for row in &WAITS {
            let want = match row.leaves {
                AtOnce => Err(End::Stopping),
                UnlessItGetsOn => Ok(3),
            };
            assert_eq!(left(&mut waits(), row.state, 2, true), want, "{}", row.name);
        }
        let mut waits = waits();
        assert_eq!(left(&mut waits, State::Transaction, 5, true), Err(End::Stopping));
        waits.got_octets(State::Data, 20_000);
        assert_eq!(left(&mut waits, State::Data, 5, true), Ok(4));
        assert_eq!(left(&mut waits, State::Data, 9, true), Err(End::Stopping));
    }
}
