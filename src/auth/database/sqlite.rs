//! SQLite, which is a library and a file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use rusqlite::types::ValueRef;
use rusqlite::{OpenFlags, params_from_iter};

use super::driver::{Connection, Database, Row};

/// How many steps the library makes between two looks at the clock.
const STEPS: i32 = 10_000;

struct Sqlite {
    file: String,
    /// The file that was opened; another one may have its name by now.
    id: (u64, u64),
    connection: rusqlite::Connection,
}

pub(super) fn connect(database: &Database, _until: Instant) -> io::Result<Box<dyn Connection>> {
    let failed =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", database.name));
    let id = id(&database.name).map_err(|error| failed(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(&database.name, flags)
        .map_err(|error| failed(&error))?;
    Ok(Box::new(Sqlite { file: database.name.clone(), id, connection }))
}

impl Connection for Sqlite {
    fn ask(&mut self, query: &str, values: &[String], until: Instant) -> io::Result<Vec<Row>> {
        if id(&self.file).ok() != Some(self.id) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.rows(query, values, until)
            .map_err(|error| io::Error::other(format!("{}: {error}", self.file)))
    }
}

impl Sqlite {
    fn rows(&self, query: &str, values: &[String], until: Instant) -> rusqlite::Result<Vec<Row>> {
        self.connection.busy_timeout(until.saturating_duration_since(Instant::now()))?;
        self.connection.progress_handler(STEPS, Some(move || Instant::now() > until))?;
        let mut statement = self.connection.prepare(query)?;
        let names: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query(params_from_iter(values))?;
        let mut found = vec![];
        while let Some(row) = rows.next()? {
            let mut values = vec![];
            for (at, name) in names.iter().enumerate() {
                let value = match row.get_ref(at)? {
                    ValueRef::Text(octets) | ValueRef::Blob(octets) => Some(
                        std::str::from_utf8(octets)
                            .map_err(|error| rusqlite::Error::Utf8Error(at, error))?
                            .to_owned(),
                    ),
                    // A column without a type has numbers where texts look like them.
                    ValueRef::Integer(number) => Some(number.to_string()),
                    _ => None,
                };
                values.push((name.clone(), value));
            }
            found.push(values);
            if found.len() == 2 {
                break;
            }
        }
        Ok(found)
    }
}

fn id(file: &str) -> io::Result<(u64, u64)> {
    let data = fs::metadata(file)?;
    Ok((data.dev(), data.ino()))
}
