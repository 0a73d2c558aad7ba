//! Databases: SQLite, PostgreSQL and MariaDB.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::prelude::*;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use nix::sys::signal::Signal;
use nix::unistd::User;

use super::{PASSWORD, USER, authenticate, config, is_temporary, knows_the_password};
use crate::backends::start;
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Process, Server, TIMEOUT, deb, free_port, poll};

/// A hash of "right one" that `openssl passwd -6` has made.
const HASH: &str = "{CRYPT}$6$abcdefgh$Nl/9arLGcPieL.zsePZiPUuu4d4RpmCqdHrD8Fz4lg.vTPwofcDIxZTJEjMzeU5at//RVxv7HP9mc1jgsBxJo/";

const QUERY: &str = "query SELECT password FROM users WHERE name = :name AND domain = :domain";

/// The users, where `'` is doubled in texts and nothing else has a meaning.
fn table() -> String {
    format!(
        "CREATE TABLE users (id int, name varchar(64), domain varchar(255), password varchar(255));
         INSERT INTO users VALUES (1, 'ann', 'example.com', '{}');
         INSERT INTO users VALUES (2, 'bob', 'example.com', '{HASH}');
         INSERT INTO users VALUES (3, 'none', 'example.com', NULL);",
        PASSWORD.replace('\'', "''")
    )
}

/// A program that takes the rights of an ordinary user, if the test has those of root.
fn unprivileged_command(keep: &Config, program: PathBuf) -> Command {
    let mut command = keep.command(program);
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn run(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", command.get_program());
}

/// A new folder of that user.
fn folder(keep: &Config, name: &str) -> PathBuf {
    let folder = keep.path(name);
    fs::create_dir(&folder).unwrap();
    let User { uid, gid, .. } = unprivileged().unwrap_or_else(|| {
        User::from_uid(nix::unistd::geteuid()).unwrap().expect("everybody has a name")
    });
    chown(&folder, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(keep.work(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Authenticates with CRAM-MD5; the last reply.
fn cram(server: &Server, user: &str, password: &str) -> String {
    let mut client = server.connect();
    client.hello();
    let challenge = client.ask("AUTH CRAM-MD5", "334").lines[0][4..].to_owned();
    let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).unwrap();
    mac.update(&BASE64_STANDARD.decode(challenge).unwrap());
    let digest: String =
        mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    client.say(&BASE64_STANDARD.encode(format!("{user} {digest}")));
    let reply = client.reply().lines.join("\n");
    client.quit();
    reply
}

/// What every database has to do with the users of [`table`].
fn knows_the_users(server: &Server) {
    knows_the_password(server, "auth_sql", PASSWORD);
    for (user, password, code) in [
        ("Bob@Example.COM", "right one", "235"),
        ("bob@example.com", "right on", "535"),
        ("bob@example.net", "right one", "535"),
        ("none@example.com", "right one", "535"),
        ("nobody@example.com", "right one", "535"),
        ("ann' OR '1'='1", "right one", "535"),
        ("ann\\@example.com", PASSWORD, "535"),
        ("\u{e9}\u{20ac}@example.com", PASSWORD, "535"),
    ] {
        let reply = authenticate(server, "PLAIN", user, password);
        assert_eq!(reply.code, code, "{user}: {:?}\n{}", reply.lines, server.log().tail());
    }
    let done = "235 2.7.0 CRAM-MD5 authentication successful for ann@example.com - auth_sql";
    assert_eq!(cram(server, USER, PASSWORD), done, "{}", server.log().tail());
    assert!(cram(server, USER, "another").starts_with("535 "), "{}", server.log().tail());
    assert!(cram(server, "bob@example.com", "right one").starts_with("535 "));
}

#[test]
fn sqlite_is_asked_in_every_model() {
    for model in Model::ALL {
        let config = config("auth/auth_sql")
            .set("auth_sql", &format!("dsn dbi:SQLite:{{work}}/users.db\n{QUERY}"));
        let file = config.path("users.db");
        let database = rusqlite::Connection::open(&file).unwrap();
        database.execute_batch(&table()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let server = Server::start(&config, model);
        knows_the_users(&server);
        let sql = "UPDATE users SET password = 'right one' WHERE name = 'none'";
        database.execute_batch(sql).unwrap();
        assert_eq!(authenticate(&server, "LOGIN", "none@example.com", "right one").code, "235");
        fs::remove_file(file).unwrap();
        is_temporary(&server, USER, PASSWORD);
        server.stop().unwrap();
    }
}

/// A PostgreSQL server.
struct Postgresql {
    keep: Config,
    programs: PathBuf,
    port: u16,
}

impl Postgresql {
    fn new() -> Option<Postgresql> {
        if !deb::need("postgresql") {
            return None;
        }
        // In $PATH there may be links to them.
        let initdb = deb::program("initdb").expect("was asked for").canonicalize().unwrap();
        let programs = initdb.parent().unwrap().to_owned();
        let keep = Config::new();
        let data = folder(&keep, "data");
        keep.write("superuser", "super-secret");
        let mut initdb = unprivileged_command(&keep, programs.join("initdb"));
        initdb.args(["--no-sync", "-U", "admin", "-A", "scram-sha-256", "-E", "UTF8", "--pwfile"]);
        initdb.arg(keep.path("config/superuser")).arg("-D").arg(data).env("LC_ALL", "C.UTF-8");
        run(initdb);
        Some(Postgresql { keep, programs, port: free_port() })
    }

    fn run(&self) -> Process {
        let mut command = unprivileged_command(&self.keep, self.programs.join("postgres"));
        command.arg("-D").arg(self.keep.path("data")).arg("-k").arg(self.keep.path("data"));
        command.args(["-h", "127.0.0.1", "-F", "-p", &self.port.to_string()]);
        let process = start(command, self.port);
        // It listens before it is ready.
        let ready = || self.psql("SELECT 1").output().unwrap().status.success().then_some(());
        poll(TIMEOUT, ready).expect("it is ready");
        process
    }

    fn sql(&self, text: &str) {
        run(self.psql(text));
    }

    fn psql(&self, text: &str) -> Command {
        let mut psql = self.keep.command(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "admin", "postgres"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-qc", text]).env("PGPASSWORD", "super-secret");
        psql
    }
}

#[test]
fn postgresql_is_asked_and_asked_again() {
    let Some(server) = Postgresql::new() else { return };
    let mut postgresql = server.run();
    server.sql(&format!("{} CREATE ROLE asker LOGIN PASSWORD 'asks so'", table()));
    server.sql("GRANT SELECT ON users TO asker");
    let data = server.keep.path("data");
    // The folder with the socket is for that user alone, as whom the daemons run, too.
    let port = server.port;
    let asked_at = |host: &str| {
        let dsn = format!("dsn dbi:Pg:dbname=postgres;host={host};port={port}");
        let settings = format!("{dsn}\nuser asker\npassword_file sql-password\n{QUERY}");
        config("auth/auth_sql").set("auth_sql", &settings).set("sql-password", "asks so")
    };
    let by_socket = asked_at(data.to_str().unwrap());
    for model in [Model::Inetd, Model::Forkserver] {
        let daemon = Server::start(&by_socket, model);
        knows_the_users(&daemon);
        daemon.stop().unwrap();
    }
    let by_port = asked_at("127.0.0.1");
    let daemon = Server::start_with(&by_port, Model::Prefork, &["--children", "1"]);
    knows_the_users(&daemon);
    // Types that are no texts, and functions of the server's.
    by_port.write(
        "auth_sql",
        &format!(
            "dsn dbi:Pg:dbname=postgres;host=127.0.0.1;port={port}\nuser asker\n\
         password_file sql-password\n\
         query SELECT convert_from(password::bytea, 'UTF8') FROM users \
         WHERE id = length(:name)::bigint - 1 AND domain = lower(:domain)"
        ),
    );
    let is_right = || {
        (authenticate(&daemon, "PLAIN", "eve@example.com", "right one").code == "235").then_some(())
    };
    // A changed file is seen within a second.
    assert!(poll(TIMEOUT, is_right).is_some(), "{}", daemon.log().tail());
    // The connection that the worker keeps is lost, and so is the server, for a while.
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'asker'");
    assert_eq!(authenticate(&daemon, "PLAIN", "eve@example.com", "right one").code, "235");
    // Without waiting for its clients.
    postgresql.signal(Signal::SIGINT);
    postgresql.wait().unwrap();
    is_temporary(&daemon, "eve@example.com", "right one");
    let _postgresql = server.run();
    assert_eq!(authenticate(&daemon, "PLAIN", "eve@example.com", "right one").code, "235");
    // Errors of ours.
    by_port.write("sql-password", "asks not");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'asker'");
    is_temporary(&daemon, "eve@example.com", "right one");
    daemon.log().wait_for("28P01 password authentication failed");
    assert!(!daemon.log().text().contains("asks not"), "{}", daemon.log().tail());
    daemon.stop().unwrap();
}

/// A MariaDB server.
struct Mariadb {
    keep: Config,
    port: u16,
}

impl Mariadb {
    fn new() -> Option<Mariadb> {
        if !deb::need("mariadb-server") {
            return None;
        }
        let keep = Config::new();
        let data = folder(&keep, "data");
        let install = deb::program("mariadb-install-db").expect("was asked for");
        let mut install = unprivileged_command(&keep, install);
        install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
        install.arg("--skip-test-db").arg(format!("--datadir={}", data.display()));
        run(install);
        Some(Mariadb { keep, port: free_port() })
    }

    fn run(&self) -> Process {
        let mariadbd = deb::program("mariadbd").expect("was asked for");
        let mut command = unprivileged_command(&self.keep, mariadbd);
        let data = self.keep.path("data");
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.arg(format!("--socket={}/socket", data.display()));
        command.args(["--bind-address=127.0.0.1", &format!("--port={}", self.port)]);
        command.args(["--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0"]);
        start(command, self.port)
    }

    fn sql(&self, text: &str) {
        let mut client = self.keep.command(deb::program("mariadb").expect("was asked for"));
        client.args(["--no-defaults", "-u", "root", "--default-character-set=utf8mb4"]);
        client.arg(format!("--socket={}/socket", self.keep.path("data").display()));
        // A backslash is nothing special, as elsewhere.
        client.args(["-e", &format!("SET sql_mode = 'NO_BACKSLASH_ESCAPES'; {text}")]);
        run(client);
    }
}

#[test]
fn mariadb_is_asked_and_asked_again() {
    let Some(server) = Mariadb::new() else { return };
    let mariadb = server.run();
    server.sql(&format!("CREATE DATABASE mail CHARACTER SET utf8mb4; USE mail; {}", table()));
    server.sql("CREATE USER asker IDENTIFIED BY 'asks so'; GRANT SELECT ON mail.* TO asker");
    let data = server.keep.path("data");
    let port = server.port;
    let asked_at = |place: &str| {
        let settings = format!(
            "dsn dbi:MariaDB:dbname=mail;{place}\nuser asker\npassword_file sql-password\n{QUERY}"
        );
        config("auth/auth_sql").set("auth_sql", &settings).set("sql-password", "asks so")
    };
    let by_socket = asked_at(&format!("mariadb_socket={}/socket", data.display()));
    for model in [Model::Inetd, Model::Forkserver] {
        let daemon = Server::start(&by_socket, model);
        knows_the_users(&daemon);
        daemon.stop().unwrap();
    }
    let by_port = asked_at(&format!("host=127.0.0.1;port={port}"));
    let daemon = Server::start_with(&by_port, Model::Prefork, &["--children", "1"]);
    knows_the_users(&daemon);
    // The connection that the worker keeps is lost, and so is the server, for a while.
    server.sql("KILL USER asker");
    assert_eq!(authenticate(&daemon, "PLAIN", USER, PASSWORD).code, "235");
    drop(mariadb);
    is_temporary(&daemon, USER, PASSWORD);
    let _mariadb = server.run();
    assert_eq!(authenticate(&daemon, "PLAIN", USER, PASSWORD).code, "235");
    by_port.write("sql-password", "asks not");
    server.sql("KILL USER asker");
    is_temporary(&daemon, USER, PASSWORD);
    daemon.log().wait_for("Access denied for user");
    assert!(!daemon.log().text().contains("asks not"), "{}", daemon.log().tail());
    daemon.stop().unwrap();
}

/// Tables as vpopmail makes them: one for all domains, or one for each.
#[test]
fn the_tables_of_vpopmail_are_asked() {
    let Some(server) = Mariadb::new() else { return };
    let _mariadb = server.run();
    let columns = "pw_passwd char(40), pw_uid int, pw_gid int, pw_gecos char(48), pw_dir char(160), \
                   pw_shell char(20)";
    let hash = HASH.trim_start_matches("{CRYPT}");
    server.sql(&format!(
        "CREATE DATABASE vpopmail; USE vpopmail;
         CREATE TABLE vpopmail (pw_name char(32) NOT NULL, pw_domain char(96) NOT NULL, {columns}, \
             pw_clear_passwd char(16), PRIMARY KEY (pw_name, pw_domain));
         ALTER TABLE vpopmail MODIFY pw_passwd char(128);
         INSERT INTO vpopmail VALUES
             ('ann', 'example.com', '$1$abcdefgh$x', 0, 0, 'Ann', '/ann', 'NOQUOTA', '{PASSWORD}'),
             ('bob', 'example.com', '{hash}', 1, 0, '', '', '', '');
         CREATE TABLE an_example_com (pw_name char(32) PRIMARY KEY, {columns});
         ALTER TABLE an_example_com MODIFY pw_passwd char(128);
         INSERT INTO an_example_com VALUES ('bob', '{hash}', 1, 0, '', '', '');
         CREATE USER vpopmailuser IDENTIFIED BY 'vpoppasswd'; GRANT SELECT ON vpopmail.* TO vpopmailuser"
    ));
    let dsn = format!("dbi:mysql:dbname=vpopmail;host=127.0.0.1;port={}", server.port);
    let config_of = |args: &str| {
        config(&format!("auth/auth_vpopmail_sql {args}")).set("vpopmail_mysql_dsn", &dsn)
    };
    let one = config_of("");
    let daemon = Server::start(&one, Model::Prefork);
    knows_the_password(&daemon, "auth_vpopmail_sql", PASSWORD);
    for (user, password, code) in [
        ("bob@example.com", "right one", "235"),
        ("bob@example.com", "right on", "535"),
        ("bob@an-example.com", "right one", "535"),
        ("bob", "right one", "535"),
    ] {
        assert_eq!(authenticate(&daemon, "LOGIN", user, password).code, code, "{user}");
    }
    let done =
        "235 2.7.0 CRAM-MD5 authentication successful for ann@example.com - auth_vpopmail_sql";
    assert_eq!(cram(&daemon, USER, PASSWORD), done, "{}", daemon.log().tail());
    daemon.stop().unwrap();

    let other = config_of("").set("vpopmail_mysql_pass", "another");
    let daemon = Server::start(&other, Model::Forkserver);
    is_temporary(&daemon, USER, PASSWORD);
    daemon.stop().unwrap();

    let many = config_of("many_domains no");
    let daemon = Server::start(&many, Model::Prefork);
    for (user, password, code) in [
        ("bob@an-example.com", "right one", "235"),
        ("Bob@An.Example.com", "right one", "235"),
        ("bob@an-example.com", "right on", "535"),
        ("ann@an-example.com", "right one", "535"),
        ("bob@nowhere.example", "right one", "535"),
        ("bob@a`b", "right one", "535"),
    ] {
        let reply = authenticate(&daemon, "PLAIN", user, password);
        assert_eq!(reply.code, code, "{user}: {}", daemon.log().tail());
    }
    daemon.stop().unwrap();
}
