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
//!     these is skipped, and reported in the log; of a recipient's own list only the first is.
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

use self::lists::{Entries, List, lists};
use crate::error::Result;
use crate::hook::{Args, DECLINED, Hooks, OK, Session, Verdict, WHITELISTHOST, WHITELISTSENDER};
use crate::log::Level;
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
    let merge = args.flag("merge", true)?;
    let lists = lists(hooks);
    if args.flag("per_recipient", false)? {
        by_recipient(hooks, lists, merge, by_environment);
    } else {
        by_hook(hooks, lists, by_environment);
    }
    Ok(())
}

/// Each list counts at the hook where what it lists is known.
fn by_hook(
    hooks: &mut Hooks,
    [hosts, names, senders, recipients]: [List; 4],
    by_environment: bool,
) {
    hooks.connect(move |session| {
        let ip = session.connection.remote_ip;
        if by_environment {
            return accept(session, Found::Client);
        }
        if session.derived(&hosts.entries).have_ip(ip) {
            return accept(session, hosts.found);
        }
        session.log(Level::Debug, format_args!("skip, {ip} is not whitelisted"));
        DECLINED
    });
    hooks.hello(move |session, host| {
        let is_listed = session.derived(&names.entries).have_host(host);
        if is_listed { accept(session, names.found) } else { DECLINED }
    });
    hooks.mail(move |session, sender, _params| {
        let is_listed = session.derived(&senders.entries).have_address(sender);
        if is_listed { accept(session, senders.found) } else { DECLINED }
    });
    hooks.rcpt(move |session, recipient, _params| {
        let is_listed = session.derived(&recipients.entries).have_address(recipient);
        if is_listed { accept(session, recipients.found) } else { DECLINED }
    });
}

/// All lists count at RCPT: the recipient's own, and with `merge` the server's as well.
fn by_recipient(hooks: &mut Hooks, lists: [List; 4], merge: bool, by_environment: bool) {
    let ours = Ours::new(hooks);
    hooks.rcpt(move |session, recipient, _params| {
        let is_ours = ours.has(session, recipient).is_some();
        if by_environment {
            return accept_if(is_ours, session, Found::Client);
        }
        for list in &lists {
            let own = session.derived_own(recipient, &list.entries);
            let is_listed =
                |entries: &Entries, session: &Session| entries.have(list.found, session, recipient);
            if is_ours && own.as_ref().is_some_and(|own| is_listed(own, session)) {
                session.pass(format_args!("{recipient} has it in {}", list.entries.name()));
                return OK;
            }
            if (merge || own.is_none()) && is_listed(&session.derived(&list.entries), session) {
                return accept_if(is_ours, session, list.found);
            }
        }
        DECLINED
    });
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
