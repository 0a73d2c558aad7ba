//! ```text
//! NAME
//!     auth/auth_sql - checks users and passwords in a database
//!
//! SYNOPSIS
//!     auth/auth_sql [file NAME]
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN, LOGIN, CRAM-MD5 and SCRAM-SHA-256 as the users that a
//!     query finds in a database: SQLite, PostgreSQL, MySQL or MariaDB.
//!
//!     A user without a row is left to the next plugin.  A wrong password is refused with 535, and
//!     so is a user whose password is empty or is a hash that cannot be checked.  The client gets
//!     454 when the database cannot be asked, does not answer in time, or has more than one row for
//!     the user.
//!
//!     The first column of the query's result is the password: in the clear, as a hash with {CRYPT}
//!     before it, or as keys with {SCRAM-SHA-256} before them, as in auth/auth_flat_file.
//!     {CRYPT}$2y$ (bcrypt), {BLF-CRYPT}, {CRYPT}$1$ (MD5) and {MD5-CRYPT} work here as well.
//!     CRAM-MD5 needs a password in the clear, and SCRAM needs that or keys; attempts of users that
//!     have something else are left to the next plugin.  With `scheme crypt` these mechanisms are
//!     not offered.
//!
//!     Each process has one connection.  It is made when it is first needed, kept, and made again
//!     after it was lost.  It is not encrypted, so the database should be on this machine, or on a
//!     network that nobody else can read.  SQLite's file is only read; if it is in WAL mode the
//!     server must be able to write to its folder.
//!
//! ARGUMENTS
//!     file NAME         the file with the settings; auth_sql by default.  A second instance of the
//!                       plugin, auth/auth_sql:1, may have another file
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//! CONFIG
//!     auth_sql   one name and value per line, with a blank between them.  Only the server
//!                should be able to write to the file.  For example:
//!
//!         dsn dbi:Pg:dbname=mail;host=192.0.2.7
//!         user qpsmtpd
//!         password_file /etc/qpsmtpd/sql-password
//!         query SELECT password FROM users WHERE name = :name AND domain = :domain AND active
//!
//!     dsn             the database, as Perl's DBI names it: dbi:SQLite:dbname=FILE,
//!                     dbi:Pg:dbname=NAME;host=HOST;port=PORT, and dbi:mysql: or dbi:MariaDB: with the
//!                     same words or with mysql_socket=PATH.  Without a host the socket of the
//!                     server on this machine is used
//!     user            the database user
//!     password_file   the file whose first line is that user's password
//!     query           the query.  In it :user is the user name, :name the part before the @, and
//!                     :domain the part after it, all in lower case.  The database gets them as
//!                     parameters, never as part of the query
//!     scheme crypt    the passwords are hashes without {CRYPT} before them; plain by default
//!     decoy HASH      the password of a user without a row is compared with this hash, so that the
//!                     time does not tell which users exist: give a hash of the kind that your
//!                     users have.  By default the hash of the last user that the process has seen,
//!                     or before that one of $6$ with 5000 rounds
//!
//! SEE ALSO
//!     auth/auth_flat_file, auth/auth_vpopmail_sql
//! ```

use std::io;
use std::rc::Rc;

use crate::auth::database::{Database, Kept, PasswordFrom, Query};
use crate::auth::passwords::{Decoy, Password, Texts, tell};
use crate::auth::settings::BackEndSettings;
use crate::config::{Config, Lines};
use crate::error::{Error, Result};
use crate::hook::{Args, Call, Credentials, DECLINED, Hook, Hooks, IntoVerdict, Session, Verdict};
use crate::log::Level;
use crate::net::file_named;

const KNOWN: [&str; 6] = ["dsn", "user", "password_file", "query", "scheme", "decoy"];

/// A hash of no password that anybody knows.
const DECOY: &str = "$6$YZZGc.YA/3xawjA/$0IxSmEs/X9IQku/KBTIIgAhVAGyBMZAJIBJVp6fiC8hyjII0figBACx0fjB.2leKhXXmzZlGlZXzeQB.bQ3AM1";

const TEXTS: Texts = Texts { plugin: "auth_sql", wrong: "auth_sql - wrong password" };

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["file"])?;
    let file = args.named("file").unwrap_or("auth_sql").to_owned();
    let config = hooks.config().clone();
    let read = move |lines: &Lines| Users::read(lines, &config);
    let users = read(&hooks.config().load(&file)?).map_err(|error| error.within(&file))?;
    let are_hashed = users.are_hashed;
    let clear: &[Hook] = if are_hashed { &[] } else { &[Hook::AuthCramMd5] };
    let users = hooks.derived(file, read);
    let kept = Rc::new(Kept::default());
    for hook in [Hook::AuthPlain, Hook::AuthLogin].iter().chain(clear) {
        let (users, kept) = (users.clone(), kept.clone());
        hooks.on(*hook, move |session, call| {
            let Call::Credentials(sent) = call else { return DECLINED };
            let users = session.derived(&users);
            match &*users {
                Ok(users) => check(session, sent, users, &kept).into_verdict(),
                Err(error) => Verdict::failure(error.to_string()),
            }
        });
    }
    if !are_hashed {
        hooks.auth_scram_sha_256(move |session, scram| {
            let users = session.derived(&users);
            let users = users.as_ref().as_ref().map_err(|error| io::Error::other(error.clone()))?;
            let password = find(session, scram.user, users, &kept)?;
            let password = password.as_ref().map(Option::as_slice).unwrap_or_default();
            Ok::<_, io::Error>(tell(session, &TEXTS, password, scram))
        });
    }
    Ok(())
}

/// The users that a database has.
struct Users {
    database: Database,
    query: Query,
    /// Are all passwords hashes?
    are_hashed: bool,
    decoy: Decoy,
}

impl Users {
    fn read(lines: &Lines, config: &Config) -> Result<Users> {
        let settings = BackEndSettings::read(&KNOWN, lines, &Args::default())?;
        let password = settings.get("password_file");
        let password = password.map(|name| PasswordFrom::File(file_named(name, config)));
        let are_hashed = match settings.get("scheme").unwrap_or("plain") {
            "plain" => false,
            "crypt" => true,
            word => return Err(Error::unknown("scheme", word, &["plain", "crypt"])),
        };
        Ok(Users {
            database: Database::new(settings.required("dsn")?, settings.get("user"), password)?,
            query: Query::parse(settings.required("query")?)?,
            are_hashed,
            decoy: Decoy::new(settings.get("decoy").unwrap_or(DECOY))
                .map_err(|what| Error::new(format!("decoy: {what}")))?,
        })
    }
}

fn check(
    session: &mut Session,
    sent: &Credentials<'_>,
    users: &Users,
    kept: &Kept,
) -> io::Result<Verdict> {
    let password = find(session, sent.user, users, kept)?;
    let passwords = password.map(|password| password.into_iter().collect());
    Ok(users.decoy.validate(session, &TEXTS, passwords, sent))
}

/// The password of a user: None without a row, and none that anybody can present.
fn find(
    session: &Session,
    user: &str,
    users: &Users,
    kept: &Kept,
) -> io::Result<Option<Option<Password>>> {
    let user = user.to_lowercase();
    let Some(row) = kept.row(session, &users.database, &users.query, &user)? else {
        session.fail(format_args!("no such user: {user}"));
        return Ok(None);
    };
    let text = row.into_iter().next().and_then(|(_, value)| value).unwrap_or_default();
    let password = Password::parse_any(&text, users.are_hashed).unwrap_or_else(|what| {
        session.log(Level::Error, format_args!("{user} has {what}"));
        None
    });
    Ok(Some(password))
}

#[cfg(all(test, feature = "sqlite"))]
mod tests;
