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
//!     about recipients.
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
//!                            address/24 or address/32/56 are networks of other lengths
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

mod lines;
mod rate;
mod recent;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use self::lines::{Action, By, Event, Limits, Rule, What, Word};
use self::rate::{Mark, Rate};
use self::recent::Recent;
use crate::config::Derived;
use crate::error::{Error, Result};
use crate::hook::{
    Args, Code, DECLINED, Hooks, Incoming, Session, Settings, Verdict, WHITELISTHOST,
    WHITELISTSENDER,
};
use crate::log::Level;
use crate::mail::suffixes::{self, Suffixes};
use crate::mail::{Address, host};
use crate::store::{ByAddress, Keep, Kept, Put, Table, Unavailable};

/// The file of the configuration, and the table of the store.
const NAME: &str = "limit";

/// For how long the parent knows that a client is exempt.
const EXEMPT: Duration = Duration::from_secs(3600);

thread_local! {
    /// What the parent has counted; it outlives the plugin, which a HUP loads anew.
    static RECENT: RefCell<Option<Recent>> = const { RefCell::new(None) };
}

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
    envelopes(hooks, &limit);
    let own = limit.clone();
    hooks.pre_connection(move |client| own.pre_connection(client));
    let own = limit.clone();
    hooks.connect(move |session| own.connect(session));
    let own = limit.clone();
    hooks.auth_attempt(move |session, user| {
        let about = About { user: Some(user), ..About::of(&CLIENT) };
        own.judge(session, What::FailedAuth, &about, How::Look)
    });
    hooks.auth_failed(move |session, user| {
        let about = About { user: Some(user), ..About::of(&CLIENT) };
        limit.judge(session, What::FailedAuth, &about, How::CountQuietly)
    });
    Ok(())
}

fn envelopes(hooks: &mut Hooks, limit: &Rc<Limit>) {
    let own = limit.clone();
    hooks.mail(move |session, sender, _params| match sender.is_null() {
        true => own.judge(session, What::NullSenders, &About::of(&CLIENT), How::Count(1)),
        false => Ok(DECLINED),
    });
    let own = limit.clone();
    hooks.rcpt(move |session, recipient, _params| {
        let sender = session.transaction.sender().cloned();
        let of = |counts| About {
            counts,
            sender: sender.as_ref(),
            recipient: Some(recipient),
            user: None,
        };
        let over = own.judge(session, What::UnknownRecipients, &of(&ALL), How::Look)?;
        if over != DECLINED {
            return Ok(over);
        }
        if sender.as_ref().is_some_and(Address::is_null) {
            let over = own.judge(session, What::NullSenders, &of(&RECIPIENT), How::Count(1))?;
            if over != DECLINED {
                return Ok(over);
            }
        }
        own.judge(session, What::Recipients, &of(&ALL), How::Count(1))
    });
    let own = limit.clone();
    hooks.deny(move |session, result| {
        let is_others = result.plugin != session.plugin_name();
        if !is_others || result.hook != "rcpt" || result.verdict.code() != Code::Deny {
            return Ok(DECLINED);
        }
        let sender = session.transaction.sender().cloned();
        let about = About { sender: sender.as_ref(), ..About::of(&ALL) };
        own.judge(session, What::UnknownRecipients, &about, How::CountQuietly)
    });
    let own = limit.clone();
    hooks.data(move |session| {
        let sender = session.transaction.sender().cloned();
        let about = About { sender: sender.as_ref(), ..About::of(&ALL) };
        own.judge(session, What::Messages, &about, How::Count(1))
    });
    let own = limit.clone();
    hooks.data_post(move |session| {
        let sender = session.transaction.sender().cloned();
        let about = About { sender: sender.as_ref(), ..About::of(&ALL) };
        let octets = session.transaction.body.len();
        own.judge(session, What::Octets, &about, How::Count(octets))
    });
}

struct Limit {
    limits: Rc<Derived<Limits>>,
    /// Clients that sessions have found to be exempt, for the parent.
    exempt: ByAddress,
    is_strict: bool,
    is_dry: bool,
}

/// What to do with something that happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// So many happen now.
    Count(u64),
    /// One has happened: nobody is told that it is too much.
    CountQuietly,
    /// Would one be too much?
    Look,
}

/// What something is about.
struct About<'a> {
    sender: Option<&'a Address>,
    recipient: Option<&'a Address>,
    /// As whom the client wants to authenticate.
    user: Option<&'a str>,
    /// By what it is counted now.
    counts: &'a dyn Fn(By) -> bool,
}

const ALL: fn(By) -> bool = |_| true;
const RECIPIENT: fn(By) -> bool = |by| matches!(by, By::Recipient | By::RecipientDomain);
const CLIENT: fn(By) -> bool = |by| !RECIPIENT(by);

impl<'a> About<'a> {
    fn of(counts: &'a dyn Fn(By) -> bool) -> About<'a> {
        About { sender: None, recipient: None, user: None, counts }
    }
}

impl Limit {
    /// Before a process is spent.
    fn pre_connection(&self, client: &Incoming<'_>) -> Verdict {
        let limits = client.derived(&self.limits);
        let ip = client.remote_ip;
        let is_exempt = client.is_free
            || !limits.counts(What::Connections)
            || self.exempt.get(ip).is_some()
            || limits.exempts(&ip);
        if is_exempt {
            return DECLINED;
        }
        let due = limits.of(What::Connections, &ip, is_address);
        RECENT.with_borrow_mut(|recent| {
            let recent = recent.get_or_insert_with(Recent::new);
            let mut taken: Vec<(&Rate, &str)> = vec![];
            for (rule, rate, key) in &due {
                let Err(wait) = recent.take(key, rate) else {
                    taken.push((rate, key));
                    continue;
                };
                let detail = detail(rule, rate, key, wait);
                let code = rule.action.code().filter(|_| !self.is_dry);
                let told = if code.is_none() { "fail, tolerated" } else { "fail" };
                client.log(Level::Info, format_args!("{told}, {detail}"));
                if rule.action != Action::Warn {
                    taken.iter().for_each(|(rate, key)| recent.give_back(key, rate));
                    return code
                        .map_or(DECLINED, |code| Verdict::new(code, rule.text(rule.value(key))));
                }
            }
            DECLINED
        })
    }

    /// Counts what the parent did not.
    fn connect(&self, session: &mut Session) -> Outcome {
        let passed_parent = session.connection.passed_parent;
        let limits = session.derived(&self.limits);
        if passed_parent && limits.counts(What::Connections) {
            let about = About::of(&ALL);
            if limits.exempts(&Seen::of(session, &about, limits.suffixes.as_deref())) {
                self.exempt.set(session.connection.remote_ip, 1, EXEMPT);
            }
        }
        let counts = |by| !(passed_parent && is_address(by));
        self.judge(session, What::Connections, &About::of(&counts), How::Count(1))
    }

    /// Counts, or looks; what is too much is refused.
    fn judge(&self, session: &mut Session, what: What, about: &About<'_>, how: How) -> Outcome {
        let limits = session.derived(&self.limits);
        if !limits.counts(what) {
            return Ok(DECLINED);
        }
        let seen = Seen::of(session, about, limits.suffixes.as_deref());
        if limits.exempts(&seen) {
            return Ok(DECLINED);
        }
        let due = limits.of(what, &seen, about.counts);
        let table = session.store(NAME);
        let mut taken: Vec<(&Rate, &str)> = vec![];
        for (rule, rate, key) in &due {
            let Some(answer) = self.available(ask(session, &table, rate, key, how))? else {
                continue;
            };
            let Err(wait) = answer else {
                taken.push((rate, key));
                continue;
            };
            let verdict = match how {
                How::CountQuietly => DECLINED,
                _ => self.refuse(session, rule, detail(rule, rate, key, wait), rule.value(key)),
            };
            if rule.action != Action::Warn {
                for (rate, key) in taken.iter().filter(|_| how != How::Look) {
                    self.available(give_back(&table, rate, key, how))?;
                }
                return Ok(verdict);
            }
        }
        Ok(DECLINED)
    }

    fn refuse(&self, session: &mut Session, rule: &Rule, detail: String, value: &str) -> Verdict {
        let Some(code) = rule.action.code() else {
            return session.fail(format_args!("tolerated, {detail}"));
        };
        if !self.is_dry && matches!(rule.what, What::FailedAuth | What::UnknownRecipients) {
            session.adjust_karma(-1);
        }
        session.get_reject_as(code, &rule.text(value), detail)
    }

    /// None: the store does not answer, and it is as if nothing were known.
    fn available<T>(
        &self,
        answer: std::result::Result<T, Unavailable>,
    ) -> std::result::Result<Option<T>, Unavailable> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.is_strict => Err(error),
            Err(_) => Ok(None),
        }
    }
}

type Outcome = std::result::Result<Verdict, Unavailable>;

/// The inner error is how long it takes until one more may happen.
fn ask(
    session: &Session,
    table: &Table,
    rate: &Rate,
    key: &str,
    how: How,
) -> std::result::Result<std::result::Result<(), Duration>, Unavailable> {
    let now = table.now();
    let believed = |mark: Option<Mark>| mark.filter(|mark| !rate.is_ahead(*mark, now));
    let (old, answer) = match how {
        How::Look => {
            let old = table.get::<Mark>(key)?;
            (old, rate.take(believed(old), 1, now).map(drop))
        }
        How::Count(_) | How::CountQuietly => table.update(key, |old: Option<Mark>| {
            match rate.take(believed(old), how.many(), now) {
                Ok(mark) => (Put(mark, Rate::keep(mark, now)), (old, Ok(()))),
                Err(wait) => (Keep, (old, Err(wait))),
            }
        })?,
    };
    if old != believed(old) {
        session.log(Level::Warn, format_args!("the clock was set back: {key} counts anew"));
    }
    Ok(answer)
}

fn give_back(
    table: &Table,
    rate: &Rate,
    key: &str,
    how: How,
) -> std::result::Result<(), Unavailable> {
    let now = table.now();
    table.update(key, |old: Option<Mark>| match old {
        Some(mark) => {
            let mark = rate.give_back(mark, how.many());
            (Put(mark, Rate::keep(mark, now)), ())
        }
        None => (Keep, ()),
    })
}

impl How {
    fn many(self) -> u64 {
        if let How::Count(many) = self { many } else { 1 }
    }
}

fn is_address(by: By) -> bool {
    matches!(by, By::Address(..))
}

/// For the log.
fn detail(rule: &Rule, rate: &Rate, key: &str, wait: Duration) -> String {
    format!("{rule} {}: {rate}, free again in {} s", rule.value(key), seconds(wait))
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
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

/// What a session knows of something that happens.
struct Seen<'a> {
    session: &'a Session,
    about: &'a About<'a>,
    suffixes: Option<&'a Suffixes>,
}

impl<'a> Seen<'a> {
    fn of(session: &'a Session, about: &'a About<'a>, suffixes: Option<&'a Suffixes>) -> Seen<'a> {
        Seen { session, about, suffixes }
    }
}

impl Event for Seen<'_> {
    /// Clients of a path in the file system have none.
    fn ip(&self) -> Option<IpAddr> {
        let connection = &self.session.connection;
        (!connection.by_path).then_some(connection.remote_ip)
    }

    fn value(&self, by: By) -> Option<String> {
        let sender = self.about.sender.filter(|sender| !sender.is_null());
        let domain = |address: &Address| address.canonical_host().into_owned();
        let name = || self.ip().and_then(|_| self.session.confirmed_host());
        match by {
            By::Address(..) => None,
            By::Name => name().map(|name| host::canonical(&name).into_owned()),
            By::Organization => self.suffixes?.organization(&name()?),
            By::Sender => sender.map(Address::key),
            By::SenderDomain => sender.map(domain),
            By::User => {
                let user = self.about.user.or(self.session.auth_user());
                user.filter(|user| !user.is_empty()).map(host::address_key)
            }
            By::Recipient => self.about.recipient.map(Address::key),
            By::RecipientDomain => self.about.recipient.map(domain),
        }
    }

    fn is(&self, word: Word) -> bool {
        let Session { connection, transaction, .. } = self.session;
        let is_user = connection.auth_user.is_some();
        match word {
            Word::Ours => connection.relay_client || is_user,
            Word::RelayClients => connection.relay_client && !is_user,
            Word::Users => is_user,
            Word::Whitelisted => {
                connection.notes.is_true(WHITELISTHOST)
                    || transaction.notes.is_true(WHITELISTSENDER)
            }
        }
    }
}

/// What the parent knows of a client.
impl Event for IpAddr {
    fn ip(&self) -> Option<IpAddr> {
        Some(*self)
    }

    fn value(&self, _by: By) -> Option<String> {
        None
    }

    fn is(&self, _word: Word) -> bool {
        false
    }
}
