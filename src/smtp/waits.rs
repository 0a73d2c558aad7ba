//! THE table of the states in which a session waits for its client: how long one wait may last, how
//! long all of them together from one accepted message to the next, and what happens where others
//! wait for room and the client was asked to leave.  `docs/reliability.md` prints it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::hook::Session;
use crate::settings::{
    PROXY_TIMEOUT, TIMEOUT, TIMEOUT_FIRST_RECIPIENT, TIMEOUT_OVERLOAD, TIMEOUTSMTPD,
};

/// What came instead of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client has closed the connection, or it broke.
    Closed,
    /// Nothing came in time, or no reply was taken.
    Timeout,
    /// The line has no end.
    Endless,
    /// The client was asked to leave: the server stops, or others wait for room.
    Stopping,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The header of the PROXY protocol.
    Proxy,
    /// The client's part of a TLS handshake.
    Handshake,
    /// That the client holds its tongue before the greeting.
    Greeting,
    /// A command of a client without a recipient.
    Command,
    /// A response to a challenge of AUTH.
    Auth,
    /// A command of a client that has a recipient.
    Transaction,
    /// Octets of a message after DATA.
    Data,
    /// Octets of a message after BDAT.
    Bdat,
    /// Octets of a message that is refused already.
    Refused,
    /// That the client takes replies.
    Reply,
}

/// How long a client may be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// What a setting says.
    Is(Setting),
    /// Twice that.
    Twice(Setting),
    /// Twice that, and what the octets that came have earned.
    Pace(Setting),
    /// `timeout_first_recipient` until the client has had a recipient or authenticated, then
    /// `timeoutsmtpd`.
    Proof,
    /// What a plugin says.
    Plugin(&'static str),
}

/// A file of the configuration with a number of seconds, and what it is without that file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `config/proxy_timeout`.
    Proxy,
    /// `config/timeoutsmtpd`.
    Command,
    /// `config/timeout`.
    Data,
}

/// When a client that was asked to leave has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// At once.
    AtOnce,
    /// Once it has been waited for as long as `timeout_overload` says and its message has earned.
    UnlessItGetsOn,
}

/// The waits that count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Talk,
    Message,
    Refused,
    Replies,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The state.
    pub state: State,
    /// The state in words.
    pub name: &'static str,
    /// The longest wait.
    pub one: Limit,
    /// The most that all waits of this state may take together, from one accepted message to the
    /// next.
    pub whole: Limit,
    /// What happens where others wait for room.
    pub leaves: Leaves,
    clock: Clock,
}

use Leaves::{AtOnce, UnlessItGetsOn};
use Limit::{Is, Pace, Plugin, Proof, Twice};
use Setting::{Command, Data, Proxy};

/// THE table of waits.
pub const WAITS: [Row; 10] = [
    row(State::Proxy, "PROXY header", Is(Proxy), Is(Proxy), AtOnce, Clock::Talk),
    row(State::Handshake, "TLS handshake", Is(Command), Proof, AtOnce, Clock::Talk),
    row(State::Greeting, "silence before the greeting", EARLY, EARLY, AtOnce, Clock::Talk),
    row(State::Command, "command, no recipient yet", Is(Command), Proof, AtOnce, Clock::Talk),
    row(State::Auth, "response within AUTH", Is(Command), Proof, AtOnce, Clock::Talk),
    row(
        State::Transaction,
        "command, after a recipient",
        Is(Command),
        Twice(Command),
        UnlessItGetsOn,
        Clock::Talk,
    ),
    row(State::Data, "message, DATA", Is(Data), Pace(Data), UnlessItGetsOn, Clock::Message),
    row(State::Bdat, "message, BDAT", Is(Data), Pace(Data), UnlessItGetsOn, Clock::Message),
    row(
        State::Refused,
        "message that is refused already",
        Is(Data),
        Twice(Data),
        AtOnce,
        Clock::Refused,
    ),
    row(
        State::Reply,
        "the client takes replies",
        Is(Command),
        Is(Command),
        UnlessItGetsOn,
        Clock::Replies,
    ),
];

const EARLY: Limit = Plugin("earlytalker's `wait`");

const fn row(
    state: State,
    name: &'static str,
    one: Limit,
    whole: Limit,
    leaves: Leaves,
    clock: Clock,
) -> Row {
    Row { state, name, one, whole, leaves, clock }
}

/// How fast a message has to come on average, in octets a second, once its waits have taken what it
/// has without that: a client that sends an octet now and then does not keep a process for ever.
const SLOWEST: u64 = 100;

/// The same where others wait for room and the client was asked to leave.
const SLOWEST_IN_OVERLOAD: u64 = 5000;

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
    asked: Option<Instant>,
}

impl State {
    /// The row of this state.
    pub fn row(self) -> &'static Row {
        &WAITS[self as usize]
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
    pub(super) fn got_octets(&mut self, state: State, count: usize) {
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
    pub(super) fn begin(&self, state: State) -> Wait {
        Wait { state, began: Instant::now(), asked: None }
    }

    /// How much longer a wait may go on.  `asked`: the client was asked to leave.
    ///
    /// # Errors
    /// No longer.
    pub(super) fn left(
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
    pub(super) fn end(&mut self, wait: &Wait) {
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

/// A row as the documents have it.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, one, whole, leaves, .. } = self;
        write!(f, "| {name} | {one} | {whole} | {leaves} |")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Is(setting) => write!(f, "{setting}"),
            Twice(setting) => write!(f, "twice {setting}"),
            Pace(setting) => {
                write!(f, "twice {setting}, and a second for each {SLOWEST} octets of it")
            }
            Proof => {
                write!(f, "`timeout_first_recipient`; {Command} after a recipient or AUTH")
            }
            Plugin(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proxy => "`proxy_timeout`",
            Command => "`timeoutsmtpd`",
            Data => "`timeout`",
        })
    }
}

impl fmt::Display for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AtOnce => "at once",
            UnlessItGetsOn => "after `timeout_overload`, unless it gets on",
        })
    }
}

#[cfg(test)]
mod tests {
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
    fn every_state_has_its_row() {
        for row in &WAITS {
            assert_eq!(row.state.row().name, row.name);
        }
    }

    #[test]
    fn one_wait_and_all_of_them_have_a_limit() {
        let mut waits = waits();
        assert_eq!(left(&mut waits, State::Command, 30, false), Ok(70));
        assert_eq!(left(&mut waits, State::Command, 100, false), Err(End::Timeout));
        waits.spent[Clock::Talk as usize] = 250 * SECOND;
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
