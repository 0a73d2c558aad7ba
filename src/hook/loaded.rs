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
