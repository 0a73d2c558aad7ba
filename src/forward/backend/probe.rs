//! Whether a server would take mail for a recipient: the beginning of a transaction that has no message.

use std::io;
use std::time::Instant;

use crate::hook::{Outside, Session};
use crate::log::Level;
use crate::mail::Address;
use crate::net::turns;

use super::{Backend, Client, Unusable};
use crate::forward::Reply;

/// What such questions are called where they are counted.
const CALL: &str = "verify";

/// No server has said anything of the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Why the last one has not.
    pub(crate) why: &'static str,
    /// None could be talked to at all, whoever the recipient is.
    pub(crate) is_down: bool,
}

impl Backend {
    /// The reply to RCPT of the first server that has one, by `until`; mail is said to come from `sender`.
    /// A server that cannot be used, refuses `sender` or ends the connection is passed over.  None: a
    /// server cannot be asked, since an address is not ASCII.
    ///
    /// # Errors
    /// None of them has a reply.
    pub(crate) fn ask_about(
        &self,
        session: &mut Session,
        sender: &Address,
        recipient: &Address,
        until: Instant,
    ) -> Result<Option<Reply>, Silence> {
        let name = session.me();
        let mut silence = Silence { why: "no server", is_down: true };
        for (target, end) in turns(&self.targets(), until) {
            let call = Outside::begin(CALL);
            let reply = match self.reach(session, target, &name, end) {
                Ok(mut client) => {
                    silence.is_down = false;
                    client.wire.set_end(until);
                    begin(&mut client, sender, recipient).inspect(|_| client.quit())
                }
                Err(unusable) => Err(unusable),
            };
            session.end_outside(call, &reply.as_ref().map_err(|unusable| unusable.what));
            match reply {
                Ok(reply) => {
                    let shown = reply.as_ref().map_or("no SMTPUTF8".to_owned(), Reply::shown);
                    session.log(Level::Debug, format_args!("{target}: {recipient}: {shown}"));
                    return Ok(reply);
                }
                Err(Unusable { what, details, .. }) => {
                    silence.why = what;
                    session.log(Level::Error, format_args!("{target}: {what}: {details}"));
                }
            }
        }
        Err(silence)
    }
}

/// MAIL and RCPT; the reply to the latter, None where the server does not take such addresses.
fn begin(
    client: &mut Client,
    sender: &Address,
    recipient: &Address,
) -> Result<Option<Reply>, Unusable> {
    let lost = |error: io::Error| Unusable::new("the back end does not answer", error);
    let is_ascii = sender.is_ascii() && recipient.is_ascii();
    if !is_ascii && client.offer("SMTPUTF8").is_none() {
        return Ok(None);
    }
    let params = if is_ascii { "" } else { " SMTPUTF8" };
    let reply = client.ask(&format!("MAIL FROM:{sender}{params}")).map_err(lost)?;
    reply.or_unusable("the back end refused the sender")?;
    let reply = client.ask(&format!("RCPT TO:{recipient}")).map_err(lost)?;
    match reply.code {
        421 => Err(Unusable::new("the back end closed the connection", reply.shown())),
        _ => Ok(Some(reply)),
    }
}
