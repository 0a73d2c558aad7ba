//! Databases that know users: one connection a process, made when it is needed first.

#![cfg_attr(
    not(all(feature = "mysql", feature = "postgresql", feature = "sqlite")),
    allow(dead_code, unused_imports)
)]

mod driver;
mod dsn;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgresql")]
mod postgresql;
mod query;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;
#[cfg(any(feature = "mysql", feature = "postgresql"))]
mod waiting;

pub(crate) use self::driver::{Database, PasswordFrom, Row};
pub(crate) use self::query::Query;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::time::Instant;

use self::driver::Connection;
use crate::hook::Session;

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
        // A kept connection may have been closed; what is wrong besides that, a new one says.
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
