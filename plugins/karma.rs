//! ```text
//! NAME
//!     karma - judges clients by how they behaved before
//!
//! SYNOPSIS
//!     karma [reject 0|1|connect|naughty] [reject_type TYPE] [negative N] [strikes N]
//!           [penalty_days DAYS] [keep_days DAYS]
//!
//! DESCRIPTION
//!     Counts the nice and the naughty connections of each address.  An address with more naughty
//!     connections than nice ones is refused for a while.
//!
//!     This plugin does not itself find out whether a connection is nice or naughty.  Other plugins
//!     add to the connection's karma, or take away from it (adjust_karma):
//!
//!     whitelist                 5   the host is on the list
//!     penpals                   2   our users have written to the sender
//!     fcrdns                    1   the client's name leads back to its address; -1 if not
//!     helo                     -1   the name in HELO is refused; 1 if it is right, with "policy
//!                                   strict"
//!     sender_permitted_from     1   SPF passes; -1 if it fails
//!     dkim                      1   a signature is valid; -1 if none of them is
//!     dmarc                    -3   DMARC fails, and the domain asks for quarantine or reject
//!     spamassassin             -1   spam; 1 or -1 for what it learns as ham or spam
//!     earlytalker, dnsbl, badmailfrom, headers (for each fault), virus/clamdscan
//!                              -1   what is refused
//!     resolvable_fromhost      -1   the sender's domain has no MX; -2 if its MX takes no mail
//!     limit                    -1   each AUTH and recipient beyond a rate of failed AUTH or of unknown
//!                                   recipients
//!     rcpt_verify              -1   a recipient that does not exist
//!     badrcptto, dont_require_anglebrackets
//!                              -2   each time
//!
//!     What a plugin gives at connect, it gives once; at other hooks, good karma counts once until a
//!     message is accepted, however often the client says MAIL.
//!
//!     When the connection ends, the sum decides what it was:
//!
//!     naughty   -3 or less, or marked as naughty by another plugin
//!     nice      3 or more, and a message was accepted
//!     neither   everything else
//!
//!     An address with more naughty than nice connections is refused for a day after each further
//!     naughty one, with "You were naughty. You cannot connect for 0.99 more days."  If the
//!     address never had a nice connection, the sixth penalty is six days longer, the seventh seven
//!     days longer, and so on.
//!
//!     An IPv6 address stands for its whole /64.
//!
//!     The history of an address (karma_history: its nice connections minus its naughty ones) has
//!     further effects:
//!
//!     *  If the history is above 10, a connection begins with a karma of 1.
//!     *  earlytalker does not test clients whose history is above 5.
//!     *  If the option --max-from-ip limits connections, an address whose history is above 5 may
//!        have three more connections at once; an address without a good history may have one.
//!     *  A message may have only one recipient, unless history or karma is above 0.  For the next
//!        recipient the client gets 452, "too many recipients for karma 0 (h: 0)", and sends the
//!        message once more for that recipient.
//!     *  Whatever the history is, a connection with a karma below -4 is refused at DATA and after
//!        the message, with "very bad karma: -5".
//!
//!     If config/karma_tlds lists the sender's domain, its number is added to the karma; -2 is
//!     added for a MAIL or RCPT command without "FROM:<" or "TO:<".
//!
//!     A client that may relay or is on a white list is neither counted nor refused.  So place this
//!     plugin after relay and whitelist, and before plugins that look things up.
//!
//!     With "reject 0" the plugin counts, and writes to the log what it would refuse, but refuses
//!     nothing.  Use it for a trial.
//!
//!     While the store (docs/store.md) is not available, the plugin behaves as if it knew nothing
//!     of anybody, and counts nothing.
//!
//! COMMANDS
//!     qpsmtpd --store explain karma [IP]   show who is refused until when, and how everybody behaved;
//!                                          with IP, only that address (of IPv6, the first of its /64)
//!     qpsmtpd --store capture karma IP     refuse this address, as if it had been naughty
//!     qpsmtpd --store release karma IP     forget its penalty and its naughty connections
//!     qpsmtpd --store clear karma [IP]     forget all about this address, or about everybody
//!
//!     They replace list, search, capture, release and prune of karma_tool.
//!
//!     qpsmtpd --store import karma FILE imports karma.dbm of Perl qpsmtpd (docs/store.md).
//!
//! ARGUMENTS
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject 1         refuse at once; "connect" is the same
//!     reject naughty   leave it to the plugin naughty to refuse the client later; the default
//!     reject_type      perm, temp, disconnect or temp_disconnect; disconnect by default
//!     negative N       penalties begin when naughty connections outnumber nice ones by this number;
//!                      1 by default.  With 2, an address with 2 naughty and 1 nice connections is
//!                      not refused.
//!     strikes N        a connection is nice or naughty if its karma is this far above or below 0; 3
//!                      by default
//!     penalty_days DAYS
//!                      the length of a penalty, such as 0.5; 1 by default
//!     keep_days DAYS   how long an address is remembered after its last connection and its last
//!                      penalty, and by how many days a penalty can grow; 60 by default
//!
//!     db_dir, nfslock and penalty_box are accepted for old configurations, and have no effect.
//!
//! CONFIG
//!     karma_tlds   one DOMAIN:NUMBER per line: the number to add for senders in that domain.
//!                  Remember that anybody can claim any domain:
//!
//!                      work:-4
//!                      fr:+1
//!
//! NOTES
//!     karma             on the connection: the sum
//!     karma_history     on the connection: nice connections minus naughty ones
//!     recipient_count   on the connection: the number of its RCPT commands
//!
//! DIFFERENCES
//!     The Perl plugin of the same name counts no naughty connections up to version 1.00, so its
//!     penalties neither add up nor grow.  It forgets what plugins before it have done to the
//!     karma, and counts no recipients.  It refuses a second recipient permanently, even with
//!     "reject 0".  It counts clients that authenticated, and never forgets an address.  There a
//!     nice connection needs no message, and every MAIL gives anew what SPF gives.  In 0.94
//!     the domains are in the program; here they are in config/karma_tlds. docs/upstream-plugins.md
//!     has a table.
//!
//! SEE ALSO
//!     naughty, hosts_allow, earlytalker, whitelist; docs/store.md
//! ```

mod history;
mod people;
mod record;

use std::path::Path;

use self::history::{allowed, count, greet};
use self::record::Rules;
use crate::config::Line;
use crate::error::{Error, Result};
use crate::hook::{
    Args, Code, DECLINED, ENVELOPE_FROM, ENVELOPE_RCPT, Hooks, KARMA, KARMA_HISTORY, Reject,
    Session, Settings, Verdict, dsn,
};
use crate::log::Level;
use crate::mail::{Address, host};
use crate::state::Note;
use crate::store::{ByAddress, network};

/// The table of the store.
const TABLE: &str = "karma";

/// How many RCPT commands the connection had; a note of the connection.
const RECIPIENT_COUNT: Note<i64> = Note::new("recipient_count");
/// This plugin has refused the client, or marked it.
const PENALIZED: Note<bool> = Note::new("karma_penalized");
/// A message of this connection was taken.
const TOOK_MESSAGE: Note<bool> = Note::new("karma_message");

/// A connection that is worse than this is not heard to the end.
const VERY_BAD: i64 = -4;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&[
        "negative",
        "strikes",
        "penalty_days",
        "penalty_box",
        "keep_days",
        "db_dir",
        "nfslock",
    ])?;
    hooks.default_reject(Reject::Later);
    let strikes = at_least_1(args, "strikes", 3)?;
    let rules = Rules {
        negative: at_least_1(args, "negative", 1)?,
        penalty_days: days(args)?,
        keep_days: u32::from(args.parsed::<u16>("keep_days", 60)?.max(1)),
    };
    let limits = Settings::from_args(args)?.rejects();
    let histories = ByAddress::named(TABLE)?;
    let known = histories.clone();
    if limits {
        hooks.max_from_ip(move |ip, max| allowed(known.get(network(ip)), max));
    }
    let tlds = hooks.rows("karma_tlds", tld);
    hooks.keeps(TABLE, move |kept| people::explain(kept, &rules));
    hooks.store_command(TABLE, "capture", move |table, ip| people::capture(table, ip, &rules));
    hooks.store_command(TABLE, "release", move |table, ip| people::release(table, ip, &rules));
    hooks.store_command(TABLE, "import", move |table, file| {
        let now = table.now();
        table.take_over(Path::new(file), |key, value| people::take_over(key, value, now, &rules))
    });
    let known = histories.clone();
    hooks.connect(move |session| greet(session, &known, &rules));
    hooks.mail(move |session, sender, _params| {
        check_form(session, ENVELOPE_FROM, "FROM:<");
        let tlds = session.derived(&tlds);
        score(session, sender, &tlds);
        DECLINED
    });
    hooks.rcpt(|session, recipient, _params| limit_recipients(session, recipient));
    hooks.data(refuse_very_bad);
    hooks.data_post(refuse_very_bad);
    hooks.queue_post(|session| {
        session.connection.notes.set(TOOK_MESSAGE, true);
        DECLINED
    });
    hooks.disconnect(move |session| count(session, &histories, strikes, &rules));
    Ok(())
}

/// A number whose default 0 stands for, as in Perl.
fn at_least_1(args: &Args, name: &str, default: i64) -> Result<i64> {
    let number: u16 = args.parsed(name, 0)?;
    Ok(if number == 0 { default } else { number.into() })
}

fn days(args: &Args) -> Result<f64> {
    let days: f64 = args.parsed("penalty_days", 1.0)?;
    if !(0.0..=3650.0).contains(&days) {
        return Err(Error::value("penalty_days", days.to_string(), "a number of days"));
    }
    Ok(if days == 0.0 { 1.0 } else { days })
}

/// A line of config/karma_tlds.
fn tld(line: &Line) -> Result<(String, i64)> {
    let (domain, number) = line.text.split_once(':').ok_or("no DOMAIN:NUMBER")?;
    let number = number.trim();
    let number = number.parse().map_err(|_| format!("not a number: '{number}'"))?;
    Ok((host::canonical(domain.trim().trim_start_matches('.')).into_owned(), number))
}

/// Between `FROM:` or `TO:` and the address is nothing (RFC 5321 3.3).
fn check_form(session: &mut Session, note: Note<String>, start: &str) {
    let Some(argument) = session.connection.notes.get(note) else { return };
    let is_right = argument.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    if !is_right {
        session.log(Level::Info, format_args!("illegal envelope address format: {argument}"));
        session.adjust_karma(-2);
    }
}

fn score(session: &mut Session, sender: &Address, tlds: &[(String, i64)]) {
    let host = sender.canonical_host();
    let mut sum = 0;
    for (tld, number) in tlds.iter().filter(|(_, number)| *number != 0) {
        let is_within = host.strip_suffix(&**tld).is_some_and(|rest| rest.ends_with('.'));
        if is_within {
            session.log(Level::Info, format_args!("adjusting karma for .{tld} envelope sender"));
            sum += number;
        }
    }
    if sum != 0 {
        session.adjust_karma(sum);
    }
}

fn limit_recipients(session: &mut Session, recipient: &Address) -> Verdict {
    check_form(session, ENVELOPE_RCPT, "TO:<");
    let notes = &mut session.connection.notes;
    let count = notes.get(RECIPIENT_COUNT).unwrap_or(0) + 1;
    notes.set(RECIPIENT_COUNT, count);
    let karma = notes.get(KARMA).unwrap_or(0);
    let history = notes.get(KARMA_HISTORY).unwrap_or(0);
    if count > 1 {
        session.log(Level::Info, format_args!("recipients c: {count} ({recipient})"));
    }
    if session.is_immune() {
        return DECLINED;
    }
    let recipients = session.transaction.recipients().len();
    if recipients == 0 {
        session.log(Level::Debug, "info, no recipient count");
        return DECLINED;
    }
    session.log(Level::Info, format_args!("recipients t: {recipients} ({recipient})"));
    if history > 0 || karma > 0 {
        let what = if history > 0 { "history" } else { "connection" };
        session.log(Level::Info, format_args!("info, good {what}"));
        return DECLINED;
    }
    let text = format!("too many recipients for karma {karma} (h: {history})");
    if session.reject() == Some(Reject::No) {
        return session.fail(format_args!("tolerated, {text}"));
    }
    session.fail(&text);
    dsn::too_many_rcpts(&text).with_reply(452)
}

fn refuse_very_bad(session: &mut Session) -> Verdict {
    if session.is_immune() || session.is_naughty() {
        return DECLINED;
    }
    let karma = session.connection.notes.get(KARMA).unwrap_or(0);
    if karma >= VERY_BAD {
        return DECLINED;
    }
    session.get_reject_as(Code::DenyDisconnect, &format!("very bad karma: {karma}"), "")
}

#[cfg(test)]
mod tests;
