//! What a worker and its Perl process say to each other, both ways.
//!
//! Every message is a list of values, as `wire.rs` writes them, whose first element is the letter that
//! says what it is.  `lib/Qpsmtpd/Host.pm` is the other side.  Perl speaks on two ways: what it waits
//! for, and what ends a call, comes through the socket; what nobody has to hear at once comes through
//! a pipe beside it, which wakes nobody.  Before a message is taken from the socket, those that were
//! put into the pipe before it are taken.
//!
//! Both sides may speak while the other waits: a handler asks the worker a question, and before the
//! worker answers it may call another handler.

use std::fmt;
use std::time::Duration;

use crate::perl::wire::Item;

/// What a worker tells its Perl process; the parent tells the one that loads plugins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ToPerl {
    /// First of all: the highest level of lines that anybody keeps, whose the loggers are, and the
    /// names of all plugins.
    Hello { level: i64, loggers: Loggers, plugins: Vec<String> },
    /// Load a plugin, from a file or a module, for those clients that have a list of that name.
    Load { name: String, file: Item, module: Item, args: Vec<String>, list: String },
    /// Loading is over.
    Serve,
    /// Call handlers of a hook, by their numbers, one after the other as long as they decline.
    /// Number -1 stands for all that have come since plugins were loaded.
    Call { handlers: Vec<i64>, hook: &'static str, state: Item, args: Vec<Item> },
    /// The answer to a question.  No further handler may be called where `goes_on` is false.
    Answer { value: Item, state: Item, goes_on: bool },
    /// The question cannot be answered.
    Refusal(Refused),
    /// Lines of the log for Perl's loggers: the first logger that is asked, then the logger's
    /// arguments.
    Lines(Vec<(i64, Vec<Item>)>),
    /// The message is gone: let go of its file.
    ForgetBody,
    /// Has this process grown too much?  It says 1 if it has.
    HasGrown,
}

/// Who takes the lines that Perl's handlers log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loggers {
    /// Native ones, or nobody: the worker.
    Native,
    /// Perl's and others: the worker, which can do so only when Perl listens.
    Mixed,
    /// Perl's alone: the process itself.
    Perl,
}

/// What a Perl process says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FromPerl {
    /// What a handler says, and what it has changed.  Others of the same call follow.
    Step { reply: Reply, changes: Item, since: Duration },
    /// The same of the last handler of a call.
    Returned { reply: Reply, changes: Item },
    /// The last handler that was called died.
    Died { why: String, changes: Item },
    /// A question.
    Question { what: String, args: Vec<Item>, changes: Item },
    /// Something that nobody answers.
    Statement { what: String, args: Vec<Item> },
}

/// What a handler says: a code and what follows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) code: Option<i64>,
    pub(super) rest: Vec<Item>,
}

/// Why a question cannot be answered: the handler that asked dies of it, unless it minds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refused(pub(super) String);

/// Why a call has come to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// The handler died; its process is as good as before.
    Handler(String),
    /// The process is gone, or too late, or says what it should not: it is not asked again.
    Process(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Handler(why) | Failure::Process(why)) = self;
        f.write_str(why)
    }
}

impl From<&str> for Refused {
    fn from(why: &str) -> Refused {
        Refused(why.to_owned())
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Refused {
        Refused(why)
    }
}

impl ToPerl {
    pub(super) fn into_items(self) -> Vec<Item> {
        let (letter, mut items) = match self {
            ToPerl::Hello { level, loggers, plugins } => {
                let loggers = match loggers {
                    Loggers::Native => "",
                    Loggers::Mixed => "mixed",
                    Loggers::Perl => "perl",
                };
                ("h", vec![Item::number(level), Item::text(loggers), Item::texts(plugins)])
            }
            ToPerl::Load { name, file, module, args, list } => {
                ("l", vec![Item::text(name), file, module, Item::texts(args), Item::text(list)])
            }
            ToPerl::Serve => ("s", vec![]),
            ToPerl::Call { handlers, hook, state, args } => {
                let handlers = handlers.iter().map(Item::number).collect();
                ("c", vec![Item::List(handlers), Item::text(hook), state, Item::List(args)])
            }
            ToPerl::Answer { value, state, goes_on } => {
                ("k", vec![value, state, Item::flag(goes_on)])
            }
            ToPerl::Refusal(refused) => ("e", vec![Item::text(refused.0)]),
            ToPerl::Lines(lines) => {
                let line = |(first, args)| Item::List(vec![Item::number(first), Item::List(args)]);
                ("n", lines.into_iter().map(line).collect())
            }
            ToPerl::ForgetBody => ("b", vec![]),
            ToPerl::HasGrown => ("g", vec![]),
        };
        items.insert(0, Item::text(letter));
        items
    }
}

impl FromPerl {
    /// None where it is nothing of the kind.
    pub(super) fn from_items(items: Vec<Item>) -> Option<FromPerl> {
        let mut items = items.into_iter();
        let letter = items.next()?;
        let mut next = || items.next().unwrap_or(Item::Undef);
        Some(match letter.as_octets() {
            b"s" => {
                let (reply, changes) = (reply(next(), next()), next());
                let since = next().as_number().and_then(|micros| u64::try_from(micros).ok())?;
                FromPerl::Step { reply, changes, since: Duration::from_micros(since) }
            }
            b"r" => FromPerl::Returned { reply: reply(next(), next()), changes: next() },
            b"d" => FromPerl::Died { why: next().as_text().trim_end().to_owned(), changes: next() },
            b"a" => FromPerl::Question {
                what: next().as_text(),
                args: next().into_list(),
                changes: next(),
            },
            b"t" => FromPerl::Statement { what: next().as_text(), args: next().into_list() },
            _ => return None,
        })
    }
}

fn reply(code: Item, rest: Item) -> Reply {
    Reply { code: code.as_number(), rest: rest.into_list() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::{TABLE, dsn};
    use crate::log::LEVELS;
    use crate::perl::verdict::CODES;

    #[test]
    fn what_perl_says_has_its_type() {
        let of = |items: &[Item]| FromPerl::from_items(items.to_vec());
        let reply = Reply { code: Some(901), rest: vec![Item::text("no")] };
        let parts = [Item::text("901"), Item::texts(["no"]), Item::Map(vec![])];
        let with =
            |letter: &str, more: &[Item]| of(&[&[Item::text(letter)], &parts[..], more].concat());
        let changes = Item::Map(vec![]);
        assert_eq!(with("r", &[]), Some(FromPerl::Returned { reply: reply.clone(), changes }));
        let Some(FromPerl::Step { since, .. }) = with("s", &[Item::number(1500)]) else { panic!() };
        assert_eq!(since, Duration::from_micros(1500));
        assert_eq!(with("s", &[]), None);
        assert_eq!(with("s", &[Item::number(-1)]), None);
        assert_eq!(of(&[Item::text("x")]), None);
        assert_eq!(of(&[]), None);
        let Some(FromPerl::Question { what, args, .. }) = of(&[Item::text("a"), Item::text("me")])
        else {
            panic!()
        };
        assert_eq!((what.as_str(), args), ("me", vec![]));
    }

    /// Tables that both sides have say the same.
    #[test]
    fn perl_has_the_same_hooks_codes_levels_and_statuses() {
        let plugin = include_str!("lib/Qpsmtpd/Plugin.pm");
        let hooks = plugin.split_once("our @hooks = qw(").unwrap().1.split_once(')').unwrap().0;
        let hooks: Vec<&str> = hooks.split_whitespace().collect();
        // These have no upstream.
        let native = ["auth-attempt", "auth-failed", "auth-scram-sha-256"];
        for name in TABLE.iter().map(|row| row.name).filter(|name| !native.contains(name)) {
            assert!(hooks.contains(&name), "@hooks in lib/Qpsmtpd/Plugin.pm lacks {name}");
        }
        assert_eq!(hooks.len() + native.len(), TABLE.len(), "@hooks has one that is not in TABLE");

        let constants = include_str!("lib/Qpsmtpd/Constants.pm");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let constants = words(constants);
        for (number, code) in CODES {
            assert!(constants.contains(&format!("[{} => {number}]", code.name())), "{code}");
        }
        for (level, name, _) in LEVELS {
            assert!(constants.contains(&format!("[{name} => {}]", level as u8)), "{name}");
        }
        let statuses = words(include_str!("lib/Qpsmtpd/DSN.pm"));
        for row in dsn::TABLE {
            let quote = if row.text.contains('\'') { '"' } else { '\'' };
            let (name, code, subject, detail) = (row.name, row.code, row.subject, row.detail);
            let line =
                format!("[{name} => {code}, {subject}, {detail}, {quote}{}{quote}],", row.text);
            assert!(statuses.contains(&line), "{line}");
        }
        assert_eq!(statuses.matches(" => DENY").count(), dsn::TABLE.len() - 1, "and OK once");
    }
}
