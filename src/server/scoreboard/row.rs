//! What workers say of themselves, in memory that the parent and all of them share.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use nix::errno::Errno;

use crate::sys::{shared, title};

/// The numbers of the whole table: how much there was to tell ever, to which everybody adds, and whether
/// the parent wants to be woken, which it alone writes.
const CHANGES: usize = 0;
const ASKED: usize = 1;
const HEAD: usize = 8;

/// The numbers of a row.  The worker that has the row writes them, and nobody else; the parent does
/// while nobody has it.  Which session's client has left last, counted from 1, and how many sessions are
/// over: both go on from one worker of the row to the next.  Then texts: what the worker does, which plugin
/// it asks, and for which client; since when, in milliseconds since 1970; and its process id.
const LEFT: usize = 0;
const OVER: usize = 1;
const DOES: Range<usize> = 2..5;
const ASKS: Range<usize> = 5..9;
const CLIENT: Range<usize> = 9..14;
const SINCE: usize = 14;
const PID: usize = 15;
const ROW: usize = 16;

/// The rows of all workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows(&'static [AtomicU64]);

/// A worker, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// `waiting`, or the command.
    pub(crate) does: String,
    /// Which plugin it asks; empty: none.
    pub(crate) asks: String,
    /// The client's address; empty: none.
    pub(crate) client: String,
    /// Since when there is that client, after the beginning of 1970.
    pub(crate) since: Duration,
}

/// The row of a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    head: &'static [AtomicU64],
    own: &'static [AtomicU64],
}

impl Rows {
    /// Rows for `most` workers.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn new(most: usize) -> nix::Result<Rows> {
        let count = most.checked_mul(ROW).and_then(|count| count.checked_add(HEAD));
        shared::cells(count.ok_or(Errno::ENOMEM)?).map(Rows)
    }

    /// One row, if there is a row of that number.
    pub(super) fn get(&self, number: usize) -> Option<Row> {
        let (head, rows) = self.0.split_at(HEAD);
        rows.chunks_exact(ROW).nth(number).map(|own| Row { head, own })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        (self.0.len() - HEAD) / ROW
    }

    /// How much there was to tell ever.
    pub(super) fn changes(&self) -> u64 {
        self.0[CHANGES].load(SeqCst)
    }

    /// Whether workers that are done are to wake the parent.  Who was done before is seen afterwards.
    pub(super) fn ask(&self, wanted: bool) {
        self.0[ASKED].store(wanted.into(), SeqCst);
    }
}

impl Row {
    /// The client is leaving: it may be back before this returns.
    pub(crate) fn client_left(&self) {
        self.own[LEFT].store(self.over() + 1, SeqCst);
        self.head[CHANGES].fetch_add(1, SeqCst);
    }

    /// The worker is done with its client, and waits for the next one.  True: the parent wants to be
    /// woken.
    pub(crate) fn is_done(&self) -> bool {
        self.own[OVER].store(self.over() + 1, SeqCst);
        self.head[CHANGES].fetch_add(1, SeqCst);
        self.head[ASKED].load(SeqCst) != 0
    }

    /// Where the worker says what it does; see [`crate::sys::title::share`].
    pub(crate) fn shown(&self) -> title::Shown {
        title::Shown {
            does: &self.own[DOES],
            asks: &self.own[ASKS],
            client: &self.own[CLIENT],
            since: &self.own[SINCE],
        }
    }

    /// The worker begins.
    pub(crate) fn begins(&self) {
        self.own[PID].store(std::process::id().into(), SeqCst);
    }

    /// What the worker says of itself; None where there is none.
    pub(super) fn seen(&self) -> Option<Seen> {
        let text = |cells: Range<usize>| title::said(&self.own[cells]);
        let pid = u32::try_from(self.own[PID].load(SeqCst)).ok().filter(|pid| *pid != 0)?;
        let (does, asks, client) = (text(DOES), text(ASKS), text(CLIENT));
        let since = Duration::from_millis(self.own[SINCE].load(SeqCst));
        Some(Seen { pid, does, asks, client, since })
    }

    /// How many sessions are over.
    pub(super) fn over(&self) -> u64 {
        self.own[OVER].load(SeqCst)
    }

    /// Which session's client has left last.
    pub(super) fn left(&self) -> u64 {
        self.own[LEFT].load(SeqCst)
    }

    /// Makes the row ready for another worker: the last one may have ended while its session did.
    pub(super) fn clear(&self) {
        self.own[LEFT].store(self.over(), SeqCst);
        self.own[DOES.start..].iter().for_each(|cell| cell.store(0, SeqCst));
    }
}
