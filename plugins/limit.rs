//! ```text
//! NAME
//!     limit - how much, and how fast, clients may do what they do
//!
//! SYNOPSIS
//!     limit
//!     limit reject 0|1|naughty suffixes FILE
//!
//! DESCRIPTION
//!     Counts what config/limit says, and defers or refuses what is more.  Without lines there it does
//!     nothing.
//!
//!         except relay_clients
//!         connections by address         = 60/1m
//!         failed_auth by address         = 10/15m disconnect
//!         unknown_recipients by address  = 20/1h
//!         messages by user               = 200/1h burst 50
//!
//!     What is remembered is one time for each line and client (the generic cell rate algorithm):
//!     100/1h burst 20 lets 20 pass at once, and one more each time another 36 seconds are over.  In
//!     any hour these are never more than 120, and who keeps to 100 an hour is never stopped.
//!     Without a burst it is COUNT: 100/1h lets 100 pass at once, then one each 36 seconds.
//!
//!     What was refused is not counted: a client that tries on gets what the rate says and no less.
//!     Where several lines hold, all of them have to let it pass, or none counts it.
//!
//!     Connections by address are counted by the parent before they cost a process, on each host for
//!     itself; it knows exceptions by address at once, and others (a relay client, a name) from the
//!     client's first session on, for an hour.  Everything else is in the store (docs/store.md), which
//!     all processes share, and with Redis all hosts; so are connections where there is no parent, under
//!     inetd and tcpserver, and of clients that a proxy brings.
//!
//!     While the store does not answer, and when the clock was set back by more than a minute,
//!     it is as if nothing were known, and the log says so.  With the argument "on_error tempfail"
//!     clients are told to try again later while the store does not answer.
//!
//!     Its place in config/plugins is behind relay and whitelist, and before the plugins that decide
//!     about recipients.  With the plugin peers it stands in the lists, and not in config/plugins.
//!
//! ARGUMENTS
//!     reject 1         do as the lines say; the default
//!     reject 0         a dry run: count, and write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the client later
//!     suffixes FILE    the list of public suffixes, for "by organization";
//!                      /usr/share/publicsuffix/public_suffix_list.dat by default
//!
//! CONFIG
//!     limit   WHAT by KEY = COUNT/TIME [burst N] [ACTION] [for WHOM...]
//!
//!     WHAT is one of these:
//!
//!         connections          each connection
//!         messages             each DATA, or BDAT that begins a message, whatever becomes of the message
//!         recipients           each RCPT that no plugin before this one has decided about
//!         octets               the size of each message that came and was not refused before
//!                              data_post; one that is larger than the burst counts as the burst
//!         failed_auth          each AUTH that does not succeed.  A client that is over the limit is
//!                              refused before anybody looks at its password
//!         unknown_recipients   each RCPT that another plugin refuses for good (DENY), in the words of
//!                              the client 550.  Beyond the limit all recipients are refused
//!         null_senders         each MAIL FROM:<>; by recipient and recipient_domain each RCPT after it
//!
//!     KEY is by what it is counted:
//!
//!         address            the client's address: an IPv4 address, or an IPv6 network of 64 bits;
//!                            address/24 or address/32/56 are networks of other lengths.  Clients of
//!                            a path in the file system have none
//!         network            the same as address/24/48
//!         name               the client's name, if it leads back to its address (fcrdns)
//!         organization       the domain of the organization that has the name
//!         user               as whom it has authenticated
//!         sender             the address in MAIL, sender_domain what is behind its @
//!         recipient          the address in RCPT, recipient_domain what is behind its @
//!
//!     connections are by client; failed_auth by client and user; messages, octets and
//!     unknown_recipients by client, user and sender; null_senders by client and recipient; recipients by
//!     all of these.  What a client does not have is not counted: a line by user holds for those
//!     who authenticated, one by sender not for the null sender.
//!
//!     COUNT and N are numbers, which may end in K, M or G; TIME is a number, 1 by default, of s, m,
//!     h, d or w.  "unlimited" in the place of COUNT/TIME is no limit.
//!
//!     ACTION is what happens beyond:
//!
//!         defer        a temporary refusal; the default
//!         refuse       one for good: mail is returned to its sender
//!         disconnect   a temporary refusal, and the connection is closed
//!         warn         nothing but a line in the log
//!
//!     WHOM are values of KEY for which alone the line holds, in the place of lines of the same WHAT and
//!     KEY that are for all: addresses and networks; names and domains, with a dot in front for all
//!     below; users and mail addresses, or @DOMAIN for all of a domain.
//!
//!         messages by user = 200/1h
//!         messages by user = 2000/1h for newsletter@example.com
//!         messages by user = unlimited for @staff.example.com
//!
//!     limit   except WHO
//!
//!     WHO are clients of which nothing is counted: relay_clients, who may relay by their address; users,
//!     who have authenticated; ours, both of them; whitelisted, whom white lists have; or KEY
//!     VALUE... as above:
//!
//!         except ours
//!         except address 192.0.2.0/24 2001:db8::/32
//!         except name .example.net
//!
//!     A line that cannot be read stops the start.  In a running server it is written to the log and
//!     left out.  Changes count at once; a line with another rate counts from the beginning.
//!
//! REPLIES
//!     451 or 550 too many connections from ADDRESS, in the place of the greeting; later 450, 451, 452
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
        is_strict: args.named("on_error").is_some_and(|word| word.eq_ignore_ascii_case("tempfail")),
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
