//! What a plugin's `register` function fills: its handlers.

mod inheritance;
mod instead;
mod offers;
mod process;
mod values;

use std::fmt::Display;
use std::rc::Rc;

use crate::config::Config;
use crate::error::{Error, Result};

use crate::hook::registration::{Kind, Registration};
use crate::hook::{
    Args, Call, Credentials, DECLINED, Heard, Hook, HookResult, IntoVerdict, LateHooks, Parent,
    Scram, Session, Verdict,
};
use crate::log::Level;
use crate::mail::Address;
use crate::state::Params;

/// A plugin's one public function: reads the arguments and registers handlers.
pub type Register = fn(&mut Hooks, &Args) -> Result<()>;

/// The handlers of one plugin, in the making.
///
/// Every method registers one handler; a hook may have several.  Handlers return a [`Verdict`],
/// a `Result` whose error becomes a temporary failure, or nothing, which is DECLINED.
pub struct Hooks {
    config: Config,
    find: fn(&str) -> Option<Register>,
    registered: Registration,
    parents: Vec<Parent>,
    /// Why the plugin cannot be loaded, though its `register` returned Ok.
    problem: Option<Error>,
}

/// Handlers that only see the session.
macro_rules! plain_hooks {
    ($($(#[$doc:meta])* $name:ident $hook:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<R: IntoVerdict>(&mut self, run: impl Fn(&mut Session) -> R + 'static) {
            self.on(Hook::$hook, move |session, _| run(session).into_verdict());
        }
    )*};
}

/// Handlers that see the session and one argument, or two, taken out of a [`Call`].
macro_rules! hooks_with {
    ($($(#[$doc:meta])* $name:ident $hook:ident ($($arg:ident: $type:ty),*) = $call:pat => end;)*) => {$(
        $(#[$doc])*
        pub fn $name<R: IntoVerdict>(
            &mut self,
            run: impl Fn(&mut Session, $($type),*) -> R + 'static,
        ) {
            self.on(Hook::$hook, move |session, call| match call {
                $call => run(session, $($arg),*).into_verdict(),
                _ => DECLINED,
            });
        }
    )*};
}

impl Hooks {
    pub(crate) fn new(config: Config, find: fn(&str) -> Option<Register>) -> Hooks {
        let registered = Registration::default();
        Hooks { config, find, registered, parents: vec![], problem: None }
    }

    plain_hooks! {
        /// Before the greeting.
        connect Connect;
        /// After DATA, before the client may send.
        data Data;
        /// The header section is complete, the rest is on its way.  Only the verdicts that close
        /// the connection count.
        data_headers_end DataHeadersEnd;
        /// The message is complete: the place for authentication checks.
        data_post_headers DataPostHeaders;
        /// The message is complete and has its Authentication-Results: the place for scanners.
        data_post DataPost;
        /// The last moment to change a message.
        queue_pre QueuePre;
        /// Takes responsibility for the message: OK only when it is stored for good.
        queue Queue;
        /// The message was queued or not.
        queue_post QueuePost;
        /// The transaction ends; it can still be looked at.
        reset_transaction ResetTransaction;
        /// After QUIT.
        quit Quit;
        /// The server closes the connection.
        disconnect Disconnect;
        /// The session is over, however it ended.
        post_connection PostConnection;
    }

    hooks_with! {
        /// After HELO; gets the client's name.
        helo Helo(host: &str) = Call::Host(host) => end;
        /// After EHLO; gets the client's name.
        ehlo Ehlo(host: &str) = Call::Host(host) => end;
        /// After MAIL; gets the reverse-path and the parameters.
        mail Mail(address: &Address, params: &Params) = Call::Address(address, params) => end;
        /// After RCPT; gets the forward-path and the parameters.  Somebody must answer OK.
        rcpt Rcpt(address: &Address, params: &Params) = Call::Address(address, params) => end;
        /// AUTH of a user, before the plugins that know users are asked: the place to refuse a client
        /// that has failed too often.  This hook offers no AUTH.
        auth_attempt AuthAttempt(user: &str) = Call::User(user) => end;
        /// AUTH did not succeed, for whatever reason; the user is empty where the client has not said
        /// one.
        auth_failed AuthFailed(user: &str) = Call::User(user) => end;
        /// AUTH with any mechanism that no hook of its own decided.
        auth Auth(credentials: &Credentials<'_>) = Call::Credentials(credentials) => end;
        /// AUTH PLAIN.
        auth_plain AuthPlain(credentials: &Credentials<'_>) = Call::Credentials(credentials) => end;
        /// AUTH LOGIN.
        auth_login AuthLogin(credentials: &Credentials<'_>) = Call::Credentials(credentials) => end;
        /// AUTH CRAM-MD5.
        auth_cram_md5 AuthCramMd5(credentials: &Credentials<'_>) = Call::Credentials(credentials) => end;
        /// AUTH SCRAM-SHA-256: says what is known of the user, with [`Scram::password`] or
        /// [`Scram::keys`].
        auth_scram_sha_256 AuthScramSha256(scram: &Scram<'_>) = Call::Scram(scram) => end;
        /// After VRFY; gets the words of the argument.
        vrfy Vrfy(words: &[&str]) = Call::Words(_, words) => end;
        /// After NOOP; gets the words of the argument.
        noop Noop(words: &[&str]) = Call::Words(_, words) => end;
        /// After HELP; gets the words of the argument.
        help Help(words: &[&str]) = Call::Words(_, words) => end;
        /// A handler refused something.
        deny Deny(result: &HookResult<'_>) = Call::Result(result) => end;
        /// A handler did not refuse something; DECLINED counts, too.
        ok Ok(result: &HookResult<'_>) = Call::Result(result) => end;
    }

    /// After a command that the core does not know; gets it in lower case, and its words.
    pub fn unrecognized_command<R: IntoVerdict>(
        &mut self,
        run: impl Fn(&mut Session, &str, &[&str]) -> R + 'static,
    ) {
        self.on(Hook::UnrecognizedCommand, move |session, call| match call {
            Call::Command(command, rest) => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                run(session, command, &words).into_verdict()
            }
            _ => DECLINED,
        });
    }

    /// After HELO or EHLO; gets the client's name.
    pub fn hello<R: IntoVerdict>(&mut self, run: impl Fn(&mut Session, &str) -> R + 'static) {
        let run = Rc::new(run);
        let again = run.clone();
        self.helo(move |session, host| run(session, host));
        self.ehlo(move |session, host| again(session, host));
    }

    /// Runs for all that goes over the line in a session; see [`Heard`].  Only what a command is answered
    /// by it may take its time.
    pub(crate) fn listen<R: IntoVerdict>(
        &mut self,
        run: impl Fn(&mut Session, &Heard<'_>) -> R + 'static,
    ) {
        let run = Rc::new(move |session: &mut Session, heard: &Heard<'_>| {
            run(session, heard).into_verdict()
        });
        self.registered.listeners.push(run);
    }

    /// The handler registered last is to run before those of the plugins loaded so far.
    pub(crate) fn put_first(&mut self) {
        self.registered.first.extend(self.registered.handlers.len().checked_sub(1));
    }

    /// The handler registered last has this number.  Numbered handlers that follow one another in a
    /// chain can be run at once by the first of them, which finds the others in
    /// [`Session::take_following`].
    pub(crate) fn number_last(&mut self, number: i64) {
        let last = self.registered.handlers.len().checked_sub(1);
        self.registered.numbers.extend(last.map(|place| (place, number)));
    }

    /// Asks the plugin, which queues, about each recipient that a handler of `rcpt` has accepted: can the
    /// message go on to it together with those that the transaction has?  A refusal takes the place of
    /// the OK; every other verdict leaves it.
    pub(crate) fn onward(&mut self, run: impl Fn(&mut Session, &Address) -> Verdict + 'static) {
        self.registered.onward.push(Rc::new(move |session, call| match call {
            Call::Address(address, _) => run(session, address),
            _ => DECLINED,
        }));
    }

    /// Runs at the end of the chains of `hooks`, which may become others at any time.
    pub(crate) fn late(
        &mut self,
        hooks: Rc<LateHooks>,
        run: impl Fn(&mut Session, &Call<'_>) -> Verdict + 'static,
    ) {
        self.registered.late.push((hooks, Rc::new(run)));
    }

    /// Any hook of a session, with its arguments as they are.  A plugin that names `logging`,
    /// `post-fork` or `pre-connection` here is not loaded: they run outside of sessions and have
    /// methods of their own.
    pub fn on(&mut self, hook: Hook, run: impl Fn(&mut Session, &Call<'_>) -> Verdict + 'static) {
        if let Some(method) = outside_sessions(hook) {
            let name = hook.name();
            let why = format!("handlers of {name} see no session: Hooks::{method} is for them");
            self.problem.get_or_insert_with(|| Error::new(why));
        }
        self.registered.handlers.push((hook, Kind::Session(Rc::new(run))));
    }

    /// Writes to the log once the plugin is loaded.
    pub fn log(&mut self, level: Level, text: impl Display) {
        self.registered.lines.push((level, text.to_string()));
    }
}

/// The method that registers handlers of a hook that runs outside of sessions.
fn outside_sessions(hook: Hook) -> Option<&'static str> {
    match hook {
        Hook::Logging => Some("logging"),
        Hook::PostFork => Some("post_fork"),
        Hook::PreConnection => Some("pre_connection"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{OK, TABLE};
    use crate::testing::Trial;
    use std::panic::catch_unwind;

    /// Whatever hook a plugin names in `on`, its handler is run or the plugin is not loaded.
    #[test]
    fn a_handler_that_would_never_run_cannot_be_registered() {
        fn any(hooks: &mut Hooks, args: &Args) -> Result<()> {
            let hook = Hook::from_name(args.required(0, "a hook")?);
            hooks.on(hook.ok_or("no such hook")?, |_, _| OK);
            Ok(())
        }
        for row in &TABLE {
            let loaded = catch_unwind(|| {
                let mut trial = Trial::with(any, row.name, &[]);
                assert_eq!(trial.call(row.hook, &Call::Nothing), OK, "{}", row.name);
            });
            let is_outside = ["logging", "post-fork", "pre-connection"].contains(&row.name);
            assert_eq!(loaded.is_err(), is_outside, "{}", row.name);
        }
    }
}
