//! ```text
//! NAME
//!     filter - asks a filter that was written for OpenSMTPD
//!
//! SYNOPSIS
//!     filter [processes each|one] [protocol 0.5|0.6|0.7] [leave_old_headers drop|rename|keep]
//!            [timeout SECONDS] [on_error tempfail|ignore] COMMAND [ARGUMENT ...]
//!
//! DESCRIPTION
//!     Starts a program that speaks OpenSMTPD's filter protocol (smtpd-filters(7)) on its standard
//!     input and output.  The plugin reports to the program the events that it has registered for,
//!     asks it for decisions, and does what it says.  Filters made for OpenSMTPD run unchanged;
//!     docs/filters.md has small ones in several languages.
//!
//!     COMMAND is a path, or a name that is looked up in /usr/libexec/opensmtpd,
//!     /usr/libexec/smtpd, /usr/local/libexec/smtpd and $PATH.  The command and its arguments are
//!     words without quotes; no shell is used.  It runs as the user of the sessions.
//!
//!     Each line is one filter.  Several filters are asked in the order of their lines, among the
//!     other plugins.  Like any plugin, a filter is not asked if an earlier plugin has decided
//!     already: a filter that has to see recipients must come before rcpt_ok.
//!
//! ARGUMENTS
//!     processes each    one filter for each process that serves sessions; the default.  When that
//!                       process ends, the filter has a second to end, too, and another one after
//!                       SIGTERM; then it is killed
//!     processes one     one filter for all processes; it has many sessions at once, as in OpenSMTPD
//!     protocol VERSION  the version of the protocol; 0.7 by default
//!     leave_old_headers drop|rename|keep
//!                       what to do, before the filter sees the message or says junk, with fields
//!                       X-Spam, X-Spam-..., X-Spamd-... and X-Rspamd-... that came with it: drop
//!                       them, rename them to X-Old-..., or keep them; rename by default
//!     timeout SECONDS   time limit for each answer, and for all that is done with a message; 300 by
//!                       default
//!     on_error tempfail refuse the client temporarily if the filter fails; the default
//!     on_error ignore   go on without the filter if it fails
//!
//!     filter timeout 30 filter-dkimsign -d example.com -s mail -k /etc/qpsmtpd/mail.key
//!
//!     Options come before the command.  The universal arguments (timeout, on_error, reject,
//!     reject_type, loglevel) are read wherever they are in the line.  If the command has such a word
//!     among its own arguments, put the command into a script.
//!
//! DECISIONS
//!     proceed      the next plugin is asked
//!     junk         the same, and the message gets the field X-Spam: Yes before the filter sees its
//!                  lines.  If it is said of a session before MAIL is accepted, all messages of the
//!                  session get the field
//!     reject       the command is refused with the reply of the filter; if the reply begins with 421
//!                  the connection is closed as well
//!     disconnect   the same, and the connection is closed
//!     rewrite      changes the name at helo and ehlo, the address at mail-from and rcpt-to, with or
//!                  without angle brackets, and the argument at auth, noop and help; it does nothing
//!                  elsewhere
//!     report       goes to the log, and to the filter itself as filter-report
//!
//!     If the filter's reply is no refusal the client gets 421 "Internal server error", as in
//!     OpenSMTPD.
//!
//! PHASES
//!     connect, helo, ehlo, mail-from, rcpt-to, data and commit are the hooks connect, helo_parse,
//!     ehlo_parse, mail, rcpt, data and data_post. starttls, auth, rset, quit, noop, help and wiz
//!     are asked when the command arrives, before it is parsed. auth has the argument as the client
//!     sent it, which may be a password.
//!
//!     data-line is asked in data_post.  The filter gets the message as it would be queued, with
//!     the fields that were added so far.  What it sends back replaces the message, header section
//!     and text, octet for octet with CRLF line ends; if only line ends differ the message stays as
//!     it was. commit is asked right after that.
//!
//! EVENTS
//!     The filter gets all events of OpenSMTPD, with these differences. filter-response and
//!     filter-report are only about this filter's own responses and reports.  For a client that
//!     came by a path in the file system, src and dest are unix:local.  There are no events of
//!     smtp-out. protocol-client does not show what may be a secret.  A session that another plugin
//!     refused at connect, before the filter was asked, is not reported.
//!
//! FAILURES
//!     A filter has failed if it ends, does not answer in time, breaks the protocol, does not read,
//!     or gives back no message or one larger than twice the original plus 1 MiB.  It is killed.
//!     on_error says what becomes of the command or the message that it was asked about; the
//!     message stays as it was before.  A new filter is started when one is needed: at once if the
//!     failed one had lived for ten seconds, else after a second, and then after twice as long each
//!     time, up to a minute.  Until then on_error decides at once.  The new filter is told the
//!     current state of the sessions that have begun.
//!
//!     With `processes one` the filter is killed only if an answer is overdue and the filter has
//!     said nothing since the question.  An answer that only comes too late does not harm other
//!     sessions.
//!
//!     A line of a filter has at most 1 MiB.  What the filter writes to standard error goes to the
//!     log.  The filter has to end when its standard input ends.
//!
//! SEE ALSO
//!     spamassassin, virus/clamdscan
//! ```

mod asking;
mod broker;
mod decided;
mod keeper;
mod link;
mod message;
mod program;
pub(crate) mod protocol;
mod record;
mod shared;

use std::cell::RefCell;

use self::decided::Decided;
use self::keeper::Keeper;
use self::program::Program;
use self::protocol::{Event, PHASES, Phase, VERSIONS, Version};
use self::record::Record;
use self::shared::{Shared, own_name};
use crate::error::{Error, Result};
use crate::hook::{
    Args, Call, DECLINED, Heard, Hook, Hooks, OldFields, Rest, Session, UNIVERSAL, Verdict,
};
use crate::log::Level;
use crate::mail::Address;
use crate::state::Note;

/// Is this message spam, says a filter; a note of the transaction.
const JUNK: Note<bool> = Note::new("filter_junk");

/// Does the message say so?
const MARKED: Note<bool> = Note::new("filter_marked");

/// What may stand before the command, beside the universal arguments.
const KNOWN: [&str; 3] = ["processes", "protocol", "leave_old_headers"];

/// A filter, and the session that it is told of.
struct Filter {
    keeper: RefCell<Keeper>,
    record: RefCell<Option<Record>>,
    name: String,
    old: OldFields,
}

/// What a handler answers, or why the filter could not decide.
type Answer = std::result::Result<Verdict, String>;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let words = args.words();
    let mut at = 0;
    let is_option = |word: &String| {
        KNOWN.iter().chain(&UNIVERSAL).any(|known| known.eq_ignore_ascii_case(word))
    };
    while words.get(at).is_some_and(is_option) {
        at += 2;
    }
    let (options, command) = words.split_at(at.min(words.len()));
    if let Some(word) =
        command.iter().find(|word| UNIVERSAL.iter().any(|known| known.eq_ignore_ascii_case(word)))
    {
        let text =
            format!("'{word}' is among the words of the command: put the command into a script");
        return Err(Error::new(text));
    }
    let options = Args::new(options.iter().map(String::as_str));
    let version = options.one_of("protocol", &VERSIONS, Version::V07)?;
    let is_one = options.one_of("processes", &[("each", false), ("one", true)], false)?;
    let program = Program::new(command, version)?;
    let name = program.name();
    let shared = is_one.then(|| Shared::new(own_name())).transpose();
    let shared = shared.map_err(|error| Error::new(format!("a pipe for {name}: {error}")))?;
    let keeper = RefCell::new(Keeper::new(program, shared));
    let old = OldFields::from_args(&options)?;
    hook(hooks, Filter { keeper, record: RefCell::default(), name, old });
    Ok(())
}

fn hook(hooks: &mut Hooks, filter: Filter) {
    let filter = std::rc::Rc::new(filter);
    let on = |hooks: &mut Hooks, hook, run: fn(&Filter, &mut Session, &Call<'_>) -> Answer| {
        let filter = filter.clone();
        hooks.on(hook, move |session, call| {
            let answer = run(&filter, session, call);
            filter.log(session);
            answer.unwrap_or_else(Verdict::failure)
        });
    };
    on(hooks, Hook::Connect, |filter, session, _| filter.connect(session));
    on(hooks, Hook::HeloParse, |filter, session, call| filter.hello(session, Phase::Helo, call));
    on(hooks, Hook::EhloParse, |filter, session, call| filter.hello(session, Phase::Ehlo, call));
    on(hooks, Hook::Mail, |filter, session, call| filter.address(session, Phase::MailFrom, call));
    on(hooks, Hook::Rcpt, |filter, session, call| filter.address(session, Phase::RcptTo, call));
    on(hooks, Hook::Data, |filter, session, _| filter.ask(session, Phase::Data, &[]).map(plainly));
    on(hooks, Hook::DataPost, |filter, session, _| filter.message(session));
    on(hooks, Hook::ResetTransaction, |filter, session, _| {
        filter.tell(session, Record::end_transaction);
        Ok(DECLINED)
    });
    on(hooks, Hook::AuthAttempt, |filter, session, call| {
        if let Call::User(user) = call {
            filter.tell(session, |record, _| (*user).clone_into(&mut record.user));
        }
        Ok(DECLINED)
    });
    on(hooks, Hook::PostConnection, |filter, session, _| {
        filter.leave(session);
        Ok(DECLINED)
    });
    let own = filter.clone();
    hooks.rests(move |rest| {
        if rest == Rest::Ends {
            own.keeper.borrow_mut().finish();
        }
        None
    });
    hooks
        .listen(move |session, heard| filter.hear(session, heard).unwrap_or_else(Verdict::failure));
}

/// The verdict of a decision that rewrites nothing.
fn plainly(decided: Decided) -> Verdict {
    match decided {
        Decided::Refuse(verdict) => verdict,
        Decided::Proceed | Decided::Junk | Decided::Rewrite(_) => DECLINED,
    }
}

impl Filter {
    fn connect(&self, session: &mut Session) -> Answer {
        let again = self.record.borrow().as_ref().is_some_and(|record| record.is_of(session));
        self.leave(session);
        let mut record = Record::new(session.id(), session.commands() * u32::from(again));
        let name = match self.wants(Phase::Connect) {
            true => record.client(session)[0].clone(),
            false => String::new(),
        };
        let source = record::source(&session.connection);
        self.record.replace(Some(record));
        self.ask(session, Phase::Connect, &[&name, &source]).map(plainly)
    }

    /// A name in HELO or EHLO.
    fn hello(&self, session: &mut Session, phase: Phase, call: &Call<'_>) -> Answer {
        let Call::Line(argument) = call else { return Ok(DECLINED) };
        let host = argument.split_whitespace().next().unwrap_or("");
        Ok(match self.ask(session, phase, &[host])? {
            Decided::Rewrite(host) => Verdict::ok(host),
            decided => plainly(decided),
        })
    }

    /// An address in MAIL or RCPT.
    fn address(&self, session: &mut Session, phase: Phase, call: &Call<'_>) -> Answer {
        let Call::Address(address, _) = call else { return Ok(DECLINED) };
        let text = address.address();
        let path = match self.ask(session, phase, &[&text])? {
            Decided::Rewrite(path) => path,
            decided => return Ok(plainly(decided)),
        };
        let path = if path.starts_with('<') { path } else { format!("<{path}>") };
        let end = path.find('>').map_or(path.len(), |at| at + 1);
        let address = Address::parse(&path[..end]).map_err(|_| {
            format!("{}: it rewrites to something that is not an address: {path}", self.name)
        })?;
        session.replace_address(address);
        Ok(DECLINED)
    }

    /// A message: its lines, and whether it is taken.
    fn message(&self, session: &mut Session) -> Answer {
        self.mark(session);
        self.lines(session)?;
        let decided = self.ask(session, Phase::Commit, &[])?;
        self.mark(session);
        Ok(plainly(decided))
    }

    /// Puts the field into a message that is spam.
    fn mark(&self, session: &mut Session) {
        let is_junk = self.record.borrow().as_ref().is_some_and(|record| record.is_junk);
        let notes = &mut session.transaction.notes;
        if (is_junk || notes.is_true(JUNK)) && !notes.is_true(MARKED) {
            notes.set(MARKED, true);
            session.distrust_spam_fields(self.old);
            session.transaction.header.add_at(0, "X-Spam", "Yes");
        }
    }

    /// Something has gone over the line.
    fn hear(&self, session: &mut Session, heard: &Heard<'_>) -> Answer {
        {
            let (mut record, mut keeper) = (self.record.borrow_mut(), self.keeper.borrow_mut());
            if let Some(record) = record.as_mut().filter(|record| record.is_of(session)) {
                record.hear(&mut keeper, session, heard);
            }
        }
        let Heard::Command { verb, argument } = heard else { return Ok(DECLINED) };
        let Some(row) = PHASES.iter().find(|row| row.verb == *verb) else { return Ok(DECLINED) };
        if !self.wants(row.phase) {
            return Ok(DECLINED);
        }
        let decided = self.ask(session, row.phase, &[argument]);
        self.log(session);
        Ok(match decided? {
            Decided::Rewrite(text) => Verdict::ok(text),
            decided => plainly(decided),
        })
    }

    /// The session that the filter is told of is over.
    fn leave(&self, session: &mut Session) {
        let mut keeper = self.keeper.borrow_mut();
        if let Some(mut record) = self.record.take() {
            record.end_transaction(&mut keeper);
            record.say(&mut keeper, Event::LinkDisconnect, &[]);
        }
        self.listen(session, &mut keeper);
    }

    /// Logs what the filter has said for the log.
    fn log(&self, session: &Session) {
        let complaints = self.keeper.borrow_mut().complaints();
        for line in complaints {
            session.log(Level::Notice, format_args!("{}: {line}", self.name));
        }
    }
}

#[cfg(test)]
mod tests;
