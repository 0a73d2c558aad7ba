//! THE table of the states in which a session waits for its client: how long one wait may last, how
//! long all of them together from one accepted message to the next, and what happens where others
//! wait for room and the client was asked to leave.  `docs/reliability.md` prints it.

mod spent;

use std::fmt;

pub use self::spent::{Wait, Waits};

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
    Commands,
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
    row(State::Proxy, "PROXY header", Is(Proxy), Is(Proxy), AtOnce, Clock::Commands),
    row(State::Handshake, "TLS handshake", Is(Command), Proof, AtOnce, Clock::Commands),
    row(State::Greeting, "greeting, with earlytalker", EARLY, EARLY, AtOnce, Clock::Commands),
    row(State::Command, "command, no recipient yet", Is(Command), Proof, AtOnce, Clock::Commands),
    row(State::Auth, "response during AUTH", Is(Command), Proof, AtOnce, Clock::Commands),
    row(
        State::Transaction,
        "command, after a recipient",
        Is(Command),
        Twice(Command),
        UnlessItGetsOn,
        Clock::Commands,
    ),
    row(State::Data, "message, DATA", Is(Data), Pace(Data), UnlessItGetsOn, Clock::Message),
    row(State::Bdat, "message, BDAT", Is(Data), Pace(Data), UnlessItGetsOn, Clock::Message),
    row(State::Refused, "rest of a refused message", Is(Data), Twice(Data), AtOnce, Clock::Refused),
    row(
        State::Reply,
        "reply that the client has to read",
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

impl State {
    /// The row of this state.
    pub fn row(self) -> &'static Row {
        &WAITS[self as usize]
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
                write!(f, "twice {setting}, plus a second for each {SLOWEST} octets received")
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
            UnlessItGetsOn => "after `timeout_overload`, unless it makes progress",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_row() {
        for row in &WAITS {
            assert_eq!(row.state.row().name, row.name);
        }
    }
}
