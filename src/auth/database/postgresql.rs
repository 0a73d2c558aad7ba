//! PostgreSQL.

use std::io;
use std::net::TcpStream as StdTcp;
use std::os::unix::net::UnixStream as StdUnix;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls};

use super::driver::{Connection, Database, Row};
use super::waiting::Waiting;
use crate::net::{Endpoint, tcp, unix};

struct Postgresql {
    client: Client,
    waiting: Waiting,
    endpoint: String,
}

pub(super) fn connect(database: &Database, until: Instant) -> io::Result<Box<dyn Connection>> {
    let waiting = Waiting::new()?;
    let mut config = Config::new();
    config.dbname(&database.name).application_name("qpsmtpd");
    if let Some(user) = &database.user {
        config.user(user);
    }
    if let Some(password) = database.password()? {
        config.password(password);
    }
    let endpoint = database.endpoint.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
    let made = match endpoint {
        Endpoint::Tcp { host, port } => tcp(host, *port, until)
            .and_then(|stream| waiting.wait(until, over_tcp(&config, stream))),
        Endpoint::Unix(path) => {
            unix(path).and_then(|socket| waiting.wait(until, over_unix(&config, socket.into())))
        }
    };
    let client = made.map_err(|error| at(endpoint, error))?;
    Ok(Box::new(Postgresql { client, waiting, endpoint: endpoint.to_string() }))
}

fn at(endpoint: impl std::fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{endpoint}: {error}"))
}

async fn over_tcp(config: &Config, stream: StdTcp) -> io::Result<Client> {
    over(config, TcpStream::from_std(stream)?).await
}

async fn over_unix(config: &Config, stream: StdUnix) -> io::Result<Client> {
    over(config, UnixStream::from_std(stream)?).await
}

async fn over<S>(config: &Config, stream: S) -> io::Result<Client>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(io_error)?;
    // It moves only while somebody waits for an answer.
    tokio::spawn(connection);
    Ok(client)
}

/// The server's own words are behind those of the crate.
fn io_error(error: Error) -> io::Error {
    io::Error::other(match error.as_db_error() {
        Some(said) => format!("{} {}", said.code().code(), said.message()),
        None => error.to_string(),
    })
}

impl Connection for Postgresql {
    fn ask(&mut self, query: &str, values: &[String], until: Instant) -> io::Result<Vec<Row>> {
        // Of an unknown type: the server finds out what it compares them with.
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
        let asked = async {
            let rows = self.client.query_typed(query, &parameters).await.map_err(io_error)?;
            rows.iter().take(2).map(row).collect()
        };
        self.waiting.wait(until, asked).map_err(|error| at(&self.endpoint, error))
    }
}

fn row(row: &tokio_postgres::Row) -> io::Result<Row> {
    let mut values = vec![];
    for (at, column) in row.columns().iter().enumerate() {
        let is_text = <&str as tokio_postgres::types::FromSql>::accepts(column.type_());
        let value: Option<&str> = if is_text { row.try_get(at).map_err(io_error)? } else { None };
        values.push((column.name().to_owned(), value.map(str::to_owned)));
    }
    Ok(values)
}
