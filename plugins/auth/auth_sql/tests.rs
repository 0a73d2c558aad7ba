use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::auth::back_end::tests::{failed, present};
use crate::auth::passwords::computed;
use crate::hook::{Code, Scram, Secret};
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
    let hash = Some(Secret::new(digest.as_bytes()));
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
    assert!(log.contains("old@example.com has a password hash of an unknown kind"), "{log}");
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
    assert_eq!(present(&mut trial, Hook::AuthPlain, "bob", "good pass"), Verdict::ok("auth_sql"));
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
    failed(&trial, &verdict, "dsn: not of the form dbi:DRIVER:dbname=NAME");
}

#[test]
fn neither_a_lock_nor_a_query_lasts_for_ever() {
    let mut trial = trial(
        "query WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n FROM r) \
         SELECT n FROM r WHERE n = :user",
        "timeout 1",
    );
    let verdict = present(&mut trial, Hook::AuthPlain, "ann", "x");
    failed(&trial, &verdict, &format!("{}: interrupted", trial.dir().join("users.db").display()));
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
        (
            "",
            "dsn dbi:SQLite:/x\nquery :user\nscheme md5",
            "unknown scheme 'md5' (known: plain, crypt)",
        ),
        ("", "dns x", "unknown setting 'dns'"),
        ("dsn x", "", "unknown argument 'dsn' (known: file, loglevel, "),
        ("file other", "dsn x", "other: setting missing: dsn"),
    ] {
        let line = format!("auth/auth_sql {args}");
        let found = Trial::load(&line, &[("auth_sql", settings)]).err().unwrap();
        assert!(found.to_string().contains(error), "{found}");
    }
}
