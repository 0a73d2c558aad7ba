//! What a plugin's `register` function fills: its handlers.

mod inheritance;
mod values;

use std::fmt::Display;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::config::Config;
use crate::error::{Error, Result};

use crate::hook::lists::Lists;
use crate::hook::registration::{Kind, Registration};
use crate::hook::{
    Args, Call, Credentials, DECLINED, Extension, Heard, Hook, HookResult, Incoming, IntoVerdict,
    LateHooks, Parent, Parsed, Received, Rest, Scram, Session, Verdict,
};
use crate::log::{Level, Record};
use crate::mail::Address;
use crate::state::Params;
use crate::store::{Kept, Table};

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

    /// Parses the argument of HELO in the core's stead: Some is the client's name.
    pub fn helo_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::HeloParse, run);
    }

    /// Parses the argument of EHLO in the core's stead: Some is the client's name.
    pub fn ehlo_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::EhloParse, run);
    }

    /// Parses the argument of AUTH in the core's stead: Some is the mechanism, and the initial
    /// response after a blank where there is one.
    pub fn auth_parse(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.host_parse(Hook::AuthParse, run);
    }

    /// Parses the argument of MAIL, `FROM:<a@b> SIZE=1`, in the core's stead.
    pub fn mail_parse(&mut self, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.path_parse(Hook::MailParse, run);
    }

    /// Parses the argument of RCPT in the core's stead.
    pub fn rcpt_parse(&mut self, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.path_parse(Hook::RcptParse, run);
    }

    /// May rewrite a reverse-path before it is read: Some is the path with its brackets.
    pub fn mail_pre(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.path_pre(Hook::MailPre, run);
    }

    /// May rewrite a forward-path before it is read.
    pub fn rcpt_pre(&mut self, run: impl Fn(&mut Session, &str) -> Option<String> + 'static) {
        self.path_pre(Hook::RcptPre, run);
    }

    /// May give another Received line: Some is its value, folded with a newline and a blank.
    pub fn received_line(
        &mut self,
        run: impl Fn(&mut Session, &Received<'_>) -> Option<String> + 'static,
    ) {
        self.on(Hook::ReceivedLine, move |session, call| match call {
            Call::Received(parts) => run(session, parts).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
    }

    /// Gives configuration from elsewhere: Some are the lines of the file of that name.
    pub fn on_config(&mut self, run: impl Fn(&mut Session, &str) -> Option<Vec<String>> + 'static) {
        self.on(Hook::Config, move |session, call| match call {
            Call::Config(name) => run(session, name).map_or(DECLINED, Verdict::values),
            _ => DECLINED,
        });
    }

    /// Gives configuration for one recipient.
    pub fn user_config(
        &mut self,
        run: impl Fn(&mut Session, &Address, &str) -> Option<Vec<String>> + 'static,
    ) {
        self.on(Hook::UserConfig, move |session, call| match call {
            Call::UserConfig(address, name) => {
                run(session, address, name).map_or(DECLINED, Verdict::values)
            }
            _ => DECLINED,
        });
    }

    /// In the parent, after accept: may refuse a client before it costs a process.
    pub fn pre_connection<R: IntoVerdict>(&mut self, run: impl Fn(&Incoming<'_>) -> R + 'static) {
        let run = Rc::new(move |incoming: &Incoming<'_>| run(incoming).into_verdict());
        self.registered.handlers.push((Hook::PreConnection, Kind::Incoming(run)));
    }

    /// In each new worker process: the place to open what must not be shared between processes.
    pub fn post_fork<R: IntoVerdict>(&mut self, run: impl Fn(&Config) -> R + 'static) {
        let run = Rc::new(move |config: &Config| run(config).into_verdict());
        self.registered.handlers.push((Hook::PostFork, Kind::Fork(run)));
    }

    /// A log line up to `most` was written; OK keeps it from the logging plugins that follow.
    pub fn logging<R: IntoVerdict>(
        &mut self,
        most: Level,
        run: impl Fn(&Record<'_>) -> R + 'static,
    ) {
        let run = Rc::new(move |record: &Record<'_>| run(record).into_verdict());
        self.registered.handlers.push((Hook::Logging, Kind::Log(most, run)));
    }

    /// Says whether the plugin writes the log as JSON: it gets the events in full then.
    pub(crate) fn writes_json(&mut self, writes_json: bool) {
        self.registered.writes_json = writes_json;
    }

    /// Offers TLS: `choose` gives certificates and parameters for each client, and the core does
    /// STARTTLS, or TLS from the start on the ports of `config/tls_ports`.
    pub fn tls(
        &mut self,
        choose: impl Fn(&mut Session) -> std::result::Result<Arc<ServerConfig>, String> + 'static,
    ) {
        self.registered.tls = Some(Rc::new(choose));
    }

    /// Runs in the parent, at most once a second, before a client gets a process: brings up to date
    /// what processes inherit.  True: those that were made before are to serve no more clients.
    pub fn before_fork(&mut self, run: impl Fn(&Config) -> bool + 'static) {
        self.registered.before_fork.push(Box::new(run));
    }

    /// Gives each client a list of plugins of its own in the place of `config/plugins`: that of one of
    /// `files`, names of files of the configuration with lines as in `config/plugins`.  `choose`
    /// says which, by its place in `files`, for the client's address and whether it has
    /// authenticated; None: that client has only this plugin.
    pub fn lists(
        &mut self,
        files: Vec<String>,
        choose: impl Fn(IpAddr, bool) -> Option<usize> + 'static,
    ) {
        self.registered.lists = Some(Lists { files, choose: Rc::new(choose) });
    }

    /// Says that the `queue` handlers of this plugin support an extension.  The core offers it only if
    /// all plugins that queue do.
    pub fn supports(&mut self, extension: Extension) {
        self.registered.extensions.push(extension);
    }

    /// Says that the plugin's handlers of `hook` decide about everything, unless they fail, so that no handler
    /// behind them is asked.
    pub fn always_decides(&mut self, hook: Hook) {
        self.registered.decides.push(hook);
    }

    /// Says that the plugin keeps entries in the table `name` of the store ([`Session::store`]), and how it
    /// explains one to people: whom it is about, what comes of it, until when.
    pub fn keeps(&mut self, name: &'static str, explain: impl Fn(&Kept) -> String + 'static) {
        self.registered.keeps.push((name, Rc::new(explain)));
    }

    /// Adds a command for people, `qpsmtpd --store NAME TABLE WORD`: it gets the table and the word, and
    /// returns a line that says what was done.
    pub fn store_command(
        &mut self,
        table: &'static str,
        name: &'static str,
        run: impl Fn(&Table, &str) -> Result<String> + 'static,
    ) {
        self.registered.commands.push((table, name, Rc::new(run)));
    }

    /// Adds what the plugin does without a client, at an option of the program: it gets a session whose
    /// transaction it may fill, and the word behind the option, and returns a text for people.
    pub(crate) fn job(
        &mut self,
        name: &'static str,
        run: impl Fn(&mut Session, &str) -> Result<String> + 'static,
    ) {
        self.registered.jobs.push((name, Rc::new(run)));
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

    /// Changes how many connections an address may have at once (an IPv6 address: its /64), where the
    /// option `--max-from-ip` limits that: `max` is given the address and the number so far, and returns
    /// another; at least one is allowed.  It runs in the parent for each client and must not wait.
    pub fn max_from_ip(&mut self, max: impl Fn(IpAddr, usize) -> usize + 'static) {
        self.registered.max_from_ip = Some(Rc::new(max));
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

    /// Runs when a process begins to wait for a client, and when it is done with it: the place to send
    /// what could wait until then.  The argument says whether the client keeps it waiting.
    pub(crate) fn before_wait(&mut self, run: impl Fn(&dyn Fn() -> bool) + 'static) {
        self.registered.before_wait.push(Box::new(run));
    }

    /// Runs in a worker of a pool that waits for its next client, and in every process that has served
    /// its last one: the place to close connections that were kept.  Returns how long it need not be
    /// asked again; None: not until there was a client.
    pub(crate) fn rests(&mut self, run: impl Fn(Rest) -> Option<Duration> + 'static) {
        self.registered.rests.push(Box::new(run));
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

    /// Runs in each new process before anything else: the place to let go of what is the parent's.
    pub(crate) fn at_fork(&mut self, run: impl Fn() + 'static) {
        self.registered.at_fork.push(Box::new(run));
    }

    /// Runs in a worker after a session with a lot of mail: the place to let go of what has grown.
    pub(crate) fn after_much_mail(&mut self, run: impl Fn() + 'static) {
        self.registered.after_much_mail.push(Box::new(run));
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

    fn host_parse(
        &mut self,
        hook: Hook,
        run: impl Fn(&mut Session, &str) -> Option<String> + 'static,
    ) {
        self.on(hook, move |session, call| match call {
            Call::Line(line) => run(session, line).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
    }

    fn path_parse(&mut self, hook: Hook, run: impl Fn(&mut Session, &str) -> Parsed + 'static) {
        self.on(hook, move |session, call| match call {
            Call::Line(line) => match run(session, line) {
                Parsed::Declined => DECLINED,
                Parsed::Refused(text) => Verdict::deny(text),
                Parsed::Path(path, mut params) => {
                    params.0.iter_mut().for_each(|(key, _)| key.make_ascii_lowercase());
                    Verdict::path(path, params)
                }
            },
            _ => DECLINED,
        });
    }

    fn path_pre(
        &mut self,
        hook: Hook,
        run: impl Fn(&mut Session, &str) -> Option<String> + 'static,
    ) {
        self.on(hook, move |session, call| match call {
            Call::Path(path, _) => run(session, path).map_or(DECLINED, Verdict::ok),
            _ => DECLINED,
        });
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
