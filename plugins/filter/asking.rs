//! How the filter is asked about something, and told of it.

use super::decided::{Decided, refusal};
use super::keeper::Keeper;
use super::protocol::{self, Decision, Event, Line, Phase, Request};
use super::record::Record;
use super::{Filter, JUNK, message};
use crate::hook::Session;
use crate::log::Level;

impl Filter {
    /// Sends the message through the filter.
    pub(super) fn lines(&self, session: &mut Session) -> std::result::Result<(), String> {
        if !self.begin(session, Phase::DataLine)? {
            return Ok(());
        }
        session.distrust_spam_fields(self.old);
        let (until, mut reports) = (session.deadline(), vec![]);
        let mut keeper = self.keeper.borrow_mut();
        let request = self.request(&mut keeper);
        let version = keeper.program().version();
        let Some((_, link)) = keeper.running() else { return Err(self.gone()) };
        let report = &mut |session, text: &str| reports.push((session, text.to_owned()));
        let transaction = &session.transaction;
        let done = session.outside("filter", || {
            message::through(link, (version, request), transaction, until, report)
        });
        let done = done.map_err(|error| keeper.lose(&error, Some(request)));
        drop(keeper);
        self.reported(session, reports);
        if let Some(message) = done? {
            let replaced = session.transaction.replace_message(message);
            replaced.map_err(|error| format!("{}: {error}", self.name))?;
            session.log(Level::Debug, format_args!("{} has changed the message", self.name));
        }
        Ok(())
    }

    /// Asks about a phase, if the filter wants that.
    pub(super) fn ask(
        &self,
        session: &mut Session,
        phase: Phase,
        fields: &[&str],
    ) -> std::result::Result<Decided, String> {
        if !self.begin(session, phase)? {
            return Ok(Decided::Proceed);
        }
        let (until, mut reports) = (session.deadline(), vec![]);
        let mut keeper = self.keeper.borrow_mut();
        let request = self.request(&mut keeper);
        let line = protocol::ask(keeper.program().version(), phase, request, fields);
        let Some((_, link)) = keeper.running() else { return Err(self.gone()) };
        let report = &mut |session, text: &str| reports.push((session, text.to_owned()));
        let is_in_transaction = session.transaction.sender().is_some();
        let done = session.outside("filter", || {
            link.send(&line)?;
            link.await_answer(request, until, report, |line| match line {
                Line::Result(_, decision) => Ok(Some(self.decide(session, decision, phase))),
                _ => Err(std::io::Error::other("it answers with a line of a message")),
            })
        });
        let done = done.map_err(|error| keeper.lose(&error, Some(request)));
        drop(keeper);
        self.reported(session, reports);
        let (decided, response, parameter) = done?;
        if response == "report" {
            self.reported(session, vec![(request.session, parameter.clone().unwrap_or_default())]);
        }
        if matches!(decided, Decided::Junk) && is_in_transaction {
            session.transaction.notes.set(JUNK, true);
        }
        self.tell(session, |record, keeper| {
            record.is_junk |= matches!(decided, Decided::Junk) && !is_in_transaction;
            let mut fields = vec![phase.told(), response];
            fields.extend(parameter.as_deref());
            record.say(keeper, Event::FilterResponse, &fields);
        });
        Ok(decided)
    }

    /// What comes of a decision, its name, and its parameter.
    fn decide(
        &self,
        session: &Session,
        decision: Decision<'_>,
        phase: Phase,
    ) -> (Decided, &'static str, Option<String>) {
        let (name, parameter) = decision.words();
        let decided = match decision {
            Decision::Proceed | Decision::Report(_) => Decided::Proceed,
            Decision::Junk => Decided::Junk,
            Decision::Rewrite(text) => Decided::Rewrite(text.to_owned()),
            Decision::Reject(text) | Decision::Disconnect(text) => {
                if protocol::reply(text).is_none() {
                    let phase = phase.row().name;
                    let text = format_args!("{}: not a reply at {phase}: {text}", self.name);
                    session.log(Level::Warn, text);
                }
                Decided::Refuse(refusal(text, name == "disconnect"))
            }
        };
        (decided, name, parameter.map(str::to_owned))
    }

    /// Makes sure that the filter runs and knows the session, and says whether it wants the phase.  A
    /// filter of which it is known that it does not want it need not run.
    fn begin(&self, session: &mut Session, phase: Phase) -> std::result::Result<bool, String> {
        if !self.wants(phase) && phase != Phase::Connect {
            return Ok(false);
        }
        let until = session.deadline();
        let mut keeper = self.keeper.borrow_mut();
        self.listen(session, &mut keeper);
        if let Err(why) = keeper.start(session, until) {
            if keeper.wanted().is_none_or(|wanted| wanted.phase(phase)) {
                return Err(why);
            }
            session.log(Level::Error, why);
            return Ok(false);
        }
        let mut record = self.record.borrow_mut();
        if !record.as_ref().is_some_and(|record| record.is_of(session)) {
            *record = Some(Record::new(session.id(), 0));
        }
        if let Some(record) = &mut *record {
            record.introduce(&mut keeper, session);
        }
        Ok(keeper.wanted().is_some_and(|wanted| wanted.phase(phase)))
    }

    /// Takes what the filter has said without being asked.
    pub(super) fn listen(&self, session: &mut Session, keeper: &mut Keeper) {
        let mut reports = vec![];
        let report = &mut |session, text: &str| reports.push((session, text.to_owned()));
        if let Some((_, link)) = keeper.running()
            && let Err(error) = link.listen(report)
        {
            let why = keeper.lose(&error, None);
            session.log(Level::Error, why);
        }
        for (_, text) in reports {
            session.log(Level::Info, format_args!("{} reports: {text}", self.name));
        }
    }

    /// May the filter want to be asked about this?
    pub(super) fn wants(&self, phase: Phase) -> bool {
        self.keeper.borrow().wanted().is_none_or(|wanted| wanted.phase(phase))
    }

    fn request(&self, keeper: &mut Keeper) -> Request {
        let session = self.record.borrow().as_ref().map_or(0, |record| record.number);
        Request { session, token: keeper.token() }
    }

    fn gone(&self) -> String {
        format!("{}: it has ended", self.name)
    }

    /// What the filter reports goes to the log, and back to it.
    fn reported(&self, session: &mut Session, reports: Vec<(u64, String)>) {
        for (number, text) in reports {
            session.log(Level::Info, format_args!("{} reports: {text}", self.name));
            self.tell(session, |record, keeper| {
                if record.number == number {
                    record.say(keeper, Event::FilterReport, &["proc", &self.name, &text]);
                }
            });
        }
    }

    /// Does something with what the filter is told of this session, if it is told anything.
    pub(super) fn tell(&self, session: &Session, tell: impl FnOnce(&mut Record, &mut Keeper)) {
        let (mut record, mut keeper) = (self.record.borrow_mut(), self.keeper.borrow_mut());
        if let Some(record) = record.as_mut().filter(|record| record.is_of(session)) {
            tell(record, &mut keeper);
        }
    }
}
