//! ```text
//! NAME
//!     limit - limits how often and how fast clients may connect, send and fail
//!
//! SYNOPSIS
//!     limit
//!     limit reject 0|1|naughty suffixes FILE
//!
//! DESCRIPTION
//!     Counts what config/limit says, and defers or refuses what goes beyond.  Without lines in
//!     that file it does nothing.
//!
//!         except relay_clients
//!         connections by address         = 60/1m
//!         failed_auth by address         = 10/15m disconnect
//!         unknown_recipients by address  = 20/1h
//!         messages by user               = 200/1h burst 50
//!
//!     For each line and client one time is remembered (the generic cell rate algorithm): 100/1h
//!     burst 20 lets 20 pass at once, and then one more every 36 seconds.  In no hour can that be
//!     more than 120, and a client that keeps to 100 an hour is never stopped.  Without a burst,
//!     the burst is COUNT: 100/1h lets 100 pass at once, then one every 36 seconds.
//!
//!     What is refused is not counted: a client that keeps trying gets what the rate allows, and no
//!     less.  If several lines apply, all of them have to let it pass; otherwise no line counts it.
//!
//!     Connections by address are counted by the parent, before they cost a process; each host
//!     counts for itself.  The parent knows exceptions by address at once, and other exceptions (a
//!     relay client, a name) from the client's first session on, for an hour.  Everything else is
//!     counted in the store (docs/store.md), which all processes share, and with Redis all hosts.
//!     Connections are counted there, too, if there is no parent, under inetd and tcpserver, and
//!     for clients that a proxy brings.
//!
//!     While the store does not answer, and when the clock was set back by more than a minute, the
//!     plugin behaves as if it knew nothing, and the log says so.  With the argument "on_error
//!     tempfail" clients are told to try again later while the store does not answer.
//!
//!     Place the plugin in config/plugins after relay and whitelist, and before the plugins that
//!     decide about recipients.  With the plugin peers, place it in the lists of peers instead of
//!     config/plugins.
//!
//! ARGUMENTS
//!     reject 1         do as the lines say; the default
//!     reject 0         refuse nothing; count, and write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     suffixes FILE    the list of public suffixes, for "by organization";
//!                      /usr/share/publicsuffix/public_suffix_list.dat by default
//!     on_error ignore    let everything pass while the store does not answer; the default
//!     on_error tempfail  tell clients to try again later while the store does not answer
//!
//! CONFIG
//!     limit   WHAT by KEY = COUNT/TIME [burst N] [ACTION] [for WHOM...]
//!
//!     WHAT is one of these:
//!
//!         connections          each connection
//!         messages             each DATA, or BDAT that begins a message, whatever becomes of the
//!                              message
//!         recipients           each RCPT that no plugin before this one has decided
//!         octets               the size of each message that was not refused before data_post; a
//!                              message larger than the burst counts as much as the burst
//!         failed_auth          each AUTH that does not succeed.  A client beyond the limit is
//!                              refused before anybody looks at its password
//!         unknown_recipients   each RCPT that another plugin refuses permanently (DENY; the client
//!                              gets 550).  Beyond the limit all recipients are refused
//!         null_senders         each MAIL FROM:<>; by recipient and recipient_domain each RCPT after it
//!
//!     KEY says what is counted separately:
//!
//!         address            the client's address: an IPv4 address, or an IPv6 network of 64 bits.
//!                            address/24 or address/32/56 are networks of other lengths.  Clients
//!                            that come by a path in the file system have no address
//!         network            the same as address/24/48
//!         name               the client's name, if it leads back to its address (fcrdns)
//!         organization       the domain of the organization to which that name belongs
//!         user               the name with which the client has authenticated
//!         sender             the address in MAIL; sender_domain is the part after its @
//!         recipient          the address in RCPT; recipient_domain is the part after its @
//!
//!     Which KEY goes with which WHAT: connections go with the keys of a client (address, network,
//!     name, organization); failed_auth with these and user; messages, octets and
//!     unknown_recipients with these, user and sender; null_senders with these and recipient;
//!     recipients with every key.  If a client lacks the key nothing is counted: a line by user
//!     applies only to those who authenticated, and a line by sender does not apply to the null
//!     sender.
//!
//!     COUNT and N are numbers, which may end in K, M or G.  TIME is a number, 1 by default,
//!     followed by s, m, h, d or w.  "unlimited" instead of COUNT/TIME means no limit.
//!
//!     ACTION is what happens beyond the limit:
//!
//!         defer        a temporary refusal; the default
//!         refuse       a permanent refusal: mail is returned to its sender
//!         disconnect   a temporary refusal, and the connection is closed
//!         warn         only a line in the log
//!
//!     WHOM are values of KEY.  The line then applies only to them, instead of lines with the same
//!     WHAT and KEY that apply to all.  They are addresses and networks; names and domains, with a
//!     dot in front for all names below; or users and mail addresses, or @DOMAIN for all of a
//!     domain.
//!
//!         messages by user = 200/1h
//!         messages by user = 2000/1h for newsletter@example.com
//!         messages by user = unlimited for @staff.example.com
//!
//!     limit   except WHO
//!
//!     WHO are clients of which nothing is counted: relay_clients, who may relay by their address;
//!     users, who have authenticated; ours, both of these; whitelisted, who are on white lists; or
//!     KEY VALUE... as above:
//!
//!         except ours
//!         except address 192.0.2.0/24 2001:db8::/32
//!         except name .example.net
//!
//!     A line that cannot be read stops the start.  In a running server it is skipped, and reported
//!     in the log.  Changes take effect at once; a line with another rate counts from the
//!     beginning.
//!
//! REPLIES
//!     451 or 550 "too many connections from ADDRESS", instead of the greeting; later 450, 451, 452
//!     and 454, or 550, 552, 554 and 535, with "too many WHAT from WHOM".
//!
//! LOG
//!     fail, messages by user bob@example.com: 200/1h burst 50, free again in 18 s
//!
//! SEE ALSO
//!     hosts_allow, naughty, docs/limits.md, docs/store.md
//! ```

mod count;
mod key;
mod lines;
pub(crate) mod rate;
mod recent;
mod seen;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;

use self::count::{How, Limit, NAME, Outcome, seconds};
use self::lines::{Limits, What};
use self::rate::{Mark, Rate};
use self::seen::{ALL, About, CLIENT, RECIPIENT};
use crate::error::{Error, Result};
use crate::hook::{Args, Code, DECLINED, Hooks, Session, Settings};
use crate::log::Level;
use crate::mail::Address;
use crate::mail::suffixes;
use crate::store::{ByAddress, Kept};

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["reject", "suffixes"])?;
    let suffixes = args.named("suffixes").unwrap_or(suffixes::FILE).to_owned();
    let lines = hooks.config().load(NAME)?;
    let mut problems = vec![];
    Limits::parse(&lines, Path::new(&suffixes), &mut problems);
    if let Some(error) = Error::all(problems) {
        return Err(error);
    }
    if lines.is_empty() {
        hooks.log(Level::Warn, "config/limit has no lines: nothing is counted");
    }
    let parse =
        move |lines: &_, problems: &mut _| Limits::parse(lines, Path::new(&suffixes), problems);
    let limit = Rc::new(Limit {
        limits: hooks.derived_checked(NAME, parse),
        exempt: ByAddress::named(NAME)?,
        is_strict: args.fail_closed(),
        is_dry: !Settings::from_args(args)?.rejects(),
    });
    hooks.keeps(NAME, explain);
    let own = limit.clone();
    hooks.pre_connection(move |client| own.pre_connection(client));
    let own = limit.clone();
    hooks.connect(move |session| own.connect(session));
    authentication(hooks, &limit);
    envelopes(hooks, &limit);
    let count = |what, own: Rc<Limit>| {
        move |session: &mut Session, many| {
            own.judge(session, what, &About::of(&ALL), How::Count(many))
        }
    };
    let messages = count(What::Messages, limit.clone());
    hooks.data(move |session| messages(session, 1));
    let octets = count(What::Octets, limit);
    hooks.data_post(move |session| octets(session, session.transaction.body.len()));
    Ok(())
}

fn authentication(hooks: &mut Hooks, limit: &Rc<Limit>) {
    let judge = |how, own: Rc<Limit>| {
        move |session: &mut Session, user: &str| {
            let about = About { user: Some(user), ..About::of(&CLIENT) };
            own.judge(session, What::FailedAuth, &about, how)
        }
    };
    hooks.auth_attempt(judge(How::Look, limit.clone()));
    hooks.auth_failed(judge(How::CountQuietly, limit.clone()));
}

fn envelopes(hooks: &mut Hooks, limit: &Rc<Limit>) {
    let own = limit.clone();
    hooks.mail(move |session, sender, _params| match sender.is_null() {
        true => own.judge(session, What::NullSenders, &About::of(&CLIENT), How::Count(1)),
        false => Ok(DECLINED),
    });
    let own = limit.clone();
    hooks.rcpt(move |session, recipient, _params| -> Outcome {
        let is_bounce = session.transaction.sender().is_some_and(Address::is_null);
        let of = |counts| About { recipient: Some(recipient), ..About::of(counts) };
        for (what, counts, how) in [
            (What::UnknownRecipients, &ALL, How::Look),
            (What::NullSenders, &RECIPIENT, How::Count(u64::from(is_bounce))),
            (What::Recipients, &ALL, How::Count(1)),
        ] {
            let verdict = match how {
                How::Count(0) => DECLINED,
                _ => own.judge(session, what, &of(counts), how)?,
            };
            if verdict != DECLINED {
                return Ok(verdict);
            }
        }
        Ok(DECLINED)
    });
    let own = limit.clone();
    hooks.deny(move |session, result| {
        let is_own = result.plugin == session.plugin_name();
        match result.hook == "rcpt" && result.verdict.code() == Code::Deny && !is_own {
            true => {
                own.judge(session, What::UnknownRecipients, &About::of(&ALL), How::CountQuietly)
            }
            false => Ok(DECLINED),
        }
    });
}

/// For `qpsmtpd --store explain limit`.
fn explain(kept: &Kept) -> String {
    let parts: Vec<&str> = kept.key.splitn(4, ':').collect();
    let [what, by, rate, value] = parts[..] else { return "none of this version".into() };
    let (Some(rate), Ok(mark)) = (Rate::from_key(rate), kept.value.parse::<Mark>()) else {
        return "none of this version".into();
    };
    let state = match rate.take(Some(mark), 1, kept.now) {
        Ok(_) => format!("{} of {} used", rate.used(mark, kept.now), rate.burst()),
        Err(wait) => format!("no more, free again in {} s", seconds(wait)),
    };
    format!("{what} by {by} {value}: {rate}, {state}")
}
