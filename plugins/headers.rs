//! ```text
//! NAME
//!     headers - refuses messages with a bad header section
//!
//! SYNOPSIS
//!     headers [require NAMES] [past DAYS] [future DAYS] [reject 0|1|naughty] [reject_type TYPE]
//!
//! DESCRIPTION
//!     A message must have certain fields, must not have some fields more than once (RFC 5322 3.6),
//!     and its Date must not be too far from today.  A client that may relay or is on a white list
//!     is not tested.
//!
//!     Each of these fields may occur only once: Date From Sender Reply-To To Cc Bcc Message-Id
//!     In-Reply-To References Subject.
//!
//!     A Date that cannot be read is not refused, and neither is a missing one unless it is
//!     required: some programs write none, among them those of banks and shops.
//!
//!     The reply names everything that is wrong with the fields, one fault per line.  "reject 0"
//!     refuses nothing, at once or later.  The Perl plugin of the same name answers 901, and lets
//!     the plugin naughty refuse in spite of "reject 0".
//!
//! ARGUMENTS
//!     require NAMES    fields that must be there and not be empty, with commas between them, such as
//!                      "From,Date,Subject"; "From" by default
//!     past DAYS        refuse a Date older than this; no limit by default
//!     future DAYS      refuse a Date later than this; no limit by default
//!     days DAYS        both, as is a number alone; for old lines of "check_basicheaders"
//!     reject 1         refuse at once, with 552; the default
//!     reject 0         refuse nothing; write to the log what would be refused
//!     reject naughty   leave it to the plugin naughty to refuse the message
//!     reject_type      perm, temp, disconnect or temp_disconnect; perm by default
//!
//! SEE ALSO
//!     bogus_bounce, loop, naughty
//! ```

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};
use crate::hook::{Args, DECLINED, Hooks, Session, Verdict};
use crate::mail::Header;
use crate::mail::dates;

/// Fields of which a message has at most one (RFC 5322 3.6).
const SINGULAR: [&str; 11] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-Id",
    "In-Reply-To",
    "References",
    "Subject",
];

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let rules = Rules::from_args(args)?;
    hooks.data_post(move |session| judge(session, &rules));
    Ok(())
}

struct Rules {
    required: Vec<String>,
    past: Option<SignedDuration>,
    future: Option<SignedDuration>,
}

impl Rules {
    fn from_args(args: &Args) -> Result<Rules> {
        let lone = args.positional().len() == 1 && args.named("days").is_none();
        if !lone {
            args.only(&["require", "past", "future", "days"])?;
        }
        let both = if lone { args.get(0) } else { args.named("days") };
        let days = |name: &str| {
            let text = args.named(name).or(both);
            text.map(|text| days(name, text)).transpose().map(Option::flatten)
        };
        let required = args.named("require").unwrap_or("From").split(',').map(str::trim);
        let required = required.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Rules { required, past: days("past")?, future: days("future")? })
    }
}

/// A number of days; None for 0, which is no limit.
fn days(name: &str, text: &str) -> Result<Option<SignedDuration>> {
    let number: u16 = text.parse().map_err(|_| Error::value(name, text, "a number of days"))?;
    Ok((number > 0).then(|| SignedDuration::from_hours(24 * i64::from(number))))
}

fn judge(session: &mut Session, rules: &Rules) -> Verdict {
    if session.transaction.body.is_empty() {
        return session.get_reject_logged("You must send some data first", "no data");
    }
    // Our own Received field is there already, so the message as it was received counts.
    if session.transaction.body.start() == 0 {
        return session.get_reject_logged("Headers are missing", "missing headers");
    }
    if session.is_immune() {
        return DECLINED;
    }
    let header = &session.transaction.header;
    let mut wrong = missing(header, &rules.required);
    wrong.extend(repeated(header));
    let date = header.get("Date").map(|date| date.trim().to_owned()).unwrap_or_default();
    wrong.extend(bad_date(session, &date, rules));
    for _ in &wrong {
        session.adjust_karma(-1);
    }
    if wrong.is_empty() {
        return session.pass("");
    }
    session.get_reject_logged(&wrong.join("\n"), wrong.join("; "))
}

fn missing(header: &Header, required: &[String]) -> Vec<String> {
    let is_there = |name: &str| header.get(name).is_some_and(|value| !value.trim().is_empty());
    let missing = required.iter().filter(|name| !is_there(name));
    missing.map(|name| format!("We require a valid {name} header")).collect()
}

fn repeated(header: &Header) -> impl Iterator<Item = String> {
    let repeated = SINGULAR.iter().filter(|name| header.count(name) > 1);
    repeated.map(|name| format!("Only one {name} header allowed. See RFC 5322, Section 3.6"))
}

fn bad_date(session: &Session, text: &str, rules: &Rules) -> Option<String> {
    if text.is_empty() || (rules.past.is_none() && rules.future.is_none()) {
        return None;
    }
    let Some(date) = dates::parse(text) else {
        session.skip(format_args!("date not parseable ({text})"));
        return None;
    };
    let age = Timestamp::now().duration_since(date);
    if rules.past.is_some_and(|most| age > most) {
        return Some("The Date header is too far in the past".into());
    }
    let is_ahead = rules.future.is_some_and(|most| -age > most);
    is_ahead.then(|| "The Date header is too far in the future".into())
}

#[cfg(test)]
mod tests {
    use crate::hook::{Code, Hook, KARMA, NAUGHTY, Verdict};
    use crate::testing::Trial;

    const GOOD: &str = "From: a@example.net\nDate: Mon, 23 Nov 2026 12:00:00 +0000\n\ntext\n";
    const OLD: &str = "From: a@example.net\nDate: Tue, 14 Nov 1995 12:00:00 +0000\n\ntext\n";
    const EARLY: &str = "From: a@example.net\nDate: Wed, 14 Nov 2125 12:00:00 +0000\n\ntext\n";

    fn verdict(line: &str, message: &str) -> Verdict {
        let mut trial = Trial::new(line, &[]);
        trial.message(message);
        trial.plain(Hook::DataPost)
    }

    #[test]
    fn from_is_required_and_others_on_demand() {
        assert_eq!(verdict("headers", GOOD).code(), Code::Declined);
        for (line, message, name) in [
            ("headers", "Date: now\n\n", "From"),
            ("headers", "From:  \nTo: b\n\n", "From"),
            ("headers require Date", "From: a\n\n", "Date"),
            ("headers require from,subject", "From: a\n\n", "subject"),
            ("check_basicheaders require X-A", "From: a\n\n", "X-A"),
        ] {
            let verdict = verdict(line, message);
            let text = format!("We require a valid {name} header");
            assert_eq!(verdict, Verdict::deny(text), "{line}: {message}");
        }
    }

    #[test]
    fn fields_that_there_is_one_of_must_not_be_repeated() {
        let mut trial = Trial::new("headers require From,Date", &[]);
        trial
            .message("From: a\nto: b\nTo: c\nSubject: x\nSUBJECT: x\nReceived: x\nReceived: y\n\n");
        let verdict = trial.plain(Hook::DataPost);
        let lines: Vec<_> = verdict.text().lines().collect();
        assert_eq!(
            lines,
            [
                "We require a valid Date header",
                "Only one To header allowed. See RFC 5322, Section 3.6",
                "Only one Subject header allowed. See RFC 5322, Section 3.6",
            ]
        );
        assert_eq!(trial.session.connection.notes.get(KARMA), Some(-3));
    }

    #[test]
    fn dates_far_away_are_refused_where_that_is_wanted() {
        let past = Verdict::deny("The Date header is too far in the past");
        let future = Verdict::deny("The Date header is too far in the future");
        for (args, old, early) in [
            ("", None, None),
            ("past 0 future 0", None, None),
            ("past 5", Some(&past), None),
            ("future 1", None, Some(&future)),
            ("past 5 future 1", Some(&past), Some(&future)),
            ("days 5", Some(&past), Some(&future)),
            ("5", Some(&past), Some(&future)),
            ("past 60000 future 60000", None, None),
        ] {
            let line = format!("headers {args}");
            let declined = Verdict::declined("");
            assert_eq!(&verdict(&line, OLD), old.unwrap_or(&declined), "{line}");
            assert_eq!(&verdict(&line, EARLY), early.unwrap_or(&declined), "{line}");
        }
    }

    #[test]
    fn a_date_that_nobody_can_read_passes() {
        let mut trial = Trial::new("headers past 5 require From,Date", &[]);
        trial.message("From: a\nDate: some day\n\n");
        assert_eq!(trial.plain(Hook::DataPost).code(), Code::Declined);
        assert!(trial.log().contains("headers: skip, date not parseable (some day)"));
        assert!(trial.log().contains("headers: pass"));
    }

    #[test]
    fn reject_says_whether_and_how() {
        let mut tolerant = Trial::new("headers reject 0 reject_type temp require Date", &[]);
        tolerant.message("From: a\n\n");
        assert_eq!(tolerant.plain(Hook::DataPost).code(), Code::Declined);
        assert_eq!(tolerant.session.connection.notes.get(NAUGHTY), None);
        assert!(tolerant.log().contains("fail, tolerated, We require a valid Date header"));
        let mut later = Trial::new("headers reject naughty reject_type temp", &[]);
        later.message("To: b\n\n");
        assert_eq!(later.plain(Hook::DataPost).code(), Code::Declined);
        let kept = later.session.connection.notes.get(NAUGHTY);
        assert_eq!(kept.as_deref(), Some("We require a valid From header"));
        assert_eq!(verdict("headers reject_type temp", "To: b\n\n").code(), Code::DenySoft);
    }

    #[test]
    fn nothing_and_no_header_are_refused_even_from_friends() {
        let mut trial = Trial::new("headers", &[]);
        trial.session.connection.relay_client = true;
        let empty = trial.plain(Hook::DataPost);
        assert_eq!(empty, Verdict::deny("You must send some data first"));
        trial.message("\ntext\n");
        assert_eq!(trial.plain(Hook::DataPost), Verdict::deny("Headers are missing"));
        trial.message("To: b\n\n");
        assert_eq!(trial.plain(Hook::DataPost).code(), Code::Declined);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (line, why) in [
            ("headers past soon", "argument past has the value 'soon'"),
            ("headers -1", "argument past has the value '-1'"),
            ("headers demand From", "unknown argument 'demand'"),
            ("headers past 1 future", "argument future has no value"),
        ] {
            let error = Trial::load(line, &[]).err().unwrap_or_else(|| panic!("{line}"));
            assert!(error.to_string().contains(why), "{line}: {error}");
        }
    }
}
