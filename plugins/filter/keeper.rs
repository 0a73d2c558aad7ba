//! Keeps a filter running: starts it when it is needed, and another one when it has failed.

use std::io::{self, ErrorKind};
use std::time::Instant;

use super::link::{Link, keep};
use super::program::{Backoff, Program};
use super::protocol::{Request, Wanted};
use super::shared::{Shared, overdue};
use crate::hook::Session;

/// A filter, running or not.
#[derive(Debug)]
pub(super) struct Keeper {
    program: Program,
    shared: Option<Shared>,
    link: Option<Link>,
    /// Which one it is, counted from 1.
    generation: u64,
    /// What the last one wanted.
    wanted: Option<Wanted>,
    backoff: Backoff,
    complaints: Vec<String>,
    tokens: u64,
}

impl Keeper {
    /// One filter for this process, or the one that all share.
    pub(super) fn new(program: Program, shared: Option<Shared>) -> Keeper {
        Keeper {
            program,
            shared,
            link: None,
            generation: 0,
            wanted: None,
            backoff: Backoff::default(),
            complaints: vec![],
            tokens: 0,
        }
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// Which filter there is, counted from 1, and the way to it; None where there is none now.
    pub(super) fn running(&mut self) -> Option<(u64, &mut Link)> {
        self.link.as_mut().map(|link| (self.generation, link))
    }

    /// What the filter wants, or the last one did; None: there was none yet.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.link.as_ref().map(Link::wanted).or(self.wanted)
    }

    /// Makes sure that there is a filter.
    ///
    /// # Errors
    /// There is none; it must not be started yet.
    pub(super) fn start(&mut self, session: &mut Session, until: Instant) -> Result<(), String> {
        if self.link.is_some() {
            return Ok(());
        }
        let me = session.me();
        let mut link = match &self.shared {
            Some(shared) => {
                let channel = shared.connect(session.spool_dir(), &self.program, &me, until);
                Link::to_shared(channel.map_err(|error| self.failure(&error))?)
            }
            None => {
                if let Some(left) = self.backoff.left() {
                    let left = left.as_secs() + 1;
                    return Err(format!("{} is started again in {left} s", self.program.name()));
                }
                let process = self.program.start(&me).map_err(|error| self.failure(&error))?;
                Link::to_own(process)
            }
        };
        let done = link.handshake(until);
        self.link = Some(link);
        if let Err(error) = done {
            return Err(self.lose(&error, None));
        }
        self.generation += 1;
        self.wanted = self.link.as_ref().map(Link::wanted);
        Ok(())
    }

    /// There will be no more sessions.
    pub(super) fn finish(&mut self) {
        if let Some(link) = self.link.take() {
            link.finish();
        }
    }

    /// The filter is of no use any more, for this reason, which is returned for people.  `request` is
    /// what it has not answered.
    pub(super) fn lose(&mut self, error: &io::Error, request: Option<Request>) -> String {
        if let Some(mut link) = self.link.take() {
            keep(&mut self.complaints, link.complaints());
            if !link.is_shared() {
                self.backoff.failed(link.age());
            } else if let Some(request) = request.filter(|_| error.kind() == ErrorKind::TimedOut) {
                // Who does not read this has gone.
                let _ = link.send(overdue(request).as_bytes());
            }
        } else {
            self.backoff.failed(std::time::Duration::ZERO);
        }
        self.failure(error)
    }

    /// What the filter has said for the log.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        if let Some(link) = &mut self.link {
            keep(&mut self.complaints, link.complaints());
        }
        std::mem::take(&mut self.complaints)
    }

    /// A token that no other request of this process has.
    pub(super) fn token(&mut self) -> u64 {
        self.tokens += 1;
        u64::from(std::process::id()) << 32 | self.tokens
    }

    fn failure(&self, error: &io::Error) -> String {
        let why = match error.kind() {
            ErrorKind::TimedOut => "it does not answer in time".to_owned(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => "it has ended".to_owned(),
            _ => error.to_string(),
        };
        format!("{}: {why}", self.program.name())
    }
}
