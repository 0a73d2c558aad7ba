//! A plugin that is loaded: who it is, and which extensions it supports.

use std::rc::Rc;

use crate::config::Line;
use crate::hook::lists::List;
use crate::hook::{Hook, Settings};

/// One plugin as loaded: a name and its settings.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: Rc<str>,
    pub(crate) settings: Settings,
    pub(super) extensions: Vec<Extension>,
    /// The hooks at which it always decides, unless it fails.
    pub(super) decides: Vec<Hook>,
    pub(crate) origin: Origin,
    pub(super) list: List,
    /// The line that names it, where it comes from a file.
    pub(crate) line: Option<Line>,
    /// The name of the native plugin that it is, which its own may be an older one of.
    pub(crate) native: Option<&'static str>,
    /// The Perl file or module that it is, or in whose place it stands.
    pub(crate) perl: Option<String>,
}

/// What a loaded plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A native plugin.
    Native,
    /// A native plugin instead of a Perl file that a release of Perl qpsmtpd has.
    Known,
    /// A Perl plugin.
    Perl,
}

/// A service extension (RFC 5321 2.2) that the core offers only where what queues supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// Takes addresses and header sections in UTF-8, and hands them on as they are (RFC 6531).
    Smtputf8,
    /// Hands on what senders ask about delivery status notifications (RFC 3461), to whom it hands
    /// messages to.
    Dsn,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::hook::{Args, Hooks, OK};
    use crate::testing::Trial;

    #[test]
    fn an_extension_is_supported_where_all_that_queue_support_it() {
        for (plugins, smtputf8, dsn) in [
            ("", false, false),
            ("rcpt_ok", false, false),
            ("queue/discard", true, true),
            ("queue/maildir", true, false),
            ("queue/discard note x\nqueue/maildir", true, false),
            ("queue/maildir\nqueue/qmail-queue", false, false),
            ("queue/smtp-forward 127.0.0.1", false, false),
            ("queue/smtp-forward 127.0.0.1 dsn", false, true),
            ("queue/discard note x\nqueue/lmtp /lmtp dsn\nqueue/postfix-queue", false, true),
            ("queue/postfix-queue\nqueue/lmtp /lmtp", false, false),
            ("queue/qmail-queue", false, false),
            ("queue/qmqp-forward 127.0.0.1", false, false),
        ] {
            let trial = Trial::new(plugins, &[]);
            let supports = |extension| trial.session.supports(extension);
            let found = (supports(Extension::Smtputf8), supports(Extension::Dsn));
            assert_eq!(found, (smtputf8, dsn), "{plugins}");
        }
    }

    /// A child supports what its parent supports as long as the parent's handler does the work.
    #[test]
    fn an_extension_is_inherited_with_its_handler() {
        fn child(hooks: &mut Hooks, args: &Args) -> Result<()> {
            let parent = hooks.isa_plugin("queue/discard", &Args::default())?;
            match args.get(0) {
                Some("own") => hooks.queue(|_| OK),
                Some("left_out") => {
                    parent.leave_out(Hook::Queue);
                    hooks.isa_plugin("queue/smtp-forward", &Args::new(["127.0.0.1"]))?;
                }
                Some("both") => {
                    hooks.isa_plugin("queue/smtp-forward", &Args::new(["127.0.0.1"]))?;
                }
                _ => {}
            }
            Ok(())
        }
        for (args, supports) in [("", true), ("own", false), ("left_out", false), ("both", false)] {
            let trial = Trial::with(child, args, &[]);
            assert_eq!(trial.session.supports(Extension::Smtputf8), supports, "{args}");
        }
    }
}
