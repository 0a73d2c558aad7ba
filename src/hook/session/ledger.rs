//! What a session adds up for its events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::hook::{Code, Hook, TABLE, Verdict};
use crate::metrics::{Spent, spent};

/// What was counted so far of one session and its transaction.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Who has decided last.
    pub(super) decided: Option<Decided>,
    /// What filters say of the message.
    pub(super) scores: BTreeMap<String, f64>,
    /// What the back end calls the message.
    pub(super) queue_id: RefCell<Option<String>>,
    /// The accepted messages, their recipients and octets; what was refused.
    pub(super) messages: u64,
    pub(super) recipients: u64,
    pub(super) octets: u64,
    pub(super) refusals: u64,
    /// When the transaction began.
    pub(super) mail: Instant,
    times: [Times; 2],
}

/// How long something took, for the session or for its transaction.
#[derive(Debug)]
pub(super) struct Times {
    /// Nanoseconds: plain numbers are set to zero by one call.
    hooks: [u64; TABLE.len()],
    outside: Vec<Spent>,
}

/// A decision, and whose it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    pub(super) hook: Hook,
    /// Its place among the loaded ones.
    pub(super) plugin: u16,
    pub(super) verdict: &'static str,
}

const SESSION: usize = 0;
const TRANSACTION: usize = 1;

impl Ledger {
    pub(super) fn new(now: Instant) -> Ledger {
        // What the process has called before is nobody's.
        spent();
        let none = || Times { hooks: [0; TABLE.len()], outside: vec![] };
        Ledger {
            decided: None,
            scores: BTreeMap::new(),
            queue_id: RefCell::default(),
            messages: 0,
            recipients: 0,
            octets: 0,
            refusals: 0,
            mail: now,
            times: [none(), none()],
        }
    }

    /// A handler has taken so long.
    pub(in crate::hook) fn took(&mut self, hook: Hook, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for times in &mut self.times {
            let all = &mut times.hooks[hook as usize];
            *all = all.saturating_add(nanos);
        }
    }

    /// A plugin has decided; None: it has failed.
    pub(in crate::hook) fn decides(&mut self, hook: Hook, plugin: u16, verdict: Option<&Verdict>) {
        let is_one = verdict.is_none_or(Verdict::ends_chain);
        if is_one {
            let verdict = verdict.map_or("FAILURE", |verdict| name(verdict.code()));
            self.decided = Some(Decided { hook, plugin, verdict });
        }
    }

    /// The times of the session.
    pub(super) fn of_session(&mut self) -> &Times {
        self.collect();
        &self.times[SESSION]
    }

    /// The times of the transaction.
    pub(super) fn of_transaction(&mut self) -> &Times {
        self.collect();
        &self.times[TRANSACTION]
    }

    /// The transaction is over.
    pub(super) fn forget_transaction(&mut self) {
        self.collect();
        let times = &mut self.times[TRANSACTION];
        times.hooks.fill(0);
        times.outside.clear();
        self.scores.clear();
        self.queue_id.take();
        self.decided = None;
    }

    fn collect(&mut self) {
        for one in spent() {
            for times in &mut self.times {
                match times.outside.iter_mut().find(|known| known.call == one.call) {
                    Some(known) => {
                        known.count += one.count;
                        known.failed += one.failed;
                        known.time += one.time;
                    }
                    None => times.outside.push(one.clone()),
                }
            }
        }
    }
}

impl Times {
    /// The hooks that took time, from `first` on.
    pub(super) fn hooks(&self, first: Hook) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = TABLE.iter().zip(self.hooks).skip(first as usize);
        all.filter(|(_, nanos)| *nanos > 0)
            .map(|(row, nanos)| (row.name, Duration::from_nanos(nanos)))
    }

    /// What was called.
    pub(super) fn outside(&self) -> &[Spent] {
        &self.outside
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Done => "DONE",
        Code::Declined => "DECLINED",
        Code::Deny => "DENY",
        Code::DenySoft => "DENYSOFT",
        Code::DenyDisconnect => "DENY_DISCONNECT",
        Code::DenySoftDisconnect => "DENYSOFT_DISCONNECT",
    }
}
