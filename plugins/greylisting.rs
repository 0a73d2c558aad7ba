//! ```text
//! NAME
//!     greylisting - defers mail of clients that are not known yet
//!
//! SYNOPSIS
//!     greylisting
//!     greylisting remote_ip 0|1|network|name sender 0|1 recipient 0|1 spf 0|1|domain
//!
//! DESCRIPTION
//!     A client that is not known is told to try again later (RFC 6647).  Mail servers do so, and
//!     most programs that only send spam do not.  Once the client has tried again after
//!     black_timeout it is known, and its mail is no longer deferred; each message renews that for
//!     white_timeout.
//!
//!     What has to be known is the client's address and, if the arguments say so, the sender and
//!     the recipient together with it.  The fewer of these count, the less mail is deferred.
//!
//!     Large senders try again from another address.  These arguments and plugins let them pass all
//!     the same:
//!
//!     remote_ip network   the client is known by its network instead of its address: /24, IPv6 /64
//!     remote_ip name      the client is known by the domain of its organization, from the name that
//!                         leads back to its address.  A client without such a name, or with a name
//!                         that is made of its address, as those of dial-up lines are, is known by
//!                         its network
//!     spf 1               a client that the sender's domain allows to send (SPF) is not deferred
//!     spf domain          if SPF passes, the sender's domain counts instead of the client's address:
//!                         a new domain is deferred, and all its servers count as one client
//!     dns_whitelist_soft  a client on a white list in the DNS is not deferred
//!
//!     SPF is looked up here if sender_permitted_from has not done so before.
//!
//!     The client is told to try again at MAIL, or at RCPT if recipients count (recipient or
//!     per_recipient).  With the null sender it is told at DATA, so that servers that only test
//!     whether an address exists are not deferred.  A message whose recipients are all on a white
//!     list of recipients is accepted at DATA.
//!
//!     A client that may relay or is on a white list, and a sender on a white list, are not
//!     deferred.
//!
//!     Neither is a sender to whom our own users have written, if the plugin penpals comes before
//!     this one.
//!
//!     A client that is known by its address stays known when remote_ip or spf is changed.
//!
//!     To begin gently, or to see what would happen, use reject 0: clients are remembered, and none
//!     is deferred.
//!
//! ARGUMENTS
//!     remote_ip       1: the client's address counts; the default.  0: it does not count.  network
//!                     and name: see above
//!     sender          1: the sender counts, too; 0 by default
//!     recipient       1: the recipient counts, too; 0 by default
//!     per_recipient   1: decide at RCPT, by the recipient's own settings; 0 by default
//!     deny_late       1: tell the client at DATA instead of MAIL, so that the log has the
//!                     recipients; 0 by default
//!     black_timeout   how many seconds a new client is deferred; 3000 by default
//!     grey_timeout    within how many seconds after its first try a client has to try again; later
//!                     it counts as new once more.  The value of white_timeout by default
//!     white_timeout   after how many seconds without mail a client is forgotten; 3110400 by
//!                     default, 36 days
//!     reject 1        defer mail; the default
//!     reject 0        remember clients, but defer no mail
//!     mode            an older form of reject: denysoft is reject 1, testonly is reject 0; off does
//!                     nothing at all
//!     spf             0, 1 or domain, see above; 0 by default
//!     geoip CC,...    do not defer clients of these countries
//!     p0f KEY,VALUE,...  defer only clients that match one of these pairs: genre, detail or link
//!                     contains the value, distance is more than it, uptime is less than it
//!     suffixes FILE   the list of public suffixes, for remote_ip name; by default that of Debian's
//!                     package publicsuffix
//!     on_error ignore    while the store is not available, defer nobody; the default, as in Perl
//!                     qpsmtpd
//!     on_error tempfail  while the store is not available, defer everybody
//!
//!     db_dir, redis, nfslock, upgrade and per_recipient_db are accepted and have no effect:
//!     config/store says where all plugins remember.
//!
//! CONFIG
//!     denysoft_greylist       one argument with its value per line, for arguments that are not in
//!                             config/plugins.  A recipient's own file (see user_config) may have
//!                             black_timeout, grey_timeout, white_timeout, reject and mode, which
//!                             override the arguments
//!     greylist_exclude_files  names of files with clients that are not deferred.  Each line of such
//!                             a file is an address, a network, a name (which includes all names
//!                             below it), or /REGEXP/.  A client's name is the one that leads back
//!                             to its address.  Postgrey's files have this form.  The list of files
//!                             is read at the start; changes in the files count at once.
//!
//! REPLIES
//!     450 This mail is temporarily denied     at MAIL and RCPT; 451 at DATA
//!
//! NOTES
//!     greylist            on the transaction: what the client will be told at DATA
//!     p0f, geoip_country  on the connection: for the arguments of these names
//!     spfquery            on the transaction: the result of SPF, if a Perl plugin found it
//!     penpal              on the transaction: how many messages our users have sent to the sender
//!     whitelistrcpt       on the transaction: how many recipients are on a white list
//!
//! STORE
//!     greylisting   the client, the sender and the recipient; the time of the first try or of the
//!                   last mail; how often the client was new, was deferred, and has sent mail
//!
//!     qpsmtpd --store import greylisting FILE imports greylist.dbm or denysoft_greylist.dbm of
//!     Perl qpsmtpd; give remote_ip, sender and recipient the values that they had there
//!     (docs/store.md).
//!
//! DIFFERENCES
//!     With the Perl plugin of the same name in qpsmtpd 1.00 no client is ever known: it stays one
//!     that has waited long enough, until a start 36 days after its first try deletes it.  From
//!     0.93 on, a client that has not come for white_timeout, or comes later than grey_timeout, is
//!     not deferred until that start. 1.00 ignores grey_timeout, which is 12000 by default in 0.94;
//!     that is shorter than many servers wait.  Debian's 0.94 fails at each MAIL, and defers
//!     nobody.
//!
//!     In Perl, mode has no effect from 0.93 on.  A recipient's own reject does not count.
//!     config/denysoft_greylist overrides the arguments at RCPT, and 1.00 reads only the first line
//!     of that file.  With the null sender the client is told at MAIL if recipients do not count.
//!     Names in greylist_exclude_files are those that a client gives itself in the DNS, without the
//!     names below them. detail of p0f is ignored.
//!
//! SEE ALSO
//!     sender_permitted_from, dns_whitelist_soft, whitelist, penpals, user_config, docs/store.md
//! ```

mod client;
mod entry;
mod exclude;
mod import;
mod rules;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;

use crate::config::{Derived, Lines};
use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, PENPAL, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::plugins::whitelist::WHITELISTRCPT;
use crate::state::Note;
use crate::store::{Put, Unavailable};

use self::client::Key;
use self::entry::{Entry, Judgement};
use self::exclude::Excluded;
use self::rules::Rules;

/// What the client will be told at DATA; a note of the transaction.
pub const GREYLIST: Note<String> = Note::new("greylist");

/// The plugin's table of the store.
const TABLE: &str = "greylisting";

const TEXT: &str = "This mail is temporarily denied";

struct Greylisting {
    rules: Rc<Derived<Rules>>,
    excluded: Vec<Rc<Derived<Excluded>>>,
    /// Is everybody put off while the store is not available?
    fails_closed: bool,
}

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    hooks.reads_reject();
    let pairs = rules::pairs(args)?;
    let base = Rules::default().with(&pairs)?;
    let rules = hooks.derived_checked("denysoft_greylist", move |lines, problems| {
        Rules::default().with_lines(lines, problems).with(&pairs).unwrap_or_else(|why| {
            problems.push(why.within("denysoft_greylist does not go with the arguments"));
            base.clone()
        })
    });
    let (config, of_file) = (hooks.config().clone(), rules.clone());
    let now = Rc::new(move || of_file.of(&config.list(of_file.name())));
    let rules_now = now.clone();
    hooks.keeps(TABLE, move |kept| entry::explain(kept, &rules_now()));
    hooks.store_command(TABLE, "import", move |table, file| {
        let (rules, time) = (now(), table.now().as_secs());
        table.take_over(Path::new(file), |key, value| import::take_over(key, value, time, &rules))
    });
    let greylisting = Rc::new(Greylisting {
        rules,
        excluded: excluded(hooks)?,
        fails_closed: args.fail_closed(),
    });
    let at_rcpt = greylisting.clone();
    hooks.mail(move |session, sender, _params| {
        let rules = session.derived(&greylisting.rules);
        if rules.are_by_recipient() {
            return Ok(DECLINED);
        }
        let verdict = greylisting.judge(session, &rules, sender, None)?;
        Ok::<_, Unavailable>(now_or_later(session, verdict, rules.deny_late || sender.is_null()))
    });
    hooks.rcpt(move |session, recipient, _params| {
        let mut rules = session.derived(&at_rcpt.rules);
        if !rules.are_by_recipient() {
            return Ok(DECLINED);
        }
        if let Some(own) = session.own_config(recipient, at_rcpt.rules.name()) {
            rules = Rc::new(with_own(session, &rules, &own));
        }
        let sender = session.transaction.sender().cloned().unwrap_or_default();
        let verdict = at_rcpt.judge(session, &rules, &sender, Some(recipient))?;
        Ok::<_, Unavailable>(now_or_later(session, verdict, sender.is_null()))
    });
    hooks.data(|session| {
        let Some(text) = session.transaction.notes.get(GREYLIST) else { return DECLINED };
        let listed = session.transaction.notes.get(WHITELISTRCPT).unwrap_or(0);
        if usize::try_from(listed) == Ok(session.transaction.recipients().len()) {
            return session.skip("all recipients whitelisted");
        }
        Verdict::denysoft(text)
    });
    Ok(())
}

/// The clients in each file of greylist_exclude_files.
fn excluded(hooks: &mut Hooks) -> Result<Vec<Rc<Derived<Excluded>>>> {
    const FILES: &str = "greylist_exclude_files";
    hooks.uses_config(&[FILES]);
    let files = hooks.config().load(FILES)?;
    let mut excluded = vec![];
    for line in files.entries() {
        if !hooks.config().exists(&line.text) {
            let why = Error::at(&line.file, line.number, format!("no file '{}'", line.text));
            hooks.log(Level::Warn, why);
        }
        excluded.push(hooks.derived_checked(line.text.clone(), Excluded::parse));
    }
    Ok(excluded)
}

/// The rules for a recipient that has some of its own.
fn with_own(session: &Session, rules: &Rules, own: &Lines) -> Rules {
    let mut problems = vec![];
    let rules = rules.with_own_lines(own, &mut problems);
    problems.iter().for_each(|problem| session.log(Level::Warn, problem));
    rules
}

/// A refusal as it is, or a note of it for DATA.
fn now_or_later(session: &mut Session, verdict: Verdict, is_later: bool) -> Verdict {
    if !is_later || !verdict.code().is_deny() {
        return verdict;
    }
    session.transaction.notes.set(GREYLIST, verdict.text().to_owned());
    DECLINED
}

impl Greylisting {
    fn judge(
        &self,
        session: &mut Session,
        rules: &Rules,
        sender: &Address,
        recipient: Option<&Address>,
    ) -> std::result::Result<Verdict, Unavailable> {
        if rules.is_off || session.is_immune() || self.exempts(session, rules) {
            return Ok(DECLINED);
        }
        let passes_spf = rules.spf.is_asked() && client::passes_spf(session, sender);
        if passes_spf && rules.spf.exempts() {
            return Ok(session.skip(format_args!("SPF lets it send for {}", sender.host())));
        }
        let Some(key) = Key::of(session, rules, passes_spf, sender, recipient) else {
            session.log(Level::Error, "enable one of remote_ip, sender, or recipient!");
            return Ok(DECLINED);
        };
        match remember(session, rules, &key) {
            Ok(judgement) => Ok(answer(session, rules, &key.text, &judgement)),
            Err(unavailable) if self.fails_closed => Err(unavailable),
            Err(_) => Ok(session.skip("the store is not available")),
        }
    }

    fn exempts(&self, session: &mut Session, rules: &Rules) -> bool {
        if !rules.p0f.is_empty() && !exclude::fits_p0f(session, &rules.p0f) {
            session.skip("no p0f match");
        } else if exclude::is_in_country(session, &rules.geoip) {
            session.skip("geoip country match");
        } else if self.excluded.iter().any(|list| session.derived(list).has_client_of(session)) {
            session.skip("in greylist_exclude_files");
        } else if session.transaction.notes.is_true(PENPAL) {
            session.skip("our users have written to the sender");
        } else {
            return false;
        }
        true
    }
}

/// Brings the entry of `key` up to date, and says what it is.
fn remember(
    session: &Session,
    rules: &Rules,
    key: &Key,
) -> std::result::Result<Judgement, Unavailable> {
    let table = session.store(TABLE);
    let now = table.now().as_secs();
    let known = match &key.by_address {
        Some(address) if table.get::<Entry>(&key.text)?.is_none() => table.get(address)?,
        _ => None,
    };
    table.update(&key.text, |old: Option<Entry>| {
        let (entry, judgement) = Entry::next(old.or(known), now, rules);
        (Put(entry, entry.time_left(now, rules)), judgement)
    })
}

fn answer(session: &Session, rules: &Rules, key: &str, judgement: &Judgement) -> Verdict {
    match judgement {
        Judgement::White(count) => session.pass(format_args!("white, {count} deliveries: {key}")),
        Judgement::Grey => session.pass(format_args!("updated grey->white: {key}")),
        _ if !rules.rejects => session.fail(format_args!("tolerated, {judgement}: {key}")),
        _ => {
            session.fail(format_args!("{judgement}: {key}"));
            Verdict::denysoft(TEXT)
        }
    }
}
