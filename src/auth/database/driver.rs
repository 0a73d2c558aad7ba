//! What a driver stands on: the database and who asks it, and what an open connection does.

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use crate::net::Endpoint;
#[cfg(any(feature = "mysql", feature = "postgresql"))]
use crate::net::password_in;

/// A database, and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(super) driver: &'static Driver,
    /// Its name, or for SQLite its file.
    pub(super) name: String,
    /// Where its server is; None for SQLite.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) user: Option<String>,
    pub(super) password: Option<PasswordFrom>,
}

/// Where a password is taken from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PasswordFrom {
    /// The first line of a file.
    File(PathBuf),
    /// It is known.
    Text(String),
}

/// A kind of database.
pub(super) struct Driver {
    /// What it is called in a DSN, in lower case.
    pub(super) names: &'static [&'static str],
    /// Makes a connection; None where that was not built.
    pub(super) connect: Option<Connect>,
    /// The port of its servers; 0 for one without.
    pub(super) port: u16,
    /// How the parameter of this number, from 1, is written in a query.
    pub(super) parameter: fn(usize) -> String,
}

impl Database {
    #[cfg(any(feature = "mysql", feature = "postgresql"))]
    pub(super) fn password(&self) -> io::Result<Option<String>> {
        match &self.password {
            None => Ok(None),
            Some(PasswordFrom::Text(text)) => Ok(Some(text.clone())),
            Some(PasswordFrom::File(file)) => password_in(file)
                .map(Some)
                .map_err(|error| io::Error::other(format!("{}: {error}", file.display()))),
        }
    }
}

impl PartialEq for Driver {
    fn eq(&self, other: &Driver) -> bool {
        self.names == other.names
    }
}

impl Eq for Driver {}

pub(super) type Connect = fn(&Database, Instant) -> io::Result<Box<dyn Connection>>;

/// An open connection.
pub(super) trait Connection {
    /// Asks, and waits no longer than `until`; at most two rows are needed.
    ///
    /// # Errors
    /// `NotFound` where there is no such table; anything else may be different on a new connection.
    fn ask(&mut self, query: &str, values: &[String], until: Instant) -> io::Result<Vec<Row>>;
}

/// The values of one row with the names of their columns; only texts count, others are None.
pub(crate) type Row = Vec<(String, Option<String>)>;
