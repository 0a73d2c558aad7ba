//! THE table of the core's settings: every file of the configuration that the core itself reads.
//!
//! Everything that is known of a setting stands in its row: its name, what its values are, its
//! default, when a change takes effect, and what it means.  Preloading, checks at start, at HUP and
//! by `--check`, `--show-config`, and the table in `docs/config.md` come from the rows.
//!
//! To add a setting, add a row, read it with `session.setting(NAME)` or `config.setting(NAME)`, and
//! run the test `docs_config_md_has_the_table`, which says what `docs/config.md` lacks.

mod kind;
mod network;
mod networks;
mod redis;
mod status;
mod store;
mod value;

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

pub use kind::Kind;
pub use network::{leading_numbers, network};
pub use networks::{NameServer, NameServers, Networks, Ports};
pub use redis::RedisPlace;
pub use status::StatusPlace;
pub use store::StorePlace;
pub use value::{BareNewline, Permissions, Value, Words, yes_or_no};

pub(crate) use value::number;

use crate::error::meant;
use crate::log::Level;
use kind::Kind::{
    Folder, Folders, HostName, LogLevel, Names, Number, Plugins, Seconds, Secret, Text, Word, YesNo,
};

/// A setting with values of type `T`.
pub struct Setting<T>(&'static Row, PhantomData<fn() -> T>);

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// Its place in the table.
    pub(crate) number: usize,
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What counts where there is no file, or no line in it.
    pub default: Default,
    /// When a change takes effect.
    pub effect: Effect,
    /// What it means, in a line of Markdown.
    pub meaning: &'static str,
    read: Reader,
}

/// What a setting is where nothing is configured.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// What a file with this text would give.
    Is(&'static str),
    /// This host's name.
    Host,
    /// What the other setting is.
    As(&'static Row),
    /// What an empty list or no text stands for, in words.
    Without(&'static str),
}

/// When a changed file takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Within a second.
    AtOnce,
    /// At the next HUP.
    Reload,
    /// At the next start.
    Restart,
}

/// Makes a value of the lines of a file, or says which of them is none of the row's kind.
type Reader = fn(&Row, &[&str]) -> Result<Rc<dyn Any>, usize>;

macro_rules! table {
    ($($constant:ident: $type:ty = $name:literal, $kind:expr, $default:expr, $effect:ident, $meaning:literal;)*) => {
        $(
            #[doc = concat!("`config/", $name, "`: ", $meaning, ".")]
            pub const $constant: Setting<$type> = Setting(
                &Row {
                    number: Place::$constant as usize,
                    name: $name,
                    kind: $kind,
                    default: $default,
                    effect: Effect::$effect,
                    meaning: $meaning,
                    read: read::<$type>,
                },
                PhantomData,
            );
        )*

        /// The rows in order: each one's number.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Place {
            $($constant),*
        }

        /// All rows, in the order of the documentation.
        pub const TABLE: &[&Row] = &[$($constant.0),*];
    };
}

table! {
    PLUGINS: Words = "plugins", Plugins, Default::Without("none"), Reload,
        "the plugins, in order, with their arguments";
    LOGGING: Words = "logging", Plugins, Default::Without("none"), Reload,
        "the logging plugins; without one the log goes to standard error";
    PLUGIN_DIRS: Words = "plugin_dirs", Folders, Default::Without("none"), Reload,
        "folders with Perl plugins, see [perl.md](perl.md)";
    PERL_PLUGINS: &'static str = "perl_plugins", Word(&["auto", "always"]), Default::Is("auto"), Reload,
        "`auto`: the native plugin takes the place of an unchanged Perl file from a release of Perl qpsmtpd; `always`: every Perl file is run; see [perl.md](perl.md)";
    PERL_TIMEOUT: Duration = "perl_timeout", Seconds, Default::Is("300"), Reload,
        "how long a handler of a Perl plugin may take, unless the plugin has the argument `timeout`; then the Perl process is killed, and the client gets a temporary failure";
    LOGLEVEL: Level = "loglevel", LogLevel, Default::Is("4"), Reload,
        "the least important level that goes to standard error: 0 LOGEMERG to 7 LOGDEBUG; a greater number is 7";
    EVENTS: &'static str = "events", Word(&["json", "all", "no"]), Default::Is("json"), AtOnce,
        "which logging plugins get events, at LOGINFO: `json`: those that write JSON; `all`: all of them, as lines of text where they write text; `no`: none; see [events.md](events.md)";
    STATUS_LISTEN: Option<StatusPlace> = "status_listen", Kind::Status, Default::Without("nowhere"), Reload,
        "where the status is served as a page, as JSON and for Prometheus: `ADDRESS:PORT` with a loopback address (127.0.0.1, ::1), or `/path` or `~/path`; an address that others can reach needs the word `public` after the port; see [operating.md](operating.md)";
    ME: String = "me", HostName, Default::Host, AtOnce,
        "our name in greetings, Received lines and addresses without a domain; a name outside ASCII is \
         sent as A-labels (xn--...)";
    ME_AUTH_RESULTS: String = "me-auth-results", HostName, Default::As(ME.0), AtOnce,
        "our name in Authentication-Results; `none`: such fields are neither added nor renamed";
    SMTPGREETING: Option<String> = "smtpgreeting", Text,
        Default::Without("`ME ESMTP qpsmtpd VERSION ready; ...`"), AtOnce,
        "the greeting, without the 220";
    DATABYTES: u64 = "databytes", Number { least: 0 }, Default::Is("0"), AtOnce,
        "the largest message, in octets; 0: any size";
    SIZE_THRESHOLD: u64 = "size_threshold", Number { least: 0 }, Default::Is("65536"), AtOnce,
        "messages larger than this many octets go to the spool, smaller ones stay in memory";
    SPOOL_DIR: String = "spool_dir", Folder, Default::Is("~/tmp"), Restart,
        "the folder for large messages while they are received";
    SPOOL_PERMS: Permissions = "spool_perms", Kind::Permissions, Default::Is("0700"), Restart,
        "permissions of the spool folder, set when it is made and checked at every start; not everybody may have the right to write";
    TIMEOUT: Duration = "timeout", Seconds, Default::Is("1200"), AtOnce,
        "how long to wait for a piece of a message";
    TIMEOUT_FIRST_RECIPIENT: Duration = "timeout_first_recipient", Seconds, Default::Is("300"), AtOnce,
        "how long a client may take, in all, until its first recipient is accepted or it has authenticated";
    TIMEOUTSMTPD: Duration = "timeoutsmtpd", Seconds, Default::As(TIMEOUT.0), AtOnce,
        "how long to wait for a command (RFC 5321 wants at least 300)";
    TIMEOUT_OVERLOAD: Duration = "timeout_overload", Seconds, Default::Is("3"), AtOnce,
        "how long, in all, the server waits for a client that has a recipient, after the client was asked to leave because others wait or the server stops; each 5000 octets of its message add a second";
    TLS_PORTS: Ports = "tls_ports", Kind::Ports, Default::Is("465"), AtOnce,
        "our ports on which TLS comes before the greeting; see the plugin tls";
    LMTP_PORTS: Ports = "lmtp_ports", Kind::Ports, Default::Without("none"), AtOnce,
        "our ports on which LMTP is spoken instead of SMTP";
    PROXY_FROM: Networks = "proxy_from", Kind::Networks, Default::Without("none"), AtOnce,
        "proxies; their connections must begin with a PROXY header";
    PROXY_PORTS: Ports = "proxy_ports", Kind::Ports, Default::Without("all"), AtOnce,
        "our ports to which proxy_from applies";
    PROXY_TIMEOUT: Duration = "proxy_timeout", Seconds, Default::Is("10"), AtOnce,
        "how long a proxy may take to send its header";
    XCLIENT_FROM: Networks = "xclient_from", Kind::Networks, Default::Without("none"), AtOnce,
        "clients that may use XCLIENT to say for which client they speak";
    AUTH_MECHANISMS: Words = "auth_mechanisms", Kind::Words(&kind::MECHANISMS), Default::Without("all"), AtOnce,
        "which mechanisms AUTH offers, of those that a plugin can check";
    SCRAM_SECRET: Option<String> = "scram_secret", Secret,
        Default::Without("the machine's id and `me`"), AtOnce,
        "a secret text; SCRAM computes the salt for a user from this text and the user's name, whether the user exists or not; servers with the same users need the same text";
    TLS_BEFORE_AUTH: bool = "tls_before_auth", YesNo, Default::Is("0"), AtOnce,
        "1: AUTH is offered only under TLS; if no plugin offers TLS, AUTH is not offered, and the start and `--check` warn about it";
    NO_NEW_PRIVS: &'static str = "no_new_privs", Word(&["auto", "yes", "no"]), Default::Is("auto"), Reload,
        "`yes`: setuid and setgid programs get no rights of their owner; `no`: they do; `auto`: they do if a plugin needs it, see [security.md](security.md)";
    KEEP_ENVIRONMENT: Words = "keep_environment", Names, Default::Without("none"), Restart,
        "environment variables that sessions keep in addition to the usual ones ([security.md](security.md)), one a line, `NAME` or `NAME*`";
    DNS_SERVERS: NameServers = "dns_servers", Kind::NameServers, Default::Without("those of /etc/resolv.conf"), AtOnce,
        "the DNS resolvers to ask, `ADDRESS[:PORT]`, in this order; DNSSEC results are believed from a resolver on this machine, or from one whose line ends with the word `trusted`";
    DNS_TIMEOUT: Duration = "dns_timeout", Seconds, Default::Is("5"), AtOnce,
        "how long DNS questions that are asked together may take, in all";
    STORE: StorePlace = "store", Kind::Store, Default::Is("lmdb ~/store 1G"), Reload,
        "where plugins keep what they remember: `lmdb [FOLDER] [SIZE]`, a file of at most that size (`512M`, `4G`), or `redis URL`, a server that several hosts can share; see [store.md](store.md)";
    STORE_TIMEOUT: Duration = "store_timeout", Seconds, Default::Is("2"), Reload,
        "how long a session waits for an answer of the store; a store that does not answer is not asked again for 10 seconds";
    MAX_RECIPIENTS: u64 = "max_recipients", Number { least: 0 }, Default::Is("1000"), AtOnce,
        "recipients of one message; 0: any number";
    RECIPIENT_ROUTES: &'static str = "recipient_routes", Word(&["refuse", "accept"]), Default::Is("refuse"), AtOnce,
        "recipients with `@ % ! :` in the local part, which a later server could take for an address elsewhere: `refuse` them from clients that may not relay, or `accept` them from all";
    JUNK_COMMANDS: u64 = "junk_commands", Number { least: 0 }, Default::Is("100"), AtOnce,
        "how many commands that do not lead to a message a client may send between two accepted messages; the next one gets 421, and the connection is closed; 0: any number; HELP, NOOP, RSET, VRFY, XCLIENT and unknown commands always count, other commands (MAIL too) if they are refused or repeated, and BDAT if the chunk has fewer than 100 octets";
    MAX_LINE_LENGTH: u64 = "max_line_length", Number { least: 0 }, Default::Is("1048576"), AtOnce,
        "the longest line of a message, in octets; 0: any length";
    BARE_NEWLINE: BareNewline = "bare_newline", Word(&kind::BARE_NEWLINES), Default::Is("reject"), AtOnce,
        "a bare CR or LF in a message: `reject` it, `normalize` to CRLF, or `accept` as it is; none ends DATA";
}

/// The row of that name.
pub fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name).copied()
}

impl<T> Setting<T> {
    /// The setting that has this row.  Its values must be of type `T`.
    pub(crate) fn of(row: &'static Row) -> Setting<T> {
        Setting(row, PhantomData)
    }

    /// The value that these lines give.
    ///
    /// # Errors
    /// A sentence that says which of them is none of its kind.
    pub fn read(&self, texts: &[&str]) -> Result<T, String>
    where
        T: Value,
    {
        T::read(&self.0.kind, texts).map_err(|at| self.0.fault(texts, at))
    }

    /// Its row.
    pub fn row(&self) -> &'static Row {
        self.0
    }
}

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Setting<T> {
        *self
    }
}

impl<T> Copy for Setting<T> {}

impl<T> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Setting").field(&self.0.name).finish()
    }
}

impl Row {
    /// The value that `texts`, the lines of the file, give; it is of the type of its [`Setting`].
    ///
    /// # Errors
    /// Which of the texts is none of its kind, and a sentence that says so.
    pub(crate) fn read(&self, texts: &[&str]) -> Result<Rc<dyn Any>, (usize, String)> {
        (self.read)(self, texts).map_err(|at| (at, self.fault(texts, at)))
    }

    fn fault(&self, texts: &[&str], at: usize) -> String {
        let text = self.kind.shown(texts.get(at).unwrap_or(&""));
        let meant = meant(text, self.kind.words().iter().copied());
        format!("{} is '{text}', not {}{meant}", self.name, self.kind.one())
    }

    /// Its row of the table in `docs/config.md`.
    pub fn markdown(&self) -> String {
        let Row { name, kind, default, effect, meaning, .. } = self;
        format!("| {name} | {kind} | {default} | {effect} | {meaning} |")
    }
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Default::Is(text) if text.starts_with('~') => write!(f, "`{text}`"),
            Default::Is(text) | Default::Without(text) => f.write_str(text),
            Default::Host => f.write_str("the host's name"),
            Default::As(row) => f.write_str(row.name),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::AtOnce => "at once",
            Effect::Reload => "HUP",
            Effect::Restart => "restart",
        })
    }
}

fn read<T: Value>(row: &Row, texts: &[&str]) -> Result<Rc<dyn Any>, usize> {
    Ok(Rc::new(T::read(&row.kind, texts)?))
}

#[cfg(test)]
mod tests;
