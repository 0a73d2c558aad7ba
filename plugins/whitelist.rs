//! ```text
//! NAME
//!     whitelist - exempts hosts, senders and recipients from the tests of other plugins
//!
//! SYNOPSIS
//!     whitelist
//!     whitelist per_recipient 1 [merge 0|1]
//!
//! DESCRIPTION
//!     Accepts what is on a white list, so that at that hook the plugins after this one are not
//!     asked:
//!
//!     connect      a client in config/whitelisthosts, or any client if the environment variable
//!                  WHITELISTCLIENT is set, which tcpserver can do for some clients
//!     helo, ehlo   a name in config/whitelisthelo
//!     mail         a sender in config/whitelistsenders
//!     rcpt         a recipient in config/whitelistrcpt
//!
//!     Place it before the plugins from which it has to exempt.  Other plugins can also see the
//!     notes that it sets: most plugins that refuse leave a client in whitelisthosts and a sender
//!     in whitelistsenders alone at all hooks.
//!
//!     rcpt_ok is one of these: clients in whitelisthosts may send to every recipient, not only to
//!     ours.  Senders and names in HELO are different, because anybody can give them: they are
//!     exempt from tests, but their mail is accepted only for our domains.  With the Perl plugins
//!     of the same names a sender in whitelistsenders may send to every recipient.
//!
//!     With per_recipient 1 everything is decided for each recipient, by the recipient's own lists
//!     (see the plugin user_config), and with merge 1 by the server's lists as well.  A recipient's
//!     own list accepts mail to that recipient and sets no notes; with the Perl plugin of the same
//!     name it exempts the rest of the session, other recipients included.  A recipient that is in
//!     none of our domains, as rcpt_ok knows them, is accepted only if the client is in the
//!     server's whitelisthosts, or the recipient in the server's whitelistrcpt.
//!
//!     An address in whitelisthosts stands only for itself, and 10.1 is read as 10.1.; with the
//!     Perl plugin of the same name 192.0.2.1 also matches 192.0.2.17, and 10.1 matches 10.100.0.1.
//!
//! ARGUMENTS
//!     per_recipient 1   decide for each recipient; 0 by default
//!     merge 1           with per_recipient 1: the server's lists always count; the default
//!     merge 0           with per_recipient 1: the server's list counts only for recipients that
//!                       have none of their own
//!
//! CONFIG
//!     whitelisthosts    one address, network, or beginning of an address per line, IPv4 or IPv6
//!
//!                           192.0.2.1
//!                           198.51.100.0/24
//!                           2001:db8:7::/48
//!                           10.1.
//!
//!     whitelisthelo     one name per line
//!     whitelistsenders  one address or host per line: user@example.net or example.net
//!     whitelistrcpt     one address or host per line
//!
//!     Case does not matter, and only the first word of a line counts.  A line that is none of
//!     these is skipped, and reported in the log.
//!
//! NOTES
//!     whitelistclient, whitelisthost, whitelisthelo   on the connection: 1
//!     whitelistsender                                 on the transaction: 1
//!     whitelistrcpt                                   on the transaction: how many recipients are
//!                                                     on the list
//!
//! SEE ALSO
//!     user_config, relay, rcpt_ok
//! ```

mod lists;

use std::env;

use self::lists::{Hosts, LISTS, has_address, own_list};
use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, OK, Session, Verdict, WHITELISTHOST, WHITELISTSENDER};
use crate::log::Level;
use crate::mail::host;
use crate::plugins::rcpt_ok::Ours;
use crate::state::Note;

/// 1 if the environment variable WHITELISTCLIENT is set; a note of the connection.
pub const WHITELISTCLIENT: Note<i64> = Note::new("whitelistclient");
/// 1 if the client's name is on the list; a note of the connection.
pub const WHITELISTHELO: Note<i64> = Note::new("whitelisthelo");
/// How many recipients are on the list; a note of the transaction.
pub const WHITELISTRCPT: Note<i64> = Note::new("whitelistrcpt");

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    register_with(hooks, args, env::var_os("WHITELISTCLIENT").is_some())
}

fn register_with(hooks: &mut Hooks, args: &Args, by_environment: bool) -> Result<()> {
    args.only(&["per_recipient", "merge"])?;
    let hosts = hooks.derived_checked("whitelisthosts", Hosts::parse);
    let names = hooks.derived_checked("whitelisthelo", lists::names);
    let senders = hooks.derived_checked("whitelistsenders", lists::addresses);
    let recipients = hooks.derived_checked("whitelistrcpt", lists::addresses);
    if args.flag("per_recipient", false) {
        let merge = args.flag("merge", true);
        let ours = Ours::new(hooks);
        hooks.rcpt(move |session, recipient, _params| {
            let is_ours = ours.has(session, recipient).is_some();
            if by_environment {
                return accept_if(is_ours, session, Found::Client);
            }
            for list in &LISTS {
                let (own, has_own) = own_list(session, recipient, list);
                if is_ours && has_own && list.contains(&own, session, recipient) {
                    session.pass(format_args!("{recipient} has it in {}", list.file));
                    return OK;
                }
                let server = if has_own { session.config(list.file) } else { own };
                if (merge || !has_own) && list.contains(&server, session, recipient) {
                    return accept_if(is_ours, session, list.found);
                }
            }
            DECLINED
        });
        return Ok(());
    }
    hooks.connect(move |session| {
        let ip = session.connection.remote_ip;
        if by_environment {
            return accept(session, Found::Client);
        }
        if session.derived(&hosts).contain(ip) {
            return accept(session, Found::Host);
        }
        session.log(Level::Debug, format_args!("skip, {ip} is not whitelisted"));
        DECLINED
    });
    hooks.hello(move |session, host| {
        let is_listed = session.derived(&names).contains(&*host::canonical(host));
        if is_listed { accept(session, Found::Name) } else { DECLINED }
    });
    hooks.mail(move |session, sender, _params| {
        let is_listed = has_address(&session.derived(&senders), sender);
        if is_listed { accept(session, Found::Sender) } else { DECLINED }
    });
    hooks.rcpt(move |session, recipient, _params| {
        let is_listed = has_address(&session.derived(&recipients), recipient);
        if is_listed { accept(session, Found::Recipient) } else { DECLINED }
    });
    Ok(())
}

/// What was found on a list.
#[derive(Clone, Copy)]
enum Found {
    Client,
    Host,
    Name,
    Sender,
    Recipient,
}

/// Leaves the note that goes with it.
fn accept(session: &mut Session, found: Found) -> Verdict {
    let why = match found {
        Found::Client => {
            session.connection.notes.set(WHITELISTCLIENT, 1);
            session.adjust_karma(5);
            "is whitelisted client"
        }
        Found::Host => {
            session.connection.notes.set(WHITELISTHOST, "1".into());
            session.adjust_karma(5);
            "is a whitelisted host"
        }
        Found::Name => {
            session.connection.notes.set(WHITELISTHELO, 1);
            "helo host in whitelisthelo"
        }
        Found::Sender => {
            session.transaction.notes.set(WHITELISTSENDER, "1".into());
            "envelope sender in whitelistsenders"
        }
        Found::Recipient => {
            let count = session.transaction.notes.get(WHITELISTRCPT).unwrap_or(0) + 1;
            session.transaction.notes.set(WHITELISTRCPT, count);
            "recipient in whitelistrcpt"
        }
    };
    session.pass(why);
    OK
}

/// The same for a recipient: one that is not ours is accepted for the client's address or the
/// recipient's own, and not for what a stranger can claim.
fn accept_if(is_ours: bool, session: &mut Session, found: Found) -> Verdict {
    let verdict = accept(session, found);
    if is_ours || matches!(found, Found::Host | Found::Recipient) { verdict } else { DECLINED }
}

#[cfg(test)]
mod tests;
