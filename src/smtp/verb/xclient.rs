//! XCLIENT, Postfix's extension: a trusted client says in whose name it speaks from now on.

use std::net::Ipv4Addr;

use crate::log::Level;
use crate::smtp::dialogue::{Answer, Dialogue};
use crate::smtp::service::may_use_xclient;
use crate::smtp::syntax::reply::Reply;
use crate::smtp::syntax::xclient::{Attributes, parse};
use crate::smtp::verb::greeting::greeting;
use crate::smtp::verb::starttls::TLS_ENABLED;
use crate::sys::title;

/// The mechanism that plugins and Received lines see for the user that LOGIN names.
const MECHANISM: &str = "xclient";

/// A client in whose name another one speaks may not go on to speak for others, unless it could by
/// itself.
pub(crate) fn xclient(dialogue: &mut Dialogue, argument: &str) -> Answer {
    if !may_use_xclient(&mut dialogue.session) {
        return Ok(Reply::new(550, "5.7.0", "You may not speak for others"));
    }
    if dialogue.session.transaction.sender().is_some() {
        let text = "XCLIENT is not allowed within a transaction";
        return Ok(Reply::new(503, "5.5.1", text));
    }
    let mut said = dialogue.xclient.clone();
    match parse(argument, &mut said) {
        Ok(()) => change(dialogue, said),
        Err(why) => Ok(Reply::new(501, "5.5.4", why)),
    }
}

/// Begins anew with the client that `said` describes.
fn change(dialogue: &mut Dialogue, said: Attributes) -> Answer {
    dialogue.reset_transaction();
    dialogue.session.forget_results();
    dialogue.auth_failures = 0;
    let connection = &mut dialogue.session.connection;
    let peer = connection.remote_ip;
    connection.set_ends(
        (
            known(said.ip, connection.remote_ip, Ipv4Addr::UNSPECIFIED.into()),
            known(said.port, connection.remote_port, 0),
        ),
        (
            known(said.local_ip, connection.local_ip, Ipv4Addr::UNSPECIFIED.into()),
            known(said.local_port, connection.local_port, 0),
        ),
    );
    if let Some(host) = &said.host {
        connection.set_remote_host(host.clone());
    }
    connection.hello = None;
    connection.hello_host = said.hello.clone().flatten().unwrap_or_default();
    connection.notes.clear();
    if connection.encryption.is_some() {
        connection.notes.set(TLS_ENABLED, true);
    }
    connection.auth_user = said.login.clone().flatten();
    connection.auth_mechanism = connection.auth_user.as_ref().map(|_| MECHANISM.to_owned());
    connection.relay_client = connection.auth_user.is_some();
    title::serves(connection.remote_ip);
    let text = format!("XCLIENT: {peer} speaks for {}", connection.remote_ip);
    dialogue.xclient = said;
    dialogue.log(Level::Info, text);
    let greeting = greeting(dialogue);
    // As with AUTH, no list of clients that must not relay is stronger.
    dialogue.session.connection.relay_client |= dialogue.session.connection.auth_user.is_some();
    greeting
}

fn known<T>(said: Option<Option<T>>, now: T, unknown: T) -> T {
    said.map_or(now, |value| value.unwrap_or(unknown))
}
