//! Talking to other servers and programs, every wait with a limit.
//!
//! A plugin connects to an [`Endpoint`] and has a [`Wire`], on which it writes, and reads lines or
//! all that the server says.  All waits end at one moment, `session.deadline()` in a handler, so
//! that the handler is never overdue, however slowly a server answers.
//!
//! ```
//! use qpsmtpd::{error::Result, hook::*, net::{Endpoint, Wire}, testing::Trial};
//! use std::io::{self, Write};
//!
//! /// may_connect SERVER: asks a server, in a line, whether an address may connect.
//! pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
//!     let server = Endpoint::parse(args.required(0, "the server")?, None)?;
//!     hooks.connect(move |session| -> io::Result<Verdict> {
//!         let until = session.deadline();
//!         let mut wire = Wire::connect(&server, until)?;
//!         writeln!(wire, "{}", session.connection.remote_ip)?;
//!         Ok(match wire.line(100, until)?.as_str() {
//!             "no" => Verdict::deny("You may not"),
//!             _ => DECLINED,
//!         })
//!     });
//!     Ok(())
//! }
//!
//! # use std::{net::TcpListener, io::{BufRead, BufReader}, thread};
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut trial = Trial::with(register, &listener.local_addr()?.to_string(), &[]);
//! let server = thread::spawn(move || {
//!     let mut stream = BufReader::new(listener.accept().unwrap().0);
//!     let mut line = String::new();
//!     stream.read_line(&mut line).unwrap();
//!     stream.get_mut().write_all(b"no\r\n").unwrap();
//!     line
//! });
//! assert_eq!(trial.plain(Hook::Connect).code(), Code::Deny);
//! assert_eq!(server.join().unwrap(), "192.0.2.1\n");
//! assert!(trial.plain(Hook::Connect).is_failure()); // nobody is there any more
//! # Ok::<(), io::Error>(())
//! ```

mod channel;
mod connect;
mod coprocess;
mod dane;
mod database;
mod detached;
mod endpoint;
mod http;
mod lines;
mod network;
mod program;
mod security;
mod tls;
mod trust;
mod turns;
mod wait;
mod wire;

pub use endpoint::Endpoint;
pub use lines::protocol_error;
pub use network::{network, network_of, numbered};
pub use program::{Ended, Program};
pub use tls::Tls;
#[cfg(test)]
pub(crate) use tls::tests::self_signed;
pub use trust::verified;
pub use turns::{Servers, turns};
pub use wire::Wire;

pub(crate) use channel::{Channel, wait_for};
#[cfg(any(feature = "ldap", feature = "postgresql"))]
pub(crate) use connect::{tcp, unix};
pub(crate) use coprocess::Coprocess;
pub(crate) use dane::{compare_any, described, is_usable};
pub(crate) use database::Database;
pub(crate) use detached::detached;
pub(crate) use endpoint::parse_port;
pub(crate) use http::{Form, Http, Page, Place};
#[cfg(test)]
pub(crate) use program::tests::script;
pub(crate) use security::{Login, Mode, Security, file_named, password_in};
pub(crate) use trust::unverified;
