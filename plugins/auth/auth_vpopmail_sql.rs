//! ```text
//! NAME
//!     auth/auth_vpopmail_sql - checks users and passwords in vpopmail's database
//!
//! SYNOPSIS
//!     auth/auth_vpopmail_sql [many_domains yes|no]
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN, LOGIN, CRAM-MD5 and SCRAM-SHA-256 as the users that
//!     vpopmail has in a MySQL or MariaDB database.  The user name is the whole address, and case
//!     does not matter.
//!
//!     A user name that is not in the database, or that is no whole address, is left to the next
//!     plugin.  A wrong password is refused with 535.  When the database cannot be asked the client
//!     gets 454.
//!
//!     A password is compared with pw_clear_passwd, and with pw_passwd, which is a hash: $1$, $5$,
//!     $6$, $y$ or $2y$. The old DES hash of 13 characters is not known.  CRAM-MD5 and SCRAM need
//!     pw_clear_passwd, which exists if vpopmail was built with --enable-clear-passwd.
//!
//!     A password for a user that does not exist is compared with the hash of the last user that
//!     the process has seen, or before that with one of $1$, so that the time does not tell which
//!     users exist.
//!
//!     The plugin does not know other names of a domain, which vpopmail calls aliases.
//!     auth/auth_vpopmaild knows them, and so does auth/auth_checkpassword with vchkpw.
//!
//!     The Perl plugin of the same name leaves all failures to the next plugin.
//!
//! ARGUMENTS
//!     many_domains no   each domain has its own table, such as example_com for example.com:
//!                       vpopmail's option --disable-many-domains. yes by default
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//! CONFIG
//!     vpopmail_mysql_dsn    the database, as in auth/auth_sql;
//!                           dbi:mysql:dbname=vpopmail;host=127.0.0.1 by default
//!     vpopmail_mysql_user   the database user; vpopmailuser by default
//!     vpopmail_mysql_pass   that user's password; vpoppasswd by default.  Only the server should
//!                           be able to read the file
//!
//! SEE ALSO
//!     auth/auth_vpopmaild, auth/auth_checkpassword, auth/auth_sql
//! ```

use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::auth::database::{Database, Kept, PasswordFrom, Query, Row};
use crate::auth::passwords::{Decoy, Password, Texts, tell};
use crate::error::Result;
use crate::hook::{Args, Call, DECLINED, Hook, Hooks, IntoVerdict, Session};
use crate::log::Level;

const TEXTS: Texts =
    Texts { plugin: "auth_vpopmail_sql", wrong: "auth_vpopmail_sql - wrong password" };

/// The files, and what they say by default.
const DSN: (&str, &str) = ("vpopmail_mysql_dsn", "dbi:mysql:dbname=vpopmail;host=127.0.0.1");
const USER: (&str, &str) = ("vpopmail_mysql_user", "vpopmailuser");
const PASSWORD: (&str, &str) = ("vpopmail_mysql_pass", "vpoppasswd");

/// A hash of no password that anybody knows, of the kind that vpopmail makes.
const DECOY: &str = "$1$r11OiTPm$8KpBsx32y8oE1.Mqi/0lI/";

/// The longest name of a table.
const LONGEST: usize = 64;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["many_domains"])?;
    let many_domains = args.flag("many_domains", true)?;
    database(|name| hooks.config().value(name)).map_err(|error| error.within(DSN.0))?;
    let kept = Rc::new(Kept::default());
    let decoy = Rc::new(Decoy::new(DECOY)?);
    for hook in [Hook::AuthPlain, Hook::AuthLogin, Hook::AuthCramMd5] {
        let (kept, decoy) = (kept.clone(), decoy.clone());
        hooks.on(hook, move |session, call| {
            let Call::Credentials(sent) = call else { return DECLINED };
            let found = find(session, sent.user, many_domains, &kept);
            let decide = |passwords| decoy.validate(session, &TEXTS, passwords, sent);
            found.map(decide).into_verdict()
        });
    }
    hooks.auth_scram_sha_256(move |session, scram| {
        let passwords = find(session, scram.user, many_domains, &kept)?.unwrap_or_default();
        Ok::<_, io::Error>(tell(session, &TEXTS, &passwords, scram))
    });
    Ok(())
}

fn database(mut value: impl FnMut(&str) -> Option<String>) -> Result<Database> {
    let [dsn, user, password] =
        [DSN, USER, PASSWORD].map(|(name, default)| value(name).unwrap_or(default.to_owned()));
    Database::new(&dsn, Some(&user), Some(PasswordFrom::Text(password)))
}

/// The passwords of a user; None without one.
fn find(
    session: &mut Session,
    user: &str,
    many_domains: bool,
    kept: &Kept,
) -> io::Result<Option<Vec<Password>>> {
    let user = user.to_lowercase();
    let Some((_, domain)) = user.split_once('@') else {
        session.skip(format_args!("missing domain: {user}"));
        return Ok(None);
    };
    let database = database(|name| session.config_value(name)).map_err(io::Error::other)?;
    let row = match query(domain, many_domains) {
        None => None,
        Some(query) => match kept.row(session, &database, &query, &user) {
            Err(error) if !many_domains && error.kind() == ErrorKind::NotFound => None,
            answer => answer?,
        },
    };
    let Some(row) = row else {
        session.fail(format_args!("no such user: {user}"));
        return Ok(None);
    };
    Ok(Some(passwords(&row, |what| {
        session.log(Level::Error, format_args!("{user} has {what}"));
    })))
}

/// The query for a user of this domain; None where it can have no table.
///
/// All columns, because pw_clear_passwd may not be one of them.
fn query(domain: &str, many_domains: bool) -> Option<Query> {
    let query = if many_domains {
        "SELECT * FROM vpopmail WHERE pw_name = :name AND pw_domain = :domain".to_owned()
    } else {
        // A table is no value, which could be a parameter: nothing but these gets into its name.
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > LONGEST || !domain.bytes().all(is_part) {
            return None;
        }
        format!("SELECT * FROM `{}` WHERE pw_name = :name", domain.replace(['.', '-'], "_"))
    };
    Query::parse(&query).ok()
}

/// The passwords of a row.  A hash that cannot be checked is told to `complain`, unless there is the
/// password itself.
fn passwords(row: &Row, complain: impl Fn(&str)) -> Vec<Password> {
    let value = |name: &str| {
        let found = row.iter().find(|(column, _)| column.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    };
    let clear = value("pw_clear_passwd");
    let mut passwords = vec![];
    if !clear.is_empty() {
        passwords.push(Password::Clear(clear.to_owned()));
    }
    match Password::parse_any(value("pw_passwd"), true) {
        Ok(hash) => passwords.extend(hash),
        Err(what) if clear.is_empty() => complain(what),
        Err(_) => {}
    }
    passwords
}

#[cfg(all(test, feature = "sqlite", feature = "mysql"))]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::auth::back_end::tests::present;
    use crate::hook::{Credentials, Scram, Secret, Verdict};
    use crate::testing::Trial;

    const HASH: &str = "$1$abcdefgh$RmHkirzYW/Ve3j6kdAK/H/";

    /// The columns that count of a table of vpopmail's.
    fn trial() -> Trial {
        let dsn = ("vpopmail_mysql_dsn", "dbi:SQLite:{dir}/vpopmail.db");
        let trial = Trial::new("auth/auth_vpopmail_sql", &[dsn]);
        let sql = format!(
            "CREATE TABLE vpopmail (pw_name, pw_domain, pw_passwd, pw_uid INT, pw_clear_passwd);
             INSERT INTO vpopmail VALUES
                ('ann', 'example.com', '{HASH}', 0, ''), ('bob', 'example.com', '', 0, 'bob''s'),
                ('both', 'example.com', '{HASH}', 0, '$1$x'), ('none', 'example.com', '', 0, NULL),
                ('old', 'example.com', 'abXJnggxhB/yWI', 0, '');"
        );
        Connection::open(trial.dir().join("vpopmail.db")).unwrap().execute_batch(&sql).unwrap();
        trial
    }

    #[test]
    fn both_passwords_count() {
        let mut trial = trial();
        let right = Verdict::ok("auth_vpopmail_sql");
        let wrong = Verdict::deny("auth_vpopmail_sql - wrong password");
        let nobody = Verdict::declined("auth_vpopmail_sql - wrong password");
        for (user, password, verdict) in [
            ("ann@example.com", "good pass", right.clone()),
            ("Ann@EXAMPLE.com", "good pass", right.clone()),
            ("ann@example.com", "good pas", wrong.clone()),
            ("ann@example.com", HASH, wrong.clone()),
            ("bob@example.com", "bob's", right.clone()),
            ("bob@example.com", "bob", wrong.clone()),
            ("both@example.com", "good pass", right.clone()),
            ("both@example.com", "$1$x", right),
            ("both@example.com", "x", wrong.clone()),
            ("none@example.com", "x", wrong.clone()),
            ("old@example.com", "x", wrong),
            ("ann@example.net", "good pass", nobody.clone()),
            ("ann", "good pass", nobody),
        ] {
            for hook in [Hook::AuthPlain, Hook::AuthLogin] {
                assert_eq!(present(&mut trial, hook, user, password), verdict, "{user} {password}");
            }
        }
        let log = trial.log();
        assert!(log.contains("old@example.com has a password hash of an unknown kind"), "{log}");
        assert!(log.contains("skip, missing domain: ann"), "{log}");
    }

    #[test]
    fn digests_need_the_password_itself() {
        let mut trial = trial();
        let mut cram = |user| {
            let hash = Some(Secret::new(b"0123456789abcdef0123456789abcdef"));
            let (mechanism, ticket) = ("cram-md5", "<1@example>");
            let sent = Credentials { mechanism, user, password: None, hash, ticket };
            trial.call(Hook::AuthCramMd5, &Call::Credentials(&sent))
        };
        let text = "auth_vpopmail_sql - wrong password";
        assert_eq!(cram("ann@example.com"), Verdict::declined(text));
        let wrong = Verdict::deny("auth_vpopmail_sql - wrong password");
        assert_eq!(cram("bob@example.com"), wrong);
        assert_eq!(cram("both@example.com"), wrong);
        for (user, password) in [("bob@example.com", "bob's"), ("ann@example.com", "")] {
            let scram = Scram::new(user);
            trial.call(Hook::AuthScramSha256, &Call::Scram(&scram));
            assert_eq!(scram.accepts(password), !password.is_empty(), "{user}");
        }
    }

    #[test]
    fn a_domain_is_a_table_or_none() {
        for domain in ["example.com", "a-b.example", "x_1"] {
            assert!(query(domain, false).is_some(), "{domain}");
        }
        let long = "a".repeat(65);
        for domain in ["", "a`b", "a b", "a;b", "a:name", "\u{e9}.example", "a@b", &long] {
            assert!(query(domain, false).is_none(), "{domain}");
            assert!(query(domain, true).is_some(), "{domain}");
        }
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        let found = Trial::load("auth/auth_vpopmail_sql", &[("vpopmail_mysql_dsn", "x")]);
        let error = found.err().unwrap().to_string();
        assert!(error.contains("vpopmail_mysql_dsn: dsn: not of the form dbi:"), "{error}");
        assert!(Trial::load("auth/auth_vpopmail_sql clear no", &[]).is_err());
        Trial::new("auth/auth_vpopmail_sql many_domains no", &[]);
    }
}
