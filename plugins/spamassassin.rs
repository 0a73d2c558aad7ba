//! ```text
//! NAME
//!     spamassassin - asks SpamAssassin whether a message is spam
//!
//! SYNOPSIS
//!     spamassassin [reject SCORE|userprefs] [reject_type TYPE] [munge_subject_threshold SCORE]
//!                  [spamd_socket PLACE] [spamd_user NAME] [size_limit OCTETS] [headers none]
//!                  [leave_old_headers drop|rename|keep]
//!
//! DESCRIPTION
//!     Hands every message to spamd, and puts spamd's X-Spam-... fields on top of the header
//!     section, except X-Spam-Report and X-Spam-Prev-Subject.  Fields X-Spam-... that came with the
//!     message could have been written by anybody.  They are renamed to X-Old-Spam-..., whether or
//!     not the message is scanned: under these names a mail reader finds only what SpamAssassin
//!     wrote.
//!
//!     Spam makes the client's karma worse.  A message that SpamAssassin learns as spam makes it
//!     worse, too, and one that it learns as ham makes it better.
//!
//!     Large messages are not scanned.  Neither are messages of clients and senders that may relay
//!     or are on a white list.  If no spamd answers in time and correctly, the message is accepted
//!     without fields of spamd, and the log says so.  With the argument "on_error tempfail" the
//!     client gets 451 instead, and tries again later.
//!
//!     Several spamd are asked in turn until one answers.  They share the time limit, and one that
//!     has failed is asked last for a minute.
//!
//!     With `spamd_user vpopmail`, or with a pattern, spamd is told the recipient as its user, so
//!     the recipient's own preferences count.  A message for several recipients gets the field
//!     X-Spam-User, so that a later program knows that no recipient's preferences counted.
//!
//! ARGUMENTS
//!     reject SCORE                    refuse messages with this score or more, with 552 "spam score
//!                                     exceeded threshold"; by default, and with 0, refuse none
//!     reject userprefs                refuse what SpamAssassin calls spam
//!     reject_type TYPE                perm, temp, disconnect or temp_disconnect; perm by default
//!     reject_threshold SCORE          an older name of reject
//!     munge_subject_threshold SCORE   put a prefix before the subject of messages above this score
//!     subject_prefix WORD             the prefix; *** SPAM *** by default.  A prefix with blanks goes
//!                                     into the file of the same name
//!     spamd_socket PLACE              where spamd listens: /path, or host:port; localhost:783 by
//!                                     default.  It may be given more than once.
//!     spamd_user NAME                 the user to give to spamd; the user of the server by default.
//!                                     In a pattern %u is the address of the only recipient, %l its
//!                                     local part, and %d its domain; for several recipients the user
//!                                     of the server is used
//!     size_limit OCTETS               the largest message that is scanned; 500000 by default
//!     headers none                    change no fields
//!     leave_old_headers drop|rename|keep
//!                                     what to do with fields that came with the message; rename by
//!                                     default
//!     relayclient skip                accepted, and has no effect: it is always so
//!     timeout SECONDS                 time limit for each message; 300 by default
//!     on_error ignore                 accept the message if no spamd answers; the default
//!     on_error tempfail               refuse it temporarily then
//!
//!     spamassassin reject 12 munge_subject_threshold 8 timeout 60
//!
//! CONFIG
//!     subject_prefix   the prefix of subjects
//!
//! NOTES
//!     spamassassin   on the transaction: is_spam (Yes or No), score, required, and the other words
//!                    of X-Spam-Status, such as autolearn, tests and version
//!
//! SEE ALSO
//!     virus/clamdscan, naughty
//! ```

mod spamd;

use std::collections::BTreeMap;
use std::io;

use nix::unistd::{User, geteuid};

use self::spamd::Answer;
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, OldFields, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, Servers};
use crate::state::Note;

/// What SpamAssassin says of a message; a note of the transaction.
pub const SPAMASSASSIN: Note<BTreeMap<String, String>> = Note::new("spamassassin");

const KNOWN: [&str; 9] = [
    "reject_threshold",
    "munge_subject_threshold",
    "subject_prefix",
    "spamd_socket",
    "spamd_user",
    "size_limit",
    "headers",
    "leave_old_headers",
    "relayclient",
];

/// Fields of spamd that are not put into the message.
const LEFT_OUT: [&str; 2] = ["X-Spam-Report", "X-Spam-Prev-Subject"];

/// What the arguments say.
struct Filter {
    servers: Servers<Endpoint>,
    user: Option<String>,
    fails: bool,
    reject: Reject,
    munge: Option<f64>,
    prefix: Option<String>,
    /// In octets.
    most: u64,
    adds_fields: bool,
    old: OldFields,
}

/// When a message is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reject {
    Never,
    /// With this score.
    From(f64),
    /// When it is spam.
    Spam,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    hooks.reads_reject();
    args.only(&KNOWN)?;
    hooks.uses_config(&["subject_prefix"]);
    let mut places: Vec<_> = args.all_named("spamd_socket").collect();
    if places.is_empty() {
        places.push("localhost:783");
    }
    let places = places.into_iter().map(|place| {
        Endpoint::parse(place, None).map_err(|why| why.within("argument spamd_socket"))
    });
    let adds_fields = args.one_of("headers", &[("none", false)], true)?;
    args.one_of("relayclient", &[("skip", ())], ())?;
    let munge = match args.parsed("munge_subject_threshold", 0.0)? {
        score if f64::is_finite(score) => score,
        score => return Err(Error::value("munge_subject_threshold", score, "a score")),
    };
    let filter = Filter {
        servers: Servers::new(places.collect::<Result<_>>()?),
        fails: args.fail_closed(),
        user: args.named("spamd_user").map(str::to_owned),
        reject: reject(args)?,
        munge: Some(munge).filter(|score| *score != 0.0),
        prefix: args.named("subject_prefix").map(str::to_owned),
        most: args.parsed("size_limit", 500_000)?,
        adds_fields,
        old: OldFields::from_args(args)?,
    };
    hooks.data_post(move |session| filter.check(session));
    Ok(())
}

/// What a recipient is called, in one line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

fn reject(args: &Args) -> Result<Reject> {
    let names = ["reject", "reject_threshold"].into_iter();
    let Some((name, word)) = names.filter_map(|name| Some((name, args.named(name)?))).next() else {
        return Ok(Reject::Never);
    };
    match word.parse() {
        _ if word == "userprefs" => Ok(Reject::Spam),
        Ok(0.0) => Ok(Reject::Never),
        Ok(score) if f64::is_finite(score) => Ok(Reject::From(score)),
        _ => Err(Error::value(name, word, "a score, userprefs")),
    }
}

impl Filter {
    fn check(&self, session: &mut Session) -> Verdict {
        let user = self.user(session);
        let is_asked = self.is_asked(session);
        let answer = if is_asked { self.ask(session, &user) } else { None };
        if self.adds_fields {
            session.distrust_spam_fields(self.old);
        }
        let Some(answer) = answer else {
            let fails = is_asked && self.fails;
            return if fails { Verdict::failure("no spamd has answered") } else { DECLINED };
        };
        session.transaction.notes.set(SPAMASSASSIN, answer.words.clone());
        if self.adds_fields {
            self.add_fields(session, &answer, &user);
            self.munge(session, &answer);
        }
        self.judge(session, &answer)
    }

    fn is_asked(&self, session: &Session) -> bool {
        if session.is_immune() {
            return false;
        }
        let size = session.transaction.message_len();
        if size > self.most {
            session.skip(format_args!("too large ({size})"));
        }
        size <= self.most
    }

    /// What the first spamd says that says something.
    fn ask(&self, session: &Session, user: &str) -> Option<Answer> {
        let ask = |server: &Endpoint, end| {
            session.outside("spamd", || spamd::ask(server, end, user, &session.transaction))
        };
        self.servers.ask(session.deadline(), ask, |server, error| {
            session.log(Level::Error, format_args!("skip, spamd: {server}: {error}"));
        })
    }

    /// As whom spamd is asked.
    fn user(&self, session: &Session) -> String {
        let own = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
        let user = self.user.clone().or_else(own).unwrap_or_default();
        match session.transaction.recipients() {
            [recipient] if user == "vpopmail" => one_line(&recipient.address()),
            [recipient] if user.contains('%') => {
                let names = [
                    ("%u", recipient.address()),
                    ("%l", recipient.user().to_owned()),
                    ("%d", recipient.canonical_host().into_owned()),
                ];
                one_line(&names.iter().fold(user, |user, (sign, name)| user.replace(sign, name)))
            }
            _ if user.contains('%') => own().unwrap_or_default(),
            _ => user,
        }
    }

    fn add_fields(&self, session: &mut Session, answer: &Answer, user: &str) {
        let count = session.transaction.recipients().len();
        let header = &mut session.transaction.header;
        let fields = answer.fields.iter().filter(|(name, _)| {
            !LEFT_OUT.iter().any(|left_out| left_out.eq_ignore_ascii_case(name))
        });
        for (name, value) in fields.rev() {
            header.add_at(0, name, value);
        }
        if count > 1 {
            header.add_at(0, "X-Spam-User", &format!("{user}, {count} recipients"));
        }
    }

    fn munge(&self, session: &mut Session, answer: &Answer) {
        if !self.munge.is_some_and(|least| answer.score > least.max(answer.required)) {
            return;
        }
        let configured = || session.config_value("subject_prefix");
        let prefix = self.prefix.clone().or_else(configured);
        let prefix = prefix.unwrap_or_else(|| "*** SPAM ***".to_owned());
        let header = &mut session.transaction.header;
        let subject = header.get("Subject").unwrap_or_default().into_owned();
        header.replace("Subject", format!("{prefix} {subject}").trim_end());
    }

    fn judge(&self, session: &mut Session, answer: &Answer) -> Verdict {
        let kind = if answer.is_spam { "Spam" } else { "Ham" };
        if answer.is_spam {
            session.adjust_karma(-1);
        }
        let learn = answer.words.get("autolearn").map_or("", String::as_str);
        match learn {
            "ham" => session.adjust_karma(1),
            "spam" => session.adjust_karma(-1),
            _ => {}
        }
        let score = answer.score;
        session.score("spamassassin", score);
        let status = format!("{kind}, {score}");
        let (refuses, limit) = match self.reject {
            Reject::Never => {
                session.log(Level::Info, format_args!("reject disabled ({status}, learn={learn})"));
                return DECLINED;
            }
            Reject::From(limit) => (score >= limit, limit),
            Reject::Spam => (answer.is_spam, answer.required),
        };
        if refuses {
            session.fail(format_args!("{status}, > {limit}, learn={learn}"));
            let code = session.get_reject_type(Code::Deny);
            return Verdict::new(code, "spam score exceeded threshold");
        }
        let what = if answer.is_spam { "fail, tolerated" } else { "pass" };
        session.log(Level::Info, format_args!("{what}, {status} < {limit}, learn={learn}"));
        DECLINED
    }
}

/// An answer that the protocol does not have.
fn wrong_answer(line: &str) -> io::Error {
    io::Error::other(format!("a wrong answer: {line:.100}"))
}

#[cfg(test)]
mod tests;
