//! Calls to other programs and servers: how long they take, and what comes of them.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::{Metric, add, observe};

/// How an answer is called that is one.
const OK: &str = "ok";

/// The most kinds of calls that one session is told of.
const MOST: usize = 32;

thread_local! {
    static SPENT: RefCell<Vec<Spent>> = const { RefCell::new(vec![]) };
}

/// Calls of one kind that this process has made: see [`spent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// What was called.
    pub call: &'static str,
    /// How often.
    pub count: u64,
    /// How often without an answer.
    pub failed: u64,
    /// How long all of it took.
    pub time: Duration,
}

/// A call that is under way.  One that is dropped has failed.
#[derive(Debug)]
pub struct Outside {
    call: &'static str,
    since: Instant,
    is_over: bool,
}

/// Why there was no answer.
pub trait Trouble {
    /// One word: `timeout`, `unreachable`, or `failed`.
    fn word(&self) -> &'static str {
        "failed"
    }
}

/// Takes what was spent on calls since this was asked last.
pub fn spent() -> Vec<Spent> {
    SPENT.take()
}

/// What a result is called.
pub fn answered<T, E: Trouble>(result: &Result<T, E>) -> &'static str {
    result.as_ref().err().map_or(OK, Trouble::word)
}

impl Outside {
    /// A call begins to `call`, one word: `rspamd`, `milter`.
    pub fn begin(call: &'static str) -> Outside {
        Outside { call, since: Instant::now(), is_over: false }
    }

    /// It is over, with this result: `ok`, or a word of [`Trouble`].  Returns how long it took.
    pub fn end(mut self, result: &'static str) -> Duration {
        self.is_over = true;
        let time = self.since.elapsed();
        count(self.call, result, time);
        time
    }

    /// Nobody was called after all: it does not count.
    pub fn forget(mut self) {
        self.is_over = true;
    }

    /// When it began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What is called.
    pub fn call(&self) -> &'static str {
        self.call
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if !self.is_over {
            count(self.call, "failed", self.since.elapsed());
        }
    }
}

fn count(call: &'static str, result: &'static str, time: Duration) {
    add(Metric::Outside, &[call, result], 1);
    observe(Metric::OutsideSeconds, &[call], time);
    let failed = u64::from(result != OK);
    SPENT.with_borrow_mut(|all| {
        let known = all.iter().position(|spent| spent.call == call);
        if known.is_none() && all.len() < MOST {
            all.push(Spent { call, count: 0, failed: 0, time: Duration::ZERO });
        }
        let at = known.unwrap_or(all.len() - 1);
        if let Some(spent) = all.get_mut(at).filter(|spent| spent.call == call) {
            spent.count += 1;
            spent.failed += failed;
            spent.time += time;
        }
    });
}

impl Trouble for io::Error {
    fn word(&self) -> &'static str {
        match self.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "timeout",
            ErrorKind::ConnectionRefused
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable => "unreachable",
            _ => "failed",
        }
    }
}

impl<T: Trouble + ?Sized> Trouble for &T {
    fn word(&self) -> &'static str {
        (**self).word()
    }
}

impl Trouble for String {}
impl Trouble for str {}
impl Trouble for crate::error::Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Board, keep};

    #[test]
    fn calls_are_counted_by_their_result() {
        let board = Board::new(1).unwrap();
        keep(board.row(0));
        spent();
        Outside::begin("dns").end("ok");
        Outside::begin("dns").end("timeout");
        drop(Outside::begin("milter"));
        keep(None);
        Outside::begin("milter").end("ok");
        let counts: Vec<_> = board
            .read()
            .into_iter()
            .filter(|series| series.metric == Metric::Outside)
            .map(|series| (series.labels.join(" "), series.values[0]))
            .collect();
        let want = [("dns ok", 1), ("dns timeout", 1), ("milter failed", 1)];
        assert_eq!(counts, want.map(|(labels, count)| (labels.to_owned(), count)));
        let all = spent();
        let found: Vec<_> = all.iter().map(|s| (s.call, s.count, s.failed)).collect();
        assert_eq!(found, [("dns", 2, 1), ("milter", 2, 1)]);
        assert!(spent().is_empty());
    }

    #[test]
    fn errors_have_a_word() {
        let word = |kind: ErrorKind| answered(&Err::<(), _>(io::Error::from(kind)));
        assert_eq!(word(ErrorKind::TimedOut), "timeout");
        assert_eq!(word(ErrorKind::ConnectionRefused), "unreachable");
        assert_eq!(word(ErrorKind::InvalidData), "failed");
        assert_eq!(answered(&Ok::<_, String>(())), "ok");
        assert_eq!(answered(&Err::<(), _>("no".to_owned())), "failed");
    }
}
