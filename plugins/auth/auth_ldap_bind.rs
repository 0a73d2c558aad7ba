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
mod settings;

use std::io;

use self::settings::Directory;
use crate::auth::back_end::{self, Clear};
use crate::config::Lines;
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;

const WRONG: &str = "authldap - wrong username or password";

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

/// What the server says of a user and a password.
enum Answer {
    Right,
    /// There is no such user.
    Nobody,
    /// The password is wrong, or the server has another reason.
    Wrong(String),
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
    use crate::testing::Trial;

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
