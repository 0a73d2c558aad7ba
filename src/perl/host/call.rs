//! One call of a handler: from what Perl has to know first to what the handler said.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Caller, Outcome, Perl, no_process};
use crate::hook::{Hook, PARENT_LIMIT, Session};
use crate::log::Level;
use crate::perl::link::Link;
use crate::perl::protocol::{Failure, FromPerl, Loggers, Reply, ToPerl};
use crate::perl::serving::Serving;
use crate::perl::wire::Item;

impl Perl {
    /// Asks a handler.  Perl may go on with those that follow it in the chain: what they say comes
    /// when they are asked.
    pub(super) fn call(
        &self,
        caller: &mut Caller<'_, '_>,
        handler: i64,
        hook: &'static str,
        args: Vec<Item>,
        limit: Duration,
    ) -> Outcome<Reply> {
        if self.is_loading.get() {
            let deadline = Instant::now() + limit;
            let process = self.process.borrow();
            let Some(process) = &*process else { return Err(no_process()) };
            let (handlers, state) = (vec![handler], Item::Undef);
            let call = ToPerl::Call { handlers, hook, state, args };
            process.control.send([call]).map_err(Failure::Process)?;
            return self.converse(&process.control, None, caller, deadline);
        }
        let under_way = self.serving.borrow().clone().filter(|serving| serving.link.is_ours());
        let turn = under_way.and_then(|serving| {
            let turn = serving.goes_on_with(hook, handler)?;
            Some((serving, turn + limit))
        });
        let (serving, deadline) = match turn {
            Some(turn) => turn,
            None => self.begin(caller, handler, hook, &args, limit)?,
        };
        let reply = self.converse(&serving.link, Some(&serving), caller, deadline);
        if let Err(Failure::Process(_)) = reply {
            serving.link.cut();
            self.serving.take();
            self.log_held(caller);
        }
        reply
    }

    /// Calls a handler, together with those that follow it: until when the first one has to be done.
    fn begin(
        &self,
        caller: &mut Caller<'_, '_>,
        handler: i64,
        hook: &'static str,
        args: &[Item],
        limit: Duration,
    ) -> Outcome<(Rc<Serving>, Instant)> {
        let following = self.following(caller);
        let handlers: Vec<i64> = [&[handler], &following[..]].concat();
        let serving = self.send(caller, |serving, session| {
            let mut state = serving.replica.borrow_mut().state(session.as_deref());
            self.add_carried(&mut state, session.as_deref());
            let (handlers, args) = (handlers.clone(), args.to_vec());
            Some(ToPerl::Call { handlers, hook, state, args })
        })?;
        serving.begins(hook, &following);
        let limit = match &*self.process.borrow() {
            // There may never be anybody who answers.
            Some(process) if serving.is_new.replace(false) && process.control.is_dead() => {
                limit.min(PARENT_LIMIT)
            }
            _ => limit,
        };
        Ok((serving, Instant::now() + limit))
    }

    /// The handlers of the chain that Perl may call after the one that is asked now, as nobody else
    /// has anything to do between them.
    fn following(&self, caller: &mut Caller<'_, '_>) -> Vec<i64> {
        let Caller::Session(session) = caller else { return vec![] };
        let following = session.take_following();
        let plugins = session.plugins();
        // Each answer is told to these.
        let is_told = session.has(Hook::Ok) || plugins.wants(Level::Debug);
        match is_told || self.lines.loggers() == Loggers::Mixed {
            true => vec![],
            false => following,
        }
    }

    /// Writes the lines that were held.
    pub(super) fn log_held(&self, caller: &mut Caller<'_, '_>) {
        for line in self.lines.take_held() {
            self.take_statement(caller, "log", &line);
        }
    }

    /// Answers questions until a handler is done.
    pub(super) fn converse(
        &self,
        link: &Link,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        deadline: Instant,
    ) -> Outcome<Reply> {
        loop {
            match link.receive(deadline).map_err(Failure::Process)? {
                FromPerl::Step { reply, changes, since } => {
                    if !serving.is_some_and(|serving| serving.steps(since)) {
                        return Err(Failure::Process("the Perl process went too far".into()));
                    }
                    self.apply(serving, caller, &changes)?;
                    return Ok(reply);
                }
                FromPerl::Returned { reply, changes } => {
                    serving.into_iter().for_each(|serving| serving.ends());
                    self.apply(serving, caller, &changes)?;
                    return Ok(reply);
                }
                FromPerl::Died { why, changes } => {
                    serving.into_iter().for_each(|serving| serving.ends());
                    self.apply(serving, caller, &changes)?;
                    return Err(Failure::Handler(why));
                }
                FromPerl::Question { what, args, changes } => {
                    self.apply(serving, caller, &changes)?;
                    let (answer, is_over) = match serving {
                        Some(serving) => serving.apart(|| self.answer(caller, &what, &args)),
                        None => (self.answer(caller, &what, &args), true),
                    };
                    if !is_over {
                        return Err(Failure::Process("the Perl process is not done".into()));
                    }
                    let answer = match answer {
                        Ok(value) => self.answered(serving, caller, value),
                        Err(refused) => ToPerl::Refusal(refused),
                    };
                    link.send(self.lines.take().into_iter().chain([answer]))
                        .map_err(Failure::Process)?;
                }
                FromPerl::Statement { what, args } if self.lines.holds(&what) => {
                    self.lines.hold(args);
                }
                FromPerl::Statement { what, args } => self.take_statement(caller, &what, &args),
            }
        }
    }

    fn answered(
        &self,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        value: Item,
    ) -> ToPerl {
        let mut session = caller.session();
        let goes_on = !session.as_mut().is_some_and(|session| session.is_void());
        let state = serving
            .map_or(Item::Undef, |serving| serving.replica.borrow_mut().state(session.as_deref()));
        ToPerl::Answer { value, state, goes_on }
    }

    /// A session begins: what plugins have kept of its client goes with what else is told of it.
    fn add_carried(&self, state: &mut Item, session: Option<&Session>) {
        let (Some(session), Item::Map(pairs)) = (session, state) else { return };
        if pairs.first().is_some_and(|pair| pair.0 == "S") {
            let connection = &session.connection;
            let client = SocketAddr::new(connection.remote_ip, connection.remote_port);
            let kept = self.carried.of(client);
            if !kept.is_empty() {
                pairs.push(("p".into(), Item::List(kept)));
            }
        }
    }

    /// Does what plugins did, and writes the lines that were held: Perl listens now.
    fn apply(
        &self,
        serving: Option<&Rc<Serving>>,
        caller: &mut Caller<'_, '_>,
        changes: &Item,
    ) -> Outcome<()> {
        let start = changes.get("B").and_then(Item::as_number);
        self.take_back_body(caller, start.and_then(|start| u64::try_from(start).ok()))
            .map_err(Failure::Process)?;
        if let Some(serving) = serving {
            serving.replica.borrow_mut().apply(caller.session(), changes);
            if let (Caller::Incoming(incoming), Some(kept)) = (&caller, changes.get("p")) {
                let client = SocketAddr::new(incoming.remote_ip, incoming.remote_port);
                self.carried.keep(client, kept.as_list());
            }
            if let Some(late) = changes.get("L") {
                let names = late.as_list().iter().map(Item::as_text);
                self.late.set(names.filter_map(|name| Hook::from_name(&name)));
            }
        }
        self.log_held(caller);
        Ok(())
    }
}
