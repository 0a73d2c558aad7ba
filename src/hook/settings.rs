//! The universal arguments: what they are and what they say for one plugin.

use std::time::Duration;

use crate::error::{Error, Result, meant};
use crate::hook::args::truth;
use crate::hook::verdict::{Decision, Failure};
use crate::hook::{Args, Code, DECLINED};
use crate::log::Level;

/// How long a handler may take where its plugin has no argument `timeout`.  Senders wait ten
/// minutes for the answer to the end of DATA (RFC 5321 4.5.3.2.6).
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// What the universal arguments of a plugin say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `reject`: whether to refuse; None where it is not given and has no default
    /// ([`crate::hook::Hooks::default_reject`]), or where the plugin reads it itself
    /// ([`crate::hook::Hooks::reads_reject`]).
    pub reject: Option<Reject>,
    /// `reject_type`: with what to refuse.
    pub reject_type: Option<Code>,
    /// `timeout SECONDS`: how long one handler may take.
    pub timeout: Duration,
    /// How much later the process is ended, where somebody else looks after `timeout`.
    pub(crate) grace: Duration,
    pub(crate) loglevel: Option<Adjust>,
    pub(crate) on_error: OnError,
}

/// What `reject` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// 0: refuse nothing.
    No,
    /// 1: refuse at once.
    Now,
    /// naughty: leave it to the plugin of that name.
    Later,
}

/// The words of [`Reject`] besides yes and no.
const REJECTS: [(&str, Reject); 2] = [
    ("naughty", Reject::Later),
    // As some Perl plugins say it.
    ("connect", Reject::Now),
];

/// `loglevel N`, `loglevel +N`, `loglevel -N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adjust {
    To(Level),
    By(i64),
}

/// How long a handler may take outside of sessions, where others wait for it, unless it is native.
pub(crate) const PARENT_LIMIT: Duration = Duration::from_secs(2);

/// `on_error tempfail` or `on_error ignore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    Tempfail,
    Ignore,
}

impl OnError {
    /// Its word among the arguments.
    pub(crate) fn word(self) -> &'static str {
        ON_ERROR.iter().find(|(_, own)| *own == self).map_or("", |(word, _)| word)
    }
}

/// The words of [`OnError`].
const ON_ERROR: [(&str, OnError); 2] =
    [("tempfail", OnError::Tempfail), ("ignore", OnError::Ignore)];

impl Default for Settings {
    /// What holds without any universal argument.
    fn default() -> Settings {
        Settings {
            reject: None,
            reject_type: None,
            timeout: DEFAULT_TIMEOUT,
            grace: Duration::ZERO,
            loglevel: None,
            on_error: OnError::Tempfail,
        }
    }
}

impl Settings {
    /// The code that a single word says, where old configurations had it without its name:
    /// `dnsbl disconnect` for `dnsbl reject_type disconnect`.
    ///
    /// # Errors
    /// There is a single word, and it is no such code.
    pub fn lone_reject_type(args: &Args) -> Result<Option<Code>> {
        match args.positional().as_slice() {
            [word] => match reject_type(word) {
                Some(code) => Ok(Some(code)),
                None => {
                    let meant = meant(word, REJECT_TYPES.map(|(word, _)| word));
                    Err(Error::new(format!("unexpected argument '{word}'{meant}")))
                }
            },
            _ => Ok(None),
        }
    }

    /// Reads the universal arguments.
    ///
    /// # Errors
    /// All values that have no meaning.
    pub fn from_args(args: &Args) -> Result<Settings> {
        let mut errors = vec![];
        if let Some(name) = args.lacks_value() {
            errors.push(Error::new(format!("argument {name} has no value")));
        }
        let timeout = match args.parsed("timeout", DEFAULT_TIMEOUT.as_secs()) {
            Ok(0) => Err(Error::value("timeout", "0", "a number of seconds, at least 1")),
            timeout => timeout,
        };
        let timeout = or_note(timeout, &mut errors).unwrap_or(DEFAULT_TIMEOUT.as_secs());
        let on_error = args.one_of("on_error", &ON_ERROR, OnError::Tempfail);
        let on_error = or_note(on_error, &mut errors).unwrap_or(OnError::Tempfail);
        let reject_type = args.named("reject_type").and_then(|word| {
            let known = || REJECT_TYPES.map(|(word, _)| word);
            let code =
                reject_type(word).ok_or_else(|| Error::not_one_of("reject_type", word, &known()));
            or_note(code, &mut errors)
        });
        let loglevel = args.named("loglevel").map(adjustment);
        let loglevel = loglevel.and_then(|loglevel| or_note(loglevel, &mut errors));
        let reject = args.named("reject").map(reject);
        let reject = reject.and_then(|reject| or_note(reject, &mut errors));
        let timeout = Duration::from_secs(timeout);
        let grace = Duration::ZERO;
        let settings = Settings { reject, reject_type, timeout, grace, loglevel, on_error };
        Error::all(errors).map_or(Ok(settings), Err)
    }

    /// When a handler is overdue.
    pub(crate) fn limit(&self) -> Duration {
        self.timeout + self.grace
    }

    /// May this plugin refuse anything?  True unless it has `reject 0`.
    pub fn rejects(&self) -> bool {
        self.reject != Some(Reject::No)
    }

    /// Do handlers that fail count as if they had declined?
    pub fn ignores_errors(&self) -> bool {
        self.on_error == OnError::Ignore
    }

    /// What comes of a handler that failed.
    pub(crate) fn on_failure(&self, failure: Failure) -> Decision {
        match self.on_error {
            OnError::Tempfail => Err(failure),
            OnError::Ignore => Ok(DECLINED),
        }
    }

    pub(crate) fn adjust(&self, level: Level) -> Level {
        match self.loglevel {
            None => level,
            Some(Adjust::To(level)) => level,
            Some(Adjust::By(by)) => Level::from_number(level as i64 + by),
        }
    }
}

/// What is there, or else the reason why not among `errors`.
fn or_note<T>(value: Result<T>, errors: &mut Vec<Error>) -> Option<T> {
    value.map_err(|error| errors.push(error)).ok()
}

/// The words of `reject_type`.
const REJECT_TYPES: [(&str, Code); 6] = [
    ("perm", Code::Deny),
    ("hard", Code::Deny),
    ("temp", Code::DenySoft),
    ("soft", Code::DenySoft),
    ("disconnect", Code::DenyDisconnect),
    ("temp_disconnect", Code::DenySoftDisconnect),
];

/// The code that a word of `reject_type` stands for.
pub(crate) fn reject_type(word: &str) -> Option<Code> {
    let known = REJECT_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    known.map(|(_, code)| *code)
}

fn reject(word: &str) -> Result<Reject> {
    if let Some(yes) = truth(word) {
        return Ok(if yes { Reject::Now } else { Reject::No });
    }
    let found = REJECTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    found.map(|(_, reject)| *reject).ok_or_else(|| {
        let error = Error::value("reject", word, "0, 1, naughty");
        Error::new(format!("{error}{}", meant(word, REJECTS.map(|(word, _)| word))))
    })
}

fn adjustment(text: &str) -> Result<Adjust> {
    if let Some(by) = text.strip_prefix(['+', '-']) {
        let by: i64 = by.parse().map_err(|_| Error::value("loglevel", text, "N, +N, -N"))?;
        return Ok(Adjust::By(if text.starts_with('-') { -by } else { by }));
    }
    text.parse().map(Adjust::To).map_err(|why: String| Error::new(why).within("argument loglevel"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str) -> Result<Settings> {
        Settings::from_args(&Args::new(line.split_whitespace()))
    }

    #[test]
    fn universal_arguments_are_read() {
        let found = settings("reject naughty reject_type soft timeout 9 on_error ignore").unwrap();
        assert_eq!(found.reject, Some(Reject::Later));
        assert_eq!(found.reject_type, Some(Code::DenySoft));
        assert_eq!(found.timeout, Duration::from_secs(9));
        assert_eq!(found.on_error, OnError::Ignore);
        assert!(found.rejects() && !settings("reject 0").unwrap().rejects());
        for (word, reject) in [
            ("Naughty", Reject::Later),
            ("connect", Reject::Now),
            ("yes", Reject::Now),
            ("OFF", Reject::No),
            ("12", Reject::Now),
            ("0.5", Reject::Now),
        ] {
            assert_eq!(settings(&format!("reject {word}")).unwrap().reject, Some(reject));
        }
    }

    #[test]
    fn loglevels_are_set_or_shifted() {
        assert_eq!(settings("loglevel 3").unwrap().adjust(Level::Debug), Level::Error);
        assert_eq!(settings("loglevel +2").unwrap().adjust(Level::Warn), Level::Info);
        assert_eq!(settings("loglevel -2").unwrap().adjust(Level::Info), Level::Warn);
        assert_eq!(settings("loglevel -9").unwrap().adjust(Level::Info), Level::Emerg);
        assert_eq!(settings("").unwrap().adjust(Level::Info), Level::Info);
    }

    #[test]
    fn meaningless_values_are_refused() {
        for line in [
            "timeout 0",
            "timeout soon",
            "on_error shrug",
            "reject maybe",
            "reject_type no",
            "loglevel x",
        ] {
            let error = settings(line).unwrap_err().to_string();
            assert!(error.contains(line.split(' ').next_back().unwrap()), "{line}: {error}");
        }
        for line in ["timeout", "reject", "reject 0 LOGLEVEL", "wait 2 on_error"] {
            let name = line.split(' ').next_back().unwrap().to_lowercase();
            let error = settings(line).unwrap_err().to_string();
            assert_eq!(error, format!("argument {name} has no value"), "{line}");
        }
        let errors = settings("timeout 0 on_error ignroe reject_type x").unwrap_err().to_string();
        assert_eq!(errors.lines().count(), 3, "{errors}");
        assert!(errors.contains("; did you mean 'ignore'?"), "{errors}");
        assert_eq!(
            settings("reject noughty").unwrap_err().to_string(),
            "argument reject has the value 'noughty' (expected: 0, 1, naughty); did you mean 'naughty'?"
        );
    }
}
