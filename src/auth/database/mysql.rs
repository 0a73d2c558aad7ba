//! MySQL and MariaDB.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Params, Value};

use super::driver::{Connection, Database, Row};
use super::waiting::Waiting;
use crate::net::Endpoint;

/// The server's error for a table that is not there, ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;

struct Mysql {
    connection: Conn,
    waiting: Waiting,
    endpoint: String,
}

pub(super) fn connect(database: &Database, until: Instant) -> io::Result<Box<dyn Connection>> {
    let waiting = Waiting::new()?;
    let mut options = OptsBuilder::default()
        .db_name(Some(&database.name))
        .user(database.user.as_ref())
        .pass(database.password()?)
        // No second connection over the socket.
        .prefer_socket(false);
    let endpoint = database.endpoint.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("{endpoint}: {error}"));
    options = match endpoint {
        Endpoint::Unix(path) => options.socket(Some(path.to_string_lossy())),
        Endpoint::Tcp { host, port } => {
            let found = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
            let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            options.ip_or_hostname(host).tcp_port(*port).resolved_ips(Some(addresses))
        }
    };
    let connection = waiting
        .wait(until, async { Conn::new(options).await.map_err(io_error) })
        .map_err(failed)?;
    Ok(Box::new(Mysql { connection, waiting, endpoint: endpoint.to_string() }))
}

impl Connection for Mysql {
    fn ask(&mut self, query: &str, values: &[String], until: Instant) -> io::Result<Vec<Row>> {
        let values = values.iter().map(|value| Value::from(value.as_str())).collect();
        let asked = async {
            self.connection.exec(query, Params::Positional(values)).await.map_err(io_error)
        };
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.endpoint));
        let rows: Vec<mysql_async::Row> = self.waiting.wait(until, asked).map_err(failed)?;
        rows.into_iter().take(2).map(row).collect()
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::Server(said) if said.code == NO_SUCH_TABLE => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

fn row(row: mysql_async::Row) -> io::Result<Row> {
    let columns = row.columns();
    let named = columns.iter().zip(row.unwrap()).map(|(column, value)| {
        let value = match value {
            Value::Bytes(octets) => Some(String::from_utf8(octets).map_err(io::Error::other)?),
            _ => None,
        };
        Ok((column.name_str().into_owned(), value))
    });
    named.collect()
}
