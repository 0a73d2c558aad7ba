//! Names of databases: `dbi:DRIVER:NAME=VALUE;...`, as Perl's DBI has them.

use std::path::{Path, PathBuf};

use super::driver::{Database, Driver, PasswordFrom};
use super::table::DRIVERS;
use crate::error::{Error, Result};
use crate::net::{Endpoint, parse_port};

/// Where Debian's servers have their sockets.
const POSTGRESQL: &str = "/run/postgresql";
const MYSQL: &str = "/run/mysqld/mysqld.sock";

/// What a DSN may have, each with its other names.
const KNOWN: [(&str, &[&str]); 4] = [
    ("dbname", &["dbname", "database", "db"]),
    ("host", &["host", "hostname", "hostaddr"]),
    ("port", &["port"]),
    ("socket", &["mysql_socket", "mariadb_socket"]),
];

impl Database {
    /// Reads a DSN as Perl's DBI has it: `dbi:mysql:dbname=users;host=192.0.2.1`.
    ///
    /// # Errors
    /// It is none, or one for a database that was not built.
    pub(crate) fn new(
        dsn: &str,
        user: Option<&str>,
        password: Option<PasswordFrom>,
    ) -> Result<Database> {
        parse(dsn, user, password)
    }
}

fn parse(dsn: &str, user: Option<&str>, password: Option<PasswordFrom>) -> Result<Database> {
    let wrong = |what: String| Error::new(format!("dsn: {what}"));
    let mut parts = dsn.splitn(3, ':');
    let (Some(dbi), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong("not of the form dbi:DRIVER:dbname=NAME".into()));
    };
    let name = name.to_ascii_lowercase();
    let driver = DRIVERS.iter().find(|driver| driver.names.contains(&name.as_str()));
    let (true, Some(driver)) = (dbi.eq_ignore_ascii_case("dbi"), driver) else {
        return Err(wrong(format!("unknown database '{name}' (known: SQLite, Pg, mysql)")));
    };
    if driver.connect.is_none() {
        return Err(wrong(format!("this server was built without {}", driver.names[0])));
    }
    let mut found: [Option<&str>; KNOWN.len()] = Default::default();
    for pair in rest.split(';').filter(|pair| !pair.is_empty()) {
        // A name alone is that of the database.
        let (key, value) = pair.split_once('=').unwrap_or(("dbname", pair));
        let at = KNOWN.iter().position(|(_, names)| names.contains(&key));
        let at = at.ok_or_else(|| wrong(format!("'{key}' is not known")))?;
        found[at] = Some(value);
    }
    let [name, host, port, socket] = found;
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong("no name of a database".into()))?.to_owned();
    let endpoint = if driver.port == 0 {
        if !name.starts_with('/') || host.or(port).or(socket).is_some() {
            return Err(wrong("the name of a file has to begin with /".into()));
        }
        None
    } else {
        Some(endpoint(driver, host.unwrap_or_default(), port, socket)?)
    };
    Ok(Database { driver, name, endpoint, user: user.map(str::to_owned), password })
}

/// Where a server is.  Without a host, its socket on this machine, which for MySQL is also that of
/// localhost.
fn endpoint(
    driver: &Driver,
    host: &str,
    port: Option<&str>,
    socket: Option<&str>,
) -> Result<Endpoint> {
    let number = port.map_or(Ok(driver.port), parse_port)?;
    if let Some(socket) = socket {
        return Ok(Endpoint::Unix(socket.into()));
    }
    let is_postgresql = driver.names.contains(&"pg");
    let mut host = host;
    if host.is_empty() && is_postgresql {
        host = POSTGRESQL;
    } else if !is_postgresql && port.is_none() && matches!(host, "" | "localhost") {
        host = if Path::new(MYSQL).exists() { MYSQL } else { "127.0.0.1" };
    } else if host.is_empty() {
        host = "127.0.0.1";
    }
    Ok(match Endpoint::parse(host, Some(number))? {
        Endpoint::Unix(folder) if is_postgresql => Endpoint::Unix(socket_in(folder, number)),
        Endpoint::Tcp { host, .. } => Endpoint::Tcp { host, port: number },
        endpoint => endpoint,
    })
}

/// The socket of a PostgreSQL server is named by its port.
fn socket_in(folder: PathBuf, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

#[cfg(all(test, feature = "mysql", feature = "postgresql", feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_a_database_is() {
        let mysql = if Path::new(MYSQL).exists() { MYSQL } else { "127.0.0.1:3306" };
        for (dsn, name, endpoint) in [
            ("dbi:SQLite:dbname=/var/lib/users.db", "/var/lib/users.db", None),
            ("dbi:SQLite:/users.db", "/users.db", None),
            ("DBI:Pg:dbname=users", "users", Some("/run/postgresql/.s.PGSQL.5432")),
            ("dbi:Pg:database=u;port=5433", "u", Some("/run/postgresql/.s.PGSQL.5433")),
            ("dbi:Pg:db=u;host=/tmp;port=5433", "u", Some("/tmp/.s.PGSQL.5433")),
            ("dbi:Pg:host=db.test;dbname=u", "u", Some("db.test:5432")),
            ("dbi:mysql:dbname=vpopmail;host=127.0.0.1", "vpopmail", Some("127.0.0.1:3306")),
            ("dbi:MariaDB:database=u;hostname=::1;port=1", "u", Some("[::1]:1")),
            ("dbi:mysql:u", "u", Some(mysql)),
            ("dbi:mysql:u;host=localhost", "u", Some(mysql)),
            ("dbi:mysql:u;host=localhost;port=3307", "u", Some("localhost:3307")),
            ("dbi:mysql:u;mysql_socket=/s", "u", Some("/s")),
        ] {
            let found = parse(dsn, None, None).unwrap();
            let found_endpoint = found.endpoint.map(|endpoint| endpoint.to_string());
            assert_eq!((&*found.name, found_endpoint.as_deref()), (name, endpoint), "{dsn}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (dsn, error) in [
            ("", "dsn: not of the form dbi:DRIVER:dbname=NAME"),
            ("mysql://a/b", "dsn: not of the form dbi:DRIVER:dbname=NAME"),
            ("odbc:mysql:b", "dsn: unknown database 'mysql' (known: SQLite, Pg, mysql)"),
            ("dbi:Oracle:b", "dsn: unknown database 'oracle' (known: SQLite, Pg, mysql)"),
            ("dbi:mysql:", "dsn: no name of a database"),
            ("dbi:mysql:dbname=;host=a", "dsn: no name of a database"),
            ("dbi:mysql:dbname=a;sslmode=x", "dsn: 'sslmode' is not known"),
            ("dbi:mysql:dbname=a;port=x", "not a port: 'x'"),
            ("dbi:Pg:dbname=a;host=a@b", "Bad data in server: a@b"),
            ("dbi:SQLite:users.db", "dsn: the name of a file has to begin with /"),
            ("dbi:SQLite:/users.db;host=a", "dsn: the name of a file has to begin with /"),
        ] {
            assert_eq!(parse(dsn, None, None).err().unwrap().to_string(), error, "{dsn}");
        }
    }
}

#[cfg(all(test, not(any(feature = "mysql", feature = "postgresql", feature = "sqlite"))))]
mod tests {
    use crate::testing::Trial;

    #[test]
    fn lines_whose_databases_were_not_built_are_refused() {
        for (line, file, text, error) in [
            ("auth/auth_sql", "auth_sql", "dsn dbi:SQLite:/x\nquery :user", "without sqlite"),
            ("auth/auth_sql", "auth_sql", "dsn dbi:Pg:x\nquery :user", "without pg"),
            ("auth/auth_vpopmail_sql", "vpopmail_mysql_dsn", "dbi:mysql:x", "without mysql"),
            #[cfg(not(feature = "ldap"))]
            ("auth/auth_ldap_bind", "ldap", "", "without LDAP"),
        ] {
            let found = Trial::load(line, &[(file, text)]).err().unwrap();
            let error = format!("this server was built {error}");
            assert!(found.to_string().contains(&error), "{found}");
        }
    }
}
