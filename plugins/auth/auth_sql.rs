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

use crate::auth::database::{Database, Kept, Query, Secret};
use crate::auth::passwords::{Decoy, Password, Texts, tell};
use crate::auth::settings::Settings;
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
        let settings = Settings::read(&KNOWN, lines, &Args::default())?;
        let password = settings.get("password_file");
        let password = password.map(|name| Secret::File(file_named(name, config)));
        let are_hashed = match settings.get("scheme").unwrap_or("plain") {
            "plain" => false,
            "crypt" => true,
            word => return Err(Error::new(format!("scheme is '{word}' (known: plain, crypt)"))),
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
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::*;
    use crate::auth::back_end::tests::{failed, present};
    use crate::auth::passwords::computed;
    use crate::hook::{Code, Scram, Secret as Sent};
    use crate::testing::Trial;

    const QUERY: &str = "query SELECT password, 1 FROM users WHERE name = :user OR alias = :name\n";

    const TABLE: &str = "CREATE TABLE users (name TEXT, alias TEXT, password);
        INSERT INTO users VALUES
            ('ann@example.com', '', 'right one'),
            ('bob@example.com', 'bob', '{CRYPT}$1$abcdefgh$RmHkirzYW/Ve3j6kdAK/H/'),
            ('tim@example.com', '', 'tanstaaftanstaaf'),
            ('number@example.com', '', 12345),
            ('none@example.com', '', NULL),
            ('empty@example.com', '', ''),
            ('old@example.com', '', '{CRYPT}abXJnggxhB/yWI'),
            ('latin@example.com', '', CAST(x'e9' AS TEXT)),
            ('twice@example.com', '', 'right one'), ('twice@example.com', '', 'right one');";

    fn make(file: &Path, sql: &str) {
        Connection::open(file).unwrap().execute_batch(sql).unwrap();
    }

    fn trial(settings: &str, args: &str) -> Trial {
        let text = format!("dsn dbi:SQLite:dbname={{dir}}/users.db\n{settings}");
        let trial = Trial::new(&format!("auth/auth_sql {args}"), &[("auth_sql", &text)]);
        make(&trial.dir().join("users.db"), TABLE);
        trial
    }

    fn cram(trial: &mut Trial, user: &str, digest: &str, ticket: &str) -> Verdict {
        let hash = Some(Sent::new(digest.as_bytes()));
        let sent = Credentials { mechanism: "cram-md5", user, password: None, hash, ticket };
        trial.call(Hook::AuthCramMd5, &Call::Credentials(&sent))
    }

    #[test]
    fn the_password_of_the_row_decides() {
        let mut trial = trial(QUERY, "");
        let wrong = Verdict::deny("auth_sql - wrong password");
        let nobody = Verdict::declined("auth_sql - wrong password");
        for (user, password, verdict) in [
            ("ann@example.com", "right one", Verdict::ok("auth_sql")),
            ("Ann@Example.COM", "right one", Verdict::ok("auth_sql")),
            ("ann@example.com", "right on", wrong.clone()),
            ("ann@example.com", "Right one", wrong.clone()),
            ("bob", "good pass", Verdict::ok("auth_sql")),
            ("bob@elsewhere.test", "good pass", Verdict::ok("auth_sql")),
            ("bob", "{CRYPT}$1$abcdefgh$RmHkirzYW/Ve3j6kdAK/H/", wrong.clone()),
            ("number@example.com", "12345", Verdict::ok("auth_sql")),
            ("number@example.com", "1234", wrong.clone()),
            ("none@example.com", "x", wrong.clone()),
            ("empty@example.com", "x", wrong.clone()),
            ("old@example.com", "good pass", wrong.clone()),
            ("nobody@example.com", "right one", nobody.clone()),
            ("' OR 1 --", "right one", nobody.clone()),
            ("%", "right one", nobody.clone()),
            (":name", "right one", nobody.clone()),
        ] {
            for hook in [Hook::AuthPlain, Hook::AuthLogin] {
                assert_eq!(present(&mut trial, hook, user, password), verdict, "{user} {password}");
            }
        }
        let log = trial.log();
        assert!(log.contains("old@example.com has a password hash of another kind"), "{log}");
        assert!(!log.contains("right on") && !log.contains("abXJ"), "{log}");
        let verdict = present(&mut trial, Hook::AuthPlain, "twice@example.com", "right one");
        failed(&trial, &verdict, "the user has more than one row");
        let verdict = present(&mut trial, Hook::AuthPlain, "latin@example.com", "x");
        assert!(verdict.is_failure(), "{verdict:?}");
    }

    /// The work for one that is not there is that for the last one who was, or else that of a
    /// setting.
    #[test]
    fn users_who_are_not_there_cost_as_much_as_others() {
        let decoy = "decoy $5$rounds=1000$saltstring$6wvdZylXmQ/oiIOjW2XM2D8psANzHg3yCV0NCJ4r73D";
        for (more, first) in [("", "$6"), (decoy, "$5$rounds=1000")] {
            let mut trial = trial(&format!("{QUERY}{more}"), "");
            computed();
            let mut cost = |user: &str| {
                let verdict = present(&mut trial, Hook::AuthPlain, user, "wrong");
                assert_eq!(verdict.text(), "auth_sql - wrong password", "{user}");
                computed()
            };
            for user in ["nobody@example.com", "ann@example.com", "none@example.com"] {
                assert_eq!(cost(user), [first], "{user}");
            }
            assert_eq!(cost("bob@example.com"), ["$1"]);
            for user in ["nobody@example.com", "ann@example.com", "old@example.com"] {
                assert_eq!(cost(user), ["$1"], "{user}");
            }
        }
        for wrong in ["good pass", "$7$abc$def", "{CRYPT}$6$abc$def"] {
            let settings = format!("dsn dbi:SQLite:/x\n{QUERY}decoy {wrong}");
            let error = Trial::load("auth/auth_sql", &[("auth_sql", &settings)]).err().unwrap();
            assert!(error.to_string().contains("decoy: a password"), "{error}");
        }
    }

    #[test]
    fn digests_need_the_password_itself() {
        let mut trial = trial(QUERY, "");
        // The example of RFC 2195 2.
        let ticket = "<1896.697170952@postoffice.reston.mci.net>";
        let digest = "b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(cram(&mut trial, "tim@example.com", digest, ticket), Verdict::ok("auth_sql"));
        let wrong = Verdict::deny("auth_sql - wrong password");
        assert_eq!(cram(&mut trial, "ann@example.com", digest, ticket), wrong);
        assert_eq!(cram(&mut trial, "tim@example.com", digest, "<1@example>"), wrong);
        let declined = Verdict::declined("auth_sql - wrong password");
        assert_eq!(cram(&mut trial, "bob", "0", ticket), declined);
        assert_eq!(cram(&mut trial, "nobody", "0", ticket), declined);
    }

    #[test]
    fn scram_is_told_passwords_and_keys() {
        let mut trial = trial(QUERY, "");
        let keys = crate::hook::PENCIL;
        let sql = format!("INSERT INTO users VALUES ('k', '', '{{SCRAM-SHA-256}}{}')", keys[0]);
        make(&trial.dir().join("users.db"), &sql);
        for (user, password, is_known) in [
            ("Ann@Example.com", "right one", true),
            ("k", "pencil", true),
            ("bob", "good pass", false),
            ("none@example.com", "", false),
            ("nobody", "", false),
        ] {
            let scram = Scram::new(user);
            let verdict = trial.call(Hook::AuthScramSha256, &Call::Scram(&scram));
            assert_eq!(scram.accepts(password), is_known, "{user}");
            let code = if is_known { Code::Ok } else { Code::Declined };
            assert_eq!(verdict.code(), code, "{user}");
        }
        assert_eq!(present(&mut trial, Hook::AuthPlain, "k", "pencil"), Verdict::ok("auth_sql"));
        let wrong = Verdict::deny("auth_sql - wrong password");
        assert_eq!(present(&mut trial, Hook::AuthPlain, "k", "pen"), wrong);
        let twice = Scram::new("twice@example.com");
        assert!(trial.call(Hook::AuthScramSha256, &Call::Scram(&twice)).is_failure());
    }

    #[test]
    fn hashes_may_have_nothing_in_front() {
        let mut trial = trial(&format!("{QUERY}scheme crypt"), "");
        let sql = "UPDATE users SET password = substr(password, 8) WHERE alias = 'bob'";
        make(&trial.dir().join("users.db"), sql);
        assert_eq!(
            present(&mut trial, Hook::AuthPlain, "bob", "good pass"),
            Verdict::ok("auth_sql")
        );
        // One in clear is none.
        let verdict = present(&mut trial, Hook::AuthPlain, "ann@example.com", "right one");
        assert_eq!(verdict, Verdict::deny("auth_sql - wrong password"));
        // CRAM-MD5 is not offered.
        assert_eq!(cram(&mut trial, "bob", "0", "<1@example>"), DECLINED);
    }

    #[test]
    fn another_file_and_another_database_are_seen() {
        let mut trial = trial(QUERY, "");
        let db = trial.dir().join("users.db");
        let user = "ann@example.com";
        let right = Verdict::ok("auth_sql");
        assert_eq!(present(&mut trial, Hook::AuthPlain, user, "right one"), right);
        let new = trial.dir().join("new.db");
        make(&new, &TABLE.replace("right one", "new one"));
        std::fs::rename(&new, &db).unwrap();
        assert_eq!(present(&mut trial, Hook::AuthPlain, user, "new one"), right);
        std::fs::remove_file(&db).unwrap();
        let verdict = present(&mut trial, Hook::AuthPlain, user, "new one");
        failed(&trial, &verdict, &format!("{}: No such file", db.display()));
        assert!(!db.exists());
        // Another database in the settings, and then settings that are none.
        make(&new, TABLE);
        let settings = format!("dsn dbi:SQLite:{}\n{QUERY}", new.display());
        trial.set_config("auth_sql", &settings);
        assert_eq!(present(&mut trial, Hook::AuthPlain, user, "right one"), right);
        trial.set_config("auth_sql", &settings.replace("users", "persons"));
        let verdict = present(&mut trial, Hook::AuthPlain, user, "right one");
        failed(&trial, &verdict, &format!("{}: no such table: persons", new.display()));
        trial.set_config("auth_sql", "dsn x");
        let verdict = present(&mut trial, Hook::AuthPlain, user, "right one");
        failed(&trial, &verdict, "dsn: not as dbi:DRIVER:dbname=NAME");
    }

    #[test]
    fn neither_a_lock_nor_a_query_lasts_for_ever() {
        let mut trial = trial(
            "query WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) \
             SELECT n FROM r WHERE n = :user",
            "timeout 1",
        );
        let verdict = present(&mut trial, Hook::AuthPlain, "ann", "x");
        failed(
            &trial,
            &verdict,
            &format!("{}: interrupted", trial.dir().join("users.db").display()),
        );
        let settings = format!("dsn dbi:SQLite:{}/users.db\n{QUERY}", trial.dir().display());
        trial.set_config("auth_sql", &settings);
        let other = Connection::open(trial.dir().join("users.db")).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let verdict = present(&mut trial, Hook::AuthPlain, "ann@example.com", "right one");
        failed(
            &trial,
            &verdict,
            &format!("{}: database is locked", trial.dir().join("users.db").display()),
        );
        other.execute_batch("COMMIT").unwrap();
        let verdict = present(&mut trial, Hook::AuthPlain, "ann@example.com", "right one");
        assert_eq!(verdict, Verdict::ok("auth_sql"));
    }

    #[cfg(all(feature = "mysql", feature = "postgresql"))]
    #[test]
    fn silent_servers_are_not_waited_for_for_ever() {
        use crate::auth::back_end::tests::silent;
        for driver in ["Pg", "mysql"] {
            let (_listener, port) = silent();
            let settings =
                format!("dsn dbi:{driver}:dbname=x;host=127.0.0.1;port={port}\nuser x\n{QUERY}");
            let mut trial = Trial::new("auth/auth_sql timeout 1", &[("auth_sql", &settings)]);
            let verdict = present(&mut trial, Hook::AuthPlain, "ann", "hunter2");
            failed(&trial, &verdict, &format!("127.0.0.1:{port}: the database does not answer"));
            assert!(!trial.log().contains("hunter2"), "{}", trial.log());
        }
    }

    #[test]
    fn wrong_settings_stop_the_start() {
        for (args, settings, error) in [
            ("", "", "auth_sql: setting missing: dsn"),
            ("", "dsn dbi:SQLite:/x", "auth_sql: setting missing: query"),
            ("", "dsn dbi:SQLite:x\nquery :user", "dsn: the name of a file has to begin with /"),
            ("", "dsn dbi:SQLite:/x\nquery SELECT 1", "the query has none of :user"),
            ("", "dsn dbi:SQLite:/x\nquery :user\nscheme md5", "scheme is 'md5'"),
            ("", "dns x", "unknown setting 'dns'"),
            ("dsn x", "", "unknown argument 'dsn' (known: file, loglevel, "),
            ("file other", "dsn x", "other: setting missing: dsn"),
        ] {
            let line = format!("auth/auth_sql {args}");
            let found = Trial::load(&line, &[("auth_sql", settings)]).err().unwrap();
            assert!(found.to_string().contains(error), "{found}");
        }
    }
}
