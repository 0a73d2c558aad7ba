//! The PROXY protocol of haproxy: who the client of a proxy is, said before anything else, TLS
//! included.  Nothing after the header is read here.

use crate::log::Level;
use crate::smtp::dialogue::Dialogue;
use crate::smtp::stream::End;
use crate::smtp::syntax::proxy::{Ends, missing, parse};
use crate::smtp::waits::{State, Wait};
use crate::sys::title;

/// Reads the header of a proxy, and makes the session one with the client for which it speaks.
///
/// # Errors
/// The reason why there is no session: the header is missing, malformed or late.
pub(crate) fn unwrap(dialogue: &mut Dialogue) -> Result<(), String> {
    let proxy = dialogue.session.connection.remote_ip;
    let port = dialogue.session.connection.remote_port;
    let ends = receive(dialogue).map_err(|why| format!("no PROXY header from {proxy}: {why}"))?;
    if let Some((client, server)) = ends {
        let connection = &mut dialogue.session.connection;
        connection.set_ends((client.ip(), client.port()), (server.ip(), server.port()));
        title::serves(connection.remote_ip);
        dialogue.log(Level::Info, format_args!("PROXY: {proxy}:{port} speaks for {client}"));
    }
    Ok(())
}

fn receive(dialogue: &mut Dialogue) -> Result<Ends, &'static str> {
    let mut wait = None;
    let received = header(dialogue, &mut wait);
    dialogue.stream.over(wait);
    received
}

fn header(dialogue: &mut Dialogue, wait: &mut Option<Wait>) -> Result<Ends, &'static str> {
    let mut header = vec![];
    loop {
        let most = missing(&header)?;
        if most == 0 {
            return parse(&header);
        }
        let is_empty = header.is_empty();
        let came = dialogue.stream.exactly(most, State::Proxy, wait, &mut header);
        came.map_err(|end| match end {
            End::Timeout => "it took too long",
            End::Stopping => "the server stops, or others wait",
            End::Closed | End::Endless if is_empty => "the connection was closed",
            End::Closed | End::Endless => "the connection was closed within it",
        })?;
    }
}
