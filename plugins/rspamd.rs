//! ```text
//! NAME
//!     rspamd - asks rspamd what to do with a message
//!
//! SYNOPSIS
//!     rspamd [SERVER]... [deadline SECONDS] [ca FILE] [reject 0|1|naughty] [reject_type TYPE]
//!            [soft_reject 0|1] [relayclient skip|scan] [size_limit OCTETS] [headers none]
//!            [spam_header NAME] [leave_old_headers drop|rename|keep] [settings_id NAME]
//!            [mta_name NAME] [mta_tag TAG]
//!
//! DESCRIPTION
//!     Hands every message to rspamd, by its protocol over HTTP (/checkv2), with all that is known
//!     about where it comes from, and does what rspamd says:
//!
//!         no action         nothing
//!         greylist          451 if rspamd gives a text for the client, as its module greylist
//!                           does with "action = greylist"; otherwise nothing
//!         add header        adds X-Spam: Yes, or what rspamd has in "spam_header"
//!         rewrite subject   puts rspamd's subject in place of the message's
//!         soft reject       451
//!         reject            554, and the client's karma gets worse
//!         quarantine        accepts the message and has it kept apart, see docs/plugins.md
//!         discard           accepts the message and throws it away
//!
//!     The client is told the text that rspamd gives ("smtp_message"), or else a usual one.
//!     Whatever the action is, the fields that rspamd adds, DKIM signatures included, are put at
//!     the positions that it gives, and the fields that it removes are removed.  The envelope stays
//!     as it is.
//!
//!     Fields X-Spam..., X-Spamd-... and X-Rspamd-... that came with the message could have been
//!     written by anybody.  They are renamed to X-Old-..., whether or not the message is scanned
//!     and rspamd answers: under these names a mail reader finds only what rspamd wrote.
//!
//!     Several servers are asked in turn until one answers.  They share the deadline, and a server
//!     that has failed is asked last for a minute.  If no server answers in time and correctly, the
//!     plugin has failed: the client gets 451 and tries again later, or, with the argument
//!     "on_error ignore", the message goes on as if rspamd had not been asked.
//!
//!     Large messages are not scanned.  Neither are messages of clients that may relay, that are on
//!     a white list or that are naughty, and of senders on a white list.
//!
//!     If this server itself has found out about SPF, DKIM and DMARC, because the plugins of these
//!     names come before this one, rspamd is told the results.  If its module http_headers is
//!     enabled it uses them instead of asking the DNS once more.
//!
//! ARGUMENTS
//!     SERVER               where a worker of rspamd listens: http://HOST:PORT, https://HOST:PORT,
//!                          HOST:PORT or HOST PORT, or the path of a socket; 127.0.0.1:11333 by
//!                          default
//!     deadline SECONDS     time limit for all servers together; 10 by default
//!     ca FILE              the authorities for https://: certificates in PEM, instead of those that
//!                          the system knows.  They are read at the start.
//!     reject 1             refuse what rspamd rejects; the default
//!     reject 0             do not refuse it, but mark it as with "add header"
//!     reject naughty       leave it to the plugin naughty to refuse the client later
//!     reject_type TYPE     perm, temp, disconnect or temp_disconnect; perm by default
//!     soft_reject 0        do not refuse temporarily; 1 by default
//!     relayclient scan     also scan messages of clients that may relay, for example because rspamd
//!                          signs them; skip by default
//!     size_limit OCTETS    the largest message that is scanned; 50000000 by default, which is as
//!                          much as rspamd accepts by default
//!     headers none         change no fields
//!     spam_header NAME     the field for "add header"; X-Spam by default
//!     leave_old_headers drop|rename|keep
//!                          what to do with fields that came with the message; rename by default
//!     settings_id NAME     use rspamd's settings of that name
//!     mta_name NAME        the name of this server in rspamd's Authentication-Results; config/me by
//!                          default
//!     mta_tag TAG          tells rspamd which of several servers asks
//!
//!     rspamd 127.0.0.1 11333 192.0.2.7:11333 on_error ignore
//!     rspamd /run/rspamd/normal.sock relayclient scan reject_type temp
//!
//! CONFIG
//!     me   the name of this server
//!
//! NOTES
//!     rspamd       on the transaction: action, score, required, and the names of the symbols, joined
//!                  by commas
//!     quarantine   on the transaction: see docs/plugins.md
//!
//! SEE ALSO
//!     spamassassin, virus/clamdscan, naughty, docs/scanners.md
//! ```

mod answer;
mod facts;
mod fields;
mod json;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use self::answer::{Action, Answer};
use self::facts::Facts;
use self::server::Server;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::forward::Reply;
use crate::hook::{Args, Code, DECLINED, DONE, Hooks, OldFields, Session, Verdict};
use crate::log::{self, Level};
use crate::net::{Form, Servers};
use crate::plugins::queue::queued;
use crate::state::Note;

/// What rspamd says of a message; a note of the transaction.
pub const RSPAMD: Note<BTreeMap<String, String>> = Note::new("rspamd");

/// The arguments that have names.
const NAMES: [&str; 12] = [
    "deadline",
    "ca",
    "soft_reject",
    "relayclient",
    "size_limit",
    "headers",
    "spam_header",
    "leave_old_headers",
    "settings_id",
    "mta_name",
    "mta_tag",
    "reject",
];

/// The longest text for a client in characters, and how many symbols are logged.
const LONGEST: usize = 300;
const SHOWN: usize = 30;

/// What the arguments say.
struct Scanner {
    servers: Servers<Server>,
    deadline: Duration,
    facts: Facts,
    /// In octets.
    most: u64,
    defers: bool,
    scans_relays: bool,
    changes_fields: bool,
    spam_field: String,
    old: OldFields,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let scanner = Scanner::from_args(args, hooks.config())?;
    hooks.data_post(move |session| scanner.check(session));
    Ok(())
}

impl Scanner {
    fn from_args(args: &Args, config: &Config) -> Result<Scanner> {
        let words = args.positional();
        let count = words.iter().take_while(|word| !NAMES.contains(word)).count();
        let (servers, pairs) = words.split_at(count);
        Args::new(pairs.iter().copied()).only(&NAMES)?;
        let deadline = args.parsed("deadline", 10u32)?;
        if deadline == 0 {
            return Err(Error::value("deadline", 0, "1 or more"));
        }
        let own = |name| args.named(name).map(str::to_owned);
        Ok(Scanner {
            servers: Servers::new(Server::all(servers, args, config)?),
            deadline: Duration::from_secs(deadline.into()),
            facts: Facts {
                settings_id: own("settings_id"),
                mta_name: own("mta_name"),
                mta_tag: own("mta_tag"),
            },
            most: args.parsed("size_limit", 50_000_000)?,
            defers: args.flag("soft_reject", true)?,
            scans_relays: args.one_of("relayclient", &[("skip", false), ("scan", true)], false)?,
            changes_fields: args.one_of("headers", &[("none", false)], true)?,
            spam_field: own("spam_header").unwrap_or_else(|| "X-Spam".to_owned()),
            old: OldFields::from_args(args)?,
        })
    }

    fn check(&self, session: &mut Session) -> std::result::Result<Verdict, &'static str> {
        let is_asked = self.is_asked(session);
        let answer = if is_asked { self.ask(session) } else { None };
        if self.changes_fields {
            session.distrust_spam_fields(self.old);
        }
        match answer {
            Some(answer) => Ok(self.carry_out(session, &answer)),
            None if is_asked => Err("no rspamd has answered"),
            None => Ok(DECLINED),
        }
    }

    fn is_asked(&self, session: &Session) -> bool {
        let is_ours = self.scans_relays && session.connection.relay_client;
        if session.is_naughty() || (!is_ours && session.is_immune()) {
            return false;
        }
        let size = session.transaction.message_len();
        if size > self.most {
            session.skip(format_args!("too large ({size})"));
        }
        size <= self.most
    }

    /// What the first server says that says something.
    fn ask(&self, session: &mut Session) -> Option<Answer> {
        let me = session.me();
        let session = &*session;
        let fields = self.facts.fields(session, &me);
        let transaction = &session.transaction;
        let header = transaction.header.to_bytes();
        let until = session.deadline_within(self.deadline);
        let ask = |server: &Server, end| {
            let text = transaction.body.reader(transaction.body.start());
            let content = &mut header.as_slice().chain(text);
            let form = Form { fields: &fields, content, length: transaction.message_len() };
            session.outside("rspamd", || server.ask(form, end))
        };
        self.servers.ask(until, ask, |server, error| {
            session.log(Level::Error, format_args!("{}: {error}", server.shown));
        })
    }

    /// Does what rspamd says.
    fn carry_out(&self, session: &mut Session, answer: &Answer) -> Verdict {
        session.transaction.notes.set(RSPAMD, answer.words());
        if self.changes_fields {
            self.edit(session, answer);
        }
        if answer.has_envelope {
            session.log(Level::Notice, "rspamd wants to change the envelope, which stays as it is");
        }
        let told = told(answer);
        if answer.only_told {
            return session.pass(format_args!("{told}, which is only told"));
        }
        if matches!(answer.action, Action::AddHeader | Action::RewriteSubject | Action::Reject) {
            session.adjust_karma(-1);
        }
        match answer.action {
            Action::None => session.pass(told),
            Action::Greylist if answer.text.is_none() => session.pass(told),
            Action::AddHeader | Action::RewriteSubject => session.fail(told),
            Action::Greylist | Action::SoftReject if self.defers => {
                session.fail(told);
                Verdict::denysoft(text(answer, 451, "Try again later")).with_reply(451)
            }
            Action::Greylist | Action::SoftReject => session.fail(format!("tolerated, {told}")),
            Action::Reject => {
                let text = text(answer, 554, "Message rejected as spam");
                let verdict = session.get_reject_logged(&text, told);
                let is_now = matches!(verdict.code(), Code::Deny | Code::DenyDisconnect);
                verdict.with_reply(if is_now { 554 } else { 451 })
            }
            Action::Quarantine => {
                session.quarantine(&told);
                DECLINED
            }
            Action::Discard => {
                session.log(Level::Notice, format_args!("message discarded, {told}"));
                let answer = queued(session);
                session.respond(250, answer.text());
                DONE
            }
        }
    }
}

/// For a fuzz target: does what any octets say, if they say something.
pub(crate) fn any_answer(session: &mut Session, octets: &[u8]) {
    let scanner = Scanner::from_args(&Args::default(), &Config::new(vec![]));
    if let (Ok(answer), Ok(scanner)) = (Answer::read(octets), scanner) {
        scanner.carry_out(session, &answer);
    }
}

/// The answer in a line of the log.
fn told(answer: &Answer) -> String {
    let symbols = answer.symbols.iter().take(SHOWN).map(|name| log::clean(name));
    let symbols = symbols.collect::<Vec<_>>().join(",");
    let (action, score, required) = (answer.action.name(), answer.score, answer.required);
    format!("{action} ({score:.2}/{required:.2}) {symbols}").trim_end().to_owned()
}

/// What the client is told, with its status at the end.
fn text(answer: &Answer, code: u16, usual: &str) -> String {
    let text: String = answer.text.as_deref().unwrap_or("").chars().take(LONGEST).collect();
    let text = if text.trim().is_empty() { usual } else { text.trim() };
    let lines = text.lines().map(|line| log::clean(line.trim()).into_owned()).collect();
    let text = Reply { code, lines }.text();
    if text.contains("(#") { text } else { format!("{text} (#{}.7.1)", code / 100) }
}
