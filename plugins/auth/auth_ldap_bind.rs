//! ```text
//! NAME
//!     auth/auth_ldap_bind - asks an LDAP server about passwords
//!
//! SYNOPSIS
//!     auth/auth_ldap_bind [ldap_base DN] [ldap_host HOST] [ldap_tls no|must|first] ...
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN and LOGIN as the users of an LDAP directory.  The
//!     plugin first looks up the user's entry, then binds with the DN of that entry and the
//!     password that the client gave.
//!
//!     A user that is not in the directory is left to the next plugin; before that the plugin does
//!     the same work as for other users, and binds with a DN that no entry has.  A wrong password
//!     is refused with 535, and no other plugin is asked.  The client gets 454 when the server
//!     cannot be reached, does not answer, or has another error, and when more than one entry is
//!     found.
//!
//!     Without ldap_tls passwords go to the server in the clear.  The server should then be on this
//!     machine, or on a network that nobody else can read.
//!
//!     User names are put into lower case.  As in the Perl plugin of the same name, only the part
//!     before the @ is looked up, so ann@example.com and ann@example.net are one user; ldap_filter
//!     can use the whole name.
//!
//!     The Perl plugin leaves wrong passwords and all failures to the next plugin, and does not
//!     compile.
//!
//! ARGUMENTS
//!     ldap_base DN                  where to search for users: this entry and all entries below it;
//!                                   none by default
//!     ldap_host HOST                the server: its name, its address, or the path of its socket;
//!                                   127.0.0.1 by default
//!     ldap_port PORT                its port; 389 by default, or 636 with `ldap_tls first`
//!     ldap_timeout SECONDS          time limit for each wait for the server; 5 by default
//!     ldap_auth_filter_attr NAME    the attribute that has the part of the user name before the @; uid
//!                                   by default
//!     ldap_filter FILTER            a filter to use instead, such as
//!                                   (&(mail=%u)(accountStatus=active)): %u is the user name, %n the
//!                                   part before the @, %d the part after it, and %% is %
//!     ldap_bind_dn DN               search as this entry; by default the search is anonymous
//!     ldap_bind_password_file FILE  the file whose first line is the password for ldap_bind_dn
//!     ldap_tls must                 encrypt with StartTLS; the certificate must be valid
//!     ldap_tls first                encrypt from the first octet (ldaps); the same holds
//!     ldap_tls no                   do not encrypt; the default
//!     ldap_ca FILE                  the authorities: certificates in PEM, instead of those that the
//!                                   system knows
//!     timeout SECONDS               time limit for each attempt; 300 by default
//!
//!     auth/auth_ldap_bind ldap_host ldap.example.com ldap_tls must ldap_base dc=example,dc=com
//!
//! CONFIG
//!     ldap   the same settings, one name and value per line.  Arguments override them.  Values
//!            with blanks can only be given here.
//!
//! SEE ALSO
//!     auth/auth_sql
//! ```

#![cfg_attr(not(feature = "ldap"), allow(dead_code))]

#[cfg(feature = "ldap")]
mod directory;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::auth::back_end::{self, Clear};
use crate::auth::settings::Settings;
use crate::config::{Config, Lines};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::{Endpoint, file_named, parse_port, verified};

const WRONG: &str = "authldap - wrong username or password";

const KNOWN: [&str; 10] = [
    "ldap_base",
    "ldap_host",
    "ldap_port",
    "ldap_timeout",
    "ldap_auth_filter_attr",
    "ldap_filter",
    "ldap_bind_dn",
    "ldap_bind_password_file",
    "ldap_tls",
    "ldap_ca",
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    if cfg!(not(feature = "ldap")) {
        return Err(Error::new("this server was built without LDAP"));
    }
    let (config, args) = (hooks.config().clone(), args.clone());
    let read = move |lines: &Lines| Directory::read(lines, &args, &config);
    read(&hooks.config().load("ldap")?)?;
    let directory = hooks.derived("ldap", read);
    back_end::register(hooks, WRONG, move |session, clear| {
        let directory = session.derived(&directory);
        match &*directory {
            Ok(directory) => check(session, clear, directory),
            Err(error) => Err(io::Error::other(error.clone())),
        }
    });
    Ok(())
}

/// Where users are, and how they are found there.
struct Directory {
    endpoint: Endpoint,
    base: String,
    filter: String,
    /// The limit of each wait.
    timeout: Duration,
    /// Who searches: a DN, and the file with the password.
    reader: Option<(String, PathBuf)>,
    tls: Option<Tls>,
}

struct Tls {
    config: Arc<ClientConfig>,
    /// From the start on?
    is_first: bool,
}

/// What the server says of a user and a password.
enum Answer {
    Right,
    /// There is no such user.
    Nobody,
    /// The password is wrong, or the server has another reason.
    Wrong(String),
}

impl Directory {
    fn read(lines: &Lines, args: &Args, config: &Config) -> Result<Directory> {
        let settings = Settings::read(&KNOWN, lines, args)?;
        let tls = tls(&settings, config)?;
        let port = match (settings.get("ldap_port"), &tls) {
            (Some(port), _) => parse_port(port).map_err(|why| why.within("ldap_port"))?,
            (None, Some(Tls { is_first: true, .. })) => 636,
            (None, _) => 389,
        };
        let host = settings.get("ldap_host").unwrap_or("127.0.0.1");
        let mut endpoint = Endpoint::parse(host, Some(port))?;
        match &mut endpoint {
            Endpoint::Tcp { port: other, .. } => *other = port,
            Endpoint::Unix(_) if tls.is_some() => {
                return Err(Error::new("there is no TLS over a socket in the file system"));
            }
            Endpoint::Unix(_) => {}
        }
        let timeout = settings.get("ldap_timeout").unwrap_or("5");
        let seconds = timeout.parse().ok().filter(|seconds| *seconds > 0);
        let wrong = || Error::new(format!("ldap_timeout is not a number of seconds: '{timeout}'"));
        let reader = match (settings.get("ldap_bind_dn"), settings.get("ldap_bind_password_file")) {
            (Some(dn), Some(file)) => Some((dn.to_owned(), file_named(file, config))),
            (None, None) => None,
            _ => return Err("ldap_bind_dn and ldap_bind_password_file belong together".into()),
        };
        Ok(Directory {
            endpoint,
            base: settings.required("ldap_base")?.to_owned(),
            filter: template(&settings)?,
            timeout: Duration::from_secs(seconds.ok_or_else(wrong)?),
            reader,
            tls,
        })
    }

    /// The filter that finds a user.
    fn filter_for(&self, user: &str) -> String {
        let (name, domain) = user.split_once('@').unwrap_or((user, ""));
        let mut filter = String::new();
        let mut rest = self.filter.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            filter += before;
            filter += &match after.bytes().next() {
                Some(b'u') => escaped(user),
                Some(b'n') => escaped(name),
                Some(b'd') => escaped(domain),
                _ => "%".to_owned(),
            };
            rest = after.get(1..).unwrap_or("");
        }
        filter + rest
    }
}

fn tls(settings: &Settings, config: &Config) -> Result<Option<Tls>> {
    let ca = settings.get("ldap_ca").map(|name| file_named(name, config));
    match settings.get("ldap_tls").unwrap_or("no") {
        "no" if ca.is_some() => Err(Error::new("ldap_ca is for ldap_tls must and first")),
        "no" => Ok(None),
        word @ ("must" | "first") => {
            Ok(Some(Tls { config: verified(ca)?, is_first: word == "first" }))
        }
        word => Err(Error::new(format!("ldap_tls is '{word}' (known: no, must, first)"))),
    }
}

/// The filter with its placeholders.
fn template(settings: &Settings) -> Result<String> {
    let attribute = settings.get("ldap_auth_filter_attr");
    let Some(filter) = settings.get("ldap_filter") else {
        let name = attribute.unwrap_or("uid");
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b';' | b'.');
        return match name.bytes().all(is_name) {
            true => Ok(format!("({name}=%n)")),
            false => Err(Error::new(format!("ldap_auth_filter_attr is no attribute: '{name}'"))),
        };
    };
    if attribute.is_some() {
        return Err(Error::new("ldap_filter and ldap_auth_filter_attr exclude each other"));
    }
    let known = |part: &str| matches!(part.bytes().next(), Some(b'u' | b'n' | b'd'));
    let parts: Vec<_> = filter.split("%%").flat_map(|text| text.split('%').skip(1)).collect();
    if parts.is_empty() || !parts.into_iter().all(known) {
        return Err(Error::new(
            "ldap_filter needs one of %u, %n and %d, and any other % has to be %%",
        ));
    }
    Ok(filter.to_owned())
}

/// What has no meaning of its own in a filter (RFC 4515 3).
fn escaped(text: &str) -> String {
    let one = |octet: u8| match octet {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' => (octet as char).to_string(),
        _ => format!("\\{octet:02x}"),
    };
    text.bytes().map(one).collect()
}

fn check(session: &mut Session, clear: &Clear<'_>, directory: &Directory) -> io::Result<Verdict> {
    // Without a name or a password a bind is nobody's, and succeeds (RFC 4513 5.1).
    let user = clear.user.to_lowercase();
    let name = user.split('@').next().unwrap_or_default();
    let password = std::str::from_utf8(clear.password).unwrap_or_default();
    if name.is_empty() || password.is_empty() {
        session.log(Level::Notice, "fail, no user name, or no password");
        return Ok(Verdict::deny(WRONG));
    }
    match directory.ask(session, &user, password)? {
        Answer::Right => {
            session.pass(format_args!("{user} auth success"));
            Ok(Verdict::ok("authldap"))
        }
        Answer::Nobody => {
            session.log(Level::Notice, "fail, user not found");
            Ok(Verdict::declined(WRONG))
        }
        Answer::Wrong(why) => {
            let why = clear.discreet(&why);
            session.log(Level::Notice, format_args!("fail, error in user bind: {why}"));
            Ok(Verdict::deny(WRONG))
        }
    }
}

#[cfg(not(feature = "ldap"))]
impl Directory {
    fn ask(&self, _: &Session, _: &str, _: &str) -> io::Result<Answer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, feature = "ldap"))]
mod tests {
    use super::*;
    use crate::auth::back_end::tests::{failed, has_the_common_behaviour, present, silent};
    use crate::hook::Hook;
    use crate::net::self_signed;
    use crate::testing::Trial;

    fn directory(args: &str) -> Result<Directory> {
        let args = Args::new(args.split_whitespace());
        Directory::read(&Lines::default(), &args, &Config::new(vec![]))
    }

    #[test]
    fn a_user_name_is_a_value_and_never_a_filter() {
        let filter = |args: &str, user: &str| {
            directory(&format!("ldap_base o=x {args}")).unwrap().filter_for(user)
        };
        for (args, user, want) in [
            ("", "ann", "(uid=ann)"),
            ("", "ann@example.com", "(uid=ann)"),
            ("ldap_auth_filter_attr mail;x", "an-n_1.x", "(mail;x=an-n_1.x)"),
            ("", "*", r"(uid=\2a)"),
            ("", "a)(uid=*", r"(uid=a\29\28uid\3d\2a)"),
            ("", "\\2a@x", r"(uid=\5c2a)"),
            ("", "\u{e9}", r"(uid=\c3\a9)"),
            ("ldap_filter (mail=%u)", "%d*@x", r"(mail=\25d\2a\40x)"),
            ("ldap_filter (&(a=%n)(b=%d)(c=5%%))", "ann@x@y", r"(&(a=ann)(b=x\40y)(c=5%))"),
            ("ldap_filter (a=%n%%d)", "ann", "(a=ann%d)"),
        ] {
            assert_eq!(filter(args, user), want, "{args} {user}");
        }
    }

    #[test]
    fn ports_follow_from_tls() {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), self_signed("ca.test").1).unwrap();
        let ca = ca.path().display();
        for (args, endpoint) in [
            (String::new(), "127.0.0.1:389"),
            ("ldap_host ldap.test".into(), "ldap.test:389"),
            ("ldap_host ldap.test ldap_port 1389".into(), "ldap.test:1389"),
            (format!("ldap_tls must ldap_ca {ca}"), "127.0.0.1:389"),
            (format!("ldap_tls first ldap_ca {ca}"), "127.0.0.1:636"),
            (format!("ldap_tls first ldap_ca {ca} ldap_port 1636"), "127.0.0.1:1636"),
            ("ldap_host /run/ldapi".into(), "/run/ldapi"),
        ] {
            let found = directory(&format!("ldap_base o=x {args}")).unwrap();
            assert_eq!(found.endpoint.to_string(), endpoint, "{args}");
            assert_eq!(found.timeout, Duration::from_secs(5));
        }
    }

    #[test]
    fn wrong_settings_stop_the_start() {
        for (args, error) in [
            ("", "setting missing: ldap_base"),
            ("ldap_base x ldap_port 0", "ldap_port: not a port: '0'"),
            ("ldap_base x ldap_host a@b", "Bad data in server: a@b"),
            ("ldap_base x ldap_timeout 0", "ldap_timeout is not a number of seconds: '0'"),
            ("ldap_base x ldap_tls yes", "ldap_tls is 'yes' (known: no, must, first)"),
            ("ldap_base x ldap_ca /f", "ldap_ca is for ldap_tls must and first"),
            ("ldap_base x ldap_tls must ldap_ca /no/such", "/no/such: "),
            (
                "ldap_base x ldap_auth_filter_attr a=b",
                "ldap_auth_filter_attr is no attribute: 'a=b'",
            ),
            ("ldap_base x ldap_filter (a=b)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u%x)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u%)", "ldap_filter needs one of"),
            ("ldap_base x ldap_filter (a=%u) ldap_auth_filter_attr b", "exclude each other"),
            ("ldap_base x ldap_bind_dn cn=a", "belong together"),
        ] {
            let found = Trial::load(&format!("auth/auth_ldap_bind {args}"), &[]).err().unwrap();
            assert!(found.to_string().contains(error), "{args}: {found}");
        }
        let found = Trial::load("auth/auth_ldap_bind", &[("ldap", "ldap_bass x")]).err().unwrap();
        assert!(
            found.to_string().contains("ldap:1: auth/auth_ldap_bind: unknown setting 'ldap_bass'"),
            "{found}"
        );
    }

    #[test]
    fn no_password_is_no_question() {
        let mut trial = Trial::new("auth/auth_ldap_bind ldap_port 1", &[("ldap", "ldap_base o=x")]);
        for (user, password) in [("ann", ""), ("", "x"), ("@example.com", "x")] {
            let verdict = present(&mut trial, Hook::AuthPlain, user, password);
            assert_eq!(verdict, Verdict::deny(WRONG));
        }
        has_the_common_behaviour(
            "auth/auth_ldap_bind ldap_port 1",
            &[("ldap", "ldap_base o=x")],
            WRONG,
        );
        // A file that has become wrong.
        trial.set_config("ldap", "ldap_bass o=x");
        let verdict = present(&mut trial, Hook::AuthPlain, "ann", "x");
        assert!(verdict.is_failure(), "{verdict:?}");
        assert!(trial.log().contains("ldap:1: unknown setting 'ldap_bass'"), "{}", trial.log());
    }

    #[test]
    fn a_silent_server_is_not_waited_for_for_ever() {
        let (_listener, port) = silent();
        let line = format!("auth/auth_ldap_bind ldap_base o=x ldap_port {port} ldap_timeout 1");
        let mut trial = Trial::new(&line, &[]);
        let verdict = present(&mut trial, Hook::AuthLogin, "ann", "x");
        failed(&trial, &verdict, &format!("127.0.0.1:{port}: the server does not answer"));
    }
}
