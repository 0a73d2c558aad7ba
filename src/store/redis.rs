//! Entries in Redis, which hosts share.
//!
//! A process has one connection, made at first use.  An entry is a string, `qpsmtpd:PLUGIN:KEY`, with an
//! expiry, so that it can be read, and removed, with `redis-cli`.  A change is the old value asked for,
//! and a script that puts the new one only where the old one is still there.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use redis::{
    Client, Cmd, Connection, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisError, RedisResult,
};

use crate::settings::RedisPlace;
use crate::store::Unavailable;
use crate::store::engine::{Change, Changer, Engine, Found, Moment, Result};

/// What all our keys begin with.
const PREFIX: &[u8] = b"qpsmtpd:";

/// Changes the entry where its value is still the second argument, or where there is none if the first is
/// not 1: to the third, for as many milliseconds as the fourth says, 0: removes it.
const CHANGE: &str = "\
local found = redis.call('GET', KEYS[1])
if found ~= (ARGV[1] == '1' and ARGV[2]) then return {0, found} end
if ARGV[4] == '0' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
return {1, false}";

/// A connection that was not used for so long may be dead without our knowing.
const IDLE: Duration = Duration::from_secs(30);

/// The longest that something is kept; a hundred years.
const LONGEST: u64 = 100 * 365 * 24 * 3600 * 1000;

/// How many keys are asked for at once.
const PAGE: usize = 1000;

/// A server.
pub(super) struct RedisEngine {
    place: RedisPlace,
    open: RefCell<Option<Opened>>,
}

struct Opened {
    connection: Connection,
    used: Instant,
}

impl RedisEngine {
    /// The server; nothing is asked yet.
    pub(super) fn new(place: RedisPlace) -> RedisEngine {
        RedisEngine { place, open: RefCell::default() }
    }

    /// Does `act` with the connection.  It is done again, once, where that has changed nothing: the
    /// connection was an old one, and dead, or the server is none any more that can be written to.
    fn with<R>(
        &self,
        until: Instant,
        mut act: impl FnMut(&mut Exchange<'_>) -> RedisResult<R>,
    ) -> Result<R> {
        let within = |_| Unavailable::now("it is asked from within an update");
        let mut open = self.open.try_borrow_mut().map_err(within)?;
        if open.as_ref().is_some_and(|opened| opened.used.elapsed() > IDLE) {
            *open = None;
        }
        let mut may_repeat = true;
        loop {
            let is_old = open.is_some();
            let opened = match &mut *open {
                Some(opened) => opened,
                None => {
                    let connection = self.connect(until).map_err(|error| self.down(&error))?;
                    open.insert(Opened { connection, used: Instant::now() })
                }
            };
            let mut exchange = Exchange { connection: &mut opened.connection, until, answers: 0 };
            let done = act(&mut exchange);
            let was_answered = exchange.answers > 0;
            opened.used = Instant::now();
            let Err(error) = done else { return done.map_err(|error| self.down(&error)) };
            let is_replaced = is_no_master(&error);
            let is_dead = is_old && !was_answered && error.is_io_error() && !error.is_timeout();
            if error.is_io_error() || is_replaced {
                *open = None;
            }
            if !may_repeat || !(is_replaced || is_dead) {
                return Err(self.fault(&error));
            }
            may_repeat = false;
        }
    }

    fn connect(&self, until: Instant) -> RedisResult<Connection> {
        let Some((sentinels, name)) = &self.place.sentinels else {
            return connected(self.place.server.clone(), until);
        };
        let mut failed = RedisError::from((ErrorKind::Io, "no Sentinel answers"));
        for sentinel in sentinels {
            match ask_sentinel(sentinel, name, until) {
                Ok((host, port)) => {
                    let server = self.place.server.clone();
                    let addr = match server.addr().clone() {
                        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                            ConnectionAddr::TcpTls { host, port, insecure, tls_params }
                        }
                        _ => ConnectionAddr::Tcp(host, port),
                    };
                    return connected(server.set_addr(addr), until);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn fault(&self, error: &RedisError) -> Unavailable {
        let is_of_one = ["OOM", "WRONGTYPE"].iter().any(|code| error.code() == Some(*code));
        match is_of_one {
            true => Unavailable::now(self.said(error)),
            false => self.down(error),
        }
    }

    fn down(&self, error: &RedisError) -> Unavailable {
        Unavailable::down(self.said(error))
    }

    /// What went wrong where, without what is secret of the URL.
    fn said(&self, error: &RedisError) -> String {
        let place = match &self.place.sentinels {
            None => self.place.server.addr().to_string(),
            Some((_, name)) => name.clone(),
        };
        let why = match error.is_timeout() {
            true => "no answer in time".to_owned(),
            false => error.to_string(),
        };
        format!("Redis {place}: {why}")
    }
}

/// A connection that has to answer in time.
struct Exchange<'a> {
    connection: &'a mut Connection,
    until: Instant,
    answers: usize,
}

impl Exchange<'_> {
    fn ask<T: FromRedisValue>(&mut self, question: &Cmd) -> RedisResult<T> {
        let left = Some(left(self.until)?);
        self.connection.set_read_timeout(left)?;
        self.connection.set_write_timeout(left)?;
        let answer = question.query(self.connection)?;
        self.answers += 1;
        Ok(answer)
    }
}

fn connected(server: impl IntoConnectionInfo, until: Instant) -> RedisResult<Connection> {
    Client::open(server)?.get_connection_with_timeout(left(until)?)
}

/// Where the server is that can be written to.
fn ask_sentinel(
    sentinel: &ConnectionAddr,
    name: &str,
    until: Instant,
) -> RedisResult<(String, u16)> {
    let mut connection = connected(sentinel.clone(), until)?;
    let mut exchange = Exchange { connection: &mut connection, until, answers: 0 };
    let found: Option<(String, u16)> =
        exchange.ask(redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name))?;
    found.ok_or_else(|| (ErrorKind::Io, "the Sentinel knows no server", name.to_owned()).into())
}

/// How much time there is.
fn left(until: Instant) -> RedisResult<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        false => Ok(left),
    }
}

/// Does somebody else take what is written?
fn is_no_master(error: &RedisError) -> bool {
    ["READONLY", "MASTERDOWN", "LOADING", "UNBLOCKED"]
        .iter()
        .any(|code| error.code() == Some(*code))
}

fn key_of(key: &[u8]) -> Vec<u8> {
    [PREFIX, key].concat()
}

/// Milliseconds, at least one, as Redis takes them.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST)
}

impl Engine for RedisEngine {
    fn get(&self, key: &[u8], at: Moment) -> Result<Option<Vec<u8>>> {
        let question = redis::cmd("GET").arg(key_of(key)).to_owned();
        self.with(at.until, |exchange| exchange.ask(&question))
    }

    fn update(&self, key: &[u8], at: Moment, change: Changer<'_>) -> Result<()> {
        let key = key_of(key);
        self.with(at.until, |exchange| {
            let mut found: Option<Vec<u8>> = exchange.ask(redis::cmd("GET").arg(&key))?;
            loop {
                let (value, time) = match change(found.as_deref()) {
                    Change::Keep => return Ok(()),
                    Change::Put(value, time) => (value, millis(time)),
                    Change::Remove if found.is_none() => return Ok(()),
                    Change::Remove => (vec![], 0),
                };
                let mut script = redis::cmd("EVAL");
                script.arg(CHANGE).arg(1).arg(&key).arg(i32::from(found.is_some()));
                script.arg(found.as_deref().unwrap_or_default()).arg(&value).arg(time);
                match exchange.ask::<(i32, Option<Vec<u8>>)>(&script)? {
                    (0, other) => found = other,
                    _ => return Ok(()),
                }
            }
        })
    }

    fn each(&self, prefix: &[u8], at: Moment, show: &mut dyn FnMut(Found)) -> Result<()> {
        let mut pattern = vec![];
        for octet in key_of(prefix) {
            if b"*?[]\\".contains(&octet) {
                pattern.push(b'\\');
            }
            pattern.push(octet);
        }
        pattern.push(b'*');
        let mut cursor = 0_u64;
        let limit = at.until.saturating_duration_since(Instant::now());
        loop {
            // Each page has the time that one answer has.
            let until = Instant::now() + limit;
            let (next, keys): (u64, Vec<Vec<u8>>) = self.with(until, |exchange| {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
                exchange.ask(&scan)
            })?;
            for key in keys {
                let found: (Option<Vec<u8>>, i64) = self.with(until, |exchange| {
                    let value = exchange.ask(redis::cmd("GET").arg(&key))?;
                    Ok((value, exchange.ask(redis::cmd("PTTL").arg(&key))?))
                })?;
                if let (Some(value), Ok(left)) = (found.0, u64::try_from(found.1)) {
                    let left = Duration::from_millis(left);
                    show(Found { key: key[PREFIX.len()..].to_vec(), value, left });
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn greet(&self, at: Moment) -> Result<()> {
        self.with(at.until, |exchange| exchange.ask::<String>(&redis::cmd("PING"))).map(drop)
    }
}
