//! Databases that know users: one connection a process, made when it is needed first.

#![cfg_attr(
    not(all(feature = "mysql", feature = "postgresql", feature = "sqlite")),
    allow(dead_code, unused_imports)
)]

mod dsn;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgresql")]
mod postgresql;
mod query;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mysql", feature = "postgresql"))]
mod waiting;

pub(crate) use self::query::Query;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Instant;

use crate::error::Result;
use crate::hook::Session;
use crate::net::{Endpoint, password_in};

/// A database, and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Database {
    driver: &'static Driver,
    /// Its name, or for SQLite its file.
    name: String,
    /// Where its server is; None for SQLite.
    endpoint: Option<Endpoint>,
    user: Option<String>,
    password: Option<Secret>,
}

/// Where a password is taken from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The first line of a file.
    File(PathBuf),
    /// It is known.
    Text(String),
}

/// A kind of database.
struct Driver {
    /// What it is called in a DSN, in lower case.
    names: &'static [&'static str],
    /// Makes a connection; None where that was not built.
    connect: Option<Connect>,
    /// The port of its servers; 0 for one without.
    port: u16,
    /// How the parameter of this number, from 1, is written in a query.
    parameter: fn(usize) -> String,
}

impl PartialEq for Driver {
    fn eq(&self, other: &Driver) -> bool {
        self.names == other.names
    }
}

impl Eq for Driver {}

type Connect = fn(&Database, Instant) -> io::Result<Box<dyn Connection>>;

/// An open connection.
trait Connection {
    /// Asks, and waits no longer than `until`; at most two rows are needed.
    ///
    /// # Errors
    /// `NotFound` where there is no such table; anything else may be different on a new connection.
    fn ask(&mut self, query: &str, values: &[String], until: Instant) -> io::Result<Vec<Row>>;
}

/// The values of one row with the names of their columns; only texts count, others are None.
pub(crate) type Row = Vec<(String, Option<String>)>;

macro_rules! built {
    ($feature:literal, $connect:path) => {{
        #[cfg(feature = $feature)]
        let connect: Option<Connect> = Some($connect);
        #[cfg(not(feature = $feature))]
        let connect: Option<Connect> = None;
        connect
    }};
}

/// THE table of databases.
static DRIVERS: [Driver; 3] = [
    Driver {
        names: &["sqlite"],
        connect: built!("sqlite", sqlite::connect),
        port: 0,
        parameter: |_| "?".to_owned(),
    },
    Driver {
        names: &["pg", "postgresql"],
        connect: built!("postgresql", postgresql::connect),
        port: 5432,
        parameter: |number| format!("${number}"),
    },
    Driver {
        names: &["mysql", "mariadb"],
        connect: built!("mysql", mysql::connect),
        port: 3306,
        parameter: |_| "?".to_owned(),
    },
];

impl Database {
    /// Reads a DSN as Perl's DBI has it: `dbi:mysql:dbname=users;host=192.0.2.1`.
    ///
    /// # Errors
    /// It is none, or one for a database that was not built.
    pub(crate) fn new(dsn: &str, user: Option<&str>, password: Option<Secret>) -> Result<Database> {
        dsn::parse(dsn, user, password)
    }

    #[cfg(any(feature = "mysql", feature = "postgresql"))]
    fn password(&self) -> io::Result<Option<String>> {
        match &self.password {
            None => Ok(None),
            Some(Secret::Text(text)) => Ok(Some(text.clone())),
            Some(Secret::File(file)) => password_in(file)
                .map(Some)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display()))),
        }
    }
}

/// The connection of this process, which has none at first: a parent never asks.
#[derive(Default)]
pub(crate) struct Kept(RefCell<Option<(Database, Box<dyn Connection>)>>);

impl Kept {
    /// The row that a user has in a database; None without one.
    ///
    /// # Errors
    /// The database cannot be asked, does not know the answer in time, or has several rows; a kind
    /// `NotFound` where it has no such table.
    pub(crate) fn row(
        &self,
        session: &Session,
        database: &Database,
        query: &Query,
        user: &str,
    ) -> io::Result<Option<Row>> {
        let until = session.deadline();
        let (text, values) = (query.text(database.driver), query.values(user));
        let mut rows = self.rows(database, &text, &values, until)?.into_iter();
        match (rows.next(), rows.next()) {
            (_, Some(_)) => Err(io::Error::other("the user has more than one row")),
            (row, None) => Ok(row),
        }
    }

    fn rows(
        &self,
        database: &Database,
        query: &str,
        values: &[String],
        until: Instant,
    ) -> io::Result<Vec<Row>> {
        // One that was kept may have been closed: whatever is wrong with it, a new one says.
        if let Some((of, mut connection)) = self.0.take()
            && of == *database
        {
            let answer = connection.ask(query, values, until);
            let is_known = |error: &io::Error| error.kind() == ErrorKind::NotFound;
            if answer.is_ok() || answer.as_ref().is_err_and(is_known) {
                self.0.replace(Some((of, connection)));
                return answer;
            }
        }
        let connect = database.driver.connect.ok_or(ErrorKind::Unsupported)?;
        let mut connection = connect(database, until)?;
        let rows = connection.ask(query, values, until)?;
        self.0.replace(Some((database.clone(), connection)));
        Ok(rows)
    }
}
