//! What a handler answers.

use std::fmt;

use crate::hook::code::Code;
use crate::state::Params;

/// A code with the text for the client, which replaces the default text of the reply.  Lines of
/// the text become lines of the reply.  A text is anything that can be shown: a `&str`, a `String`,
/// `format_args!(...)`, an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    code: Code,
    text: String,
    /// What it gives beside its text; most give nothing.
    given: Option<Box<Given>>,
    failed: bool,
    ends: bool,
    reply: Option<u16>,
}

/// What a verdict gives beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Lines(Vec<String>),
    Path(String, Params),
}

/// Ask the next plugin.
pub const DECLINED: Verdict = Verdict::plain(Code::Declined);
/// Accepted.
pub const OK: Verdict = Verdict::plain(Code::Ok);
/// The plugin has answered the client itself, see [`super::Session::respond`].
pub const DONE: Verdict = Verdict::plain(Code::Done);

impl Verdict {
    /// Any code with a text.
    pub fn new(code: Code, text: impl fmt::Display) -> Verdict {
        Verdict { text: text.to_string(), ..Verdict::plain(code) }
    }

    /// The same to a client that authenticates, after `earlier` plugins have declined: where it is
    /// refused it is told what they say, so that nobody learns which plugin knows the user.
    pub(crate) fn told_as(self, earlier: &Verdict) -> Verdict {
        let is_refused = self.code.is_deny() || self.code == Code::Declined;
        match is_refused && !earlier.text.is_empty() {
            true => Verdict { text: earlier.text.clone(), ..self },
            false => self,
        }
    }

    /// DECLINED with a text, which is used where nobody else decides.
    pub fn declined(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::Declined, text)
    }

    /// The same, and nobody else is asked.
    pub(crate) fn undecided() -> Verdict {
        Verdict { ends: true, ..DECLINED }
    }

    /// Is no handler asked after this one?
    pub(crate) fn ends_chain(&self) -> bool {
        self.ends || self.code != Code::Declined
    }

    /// OK with a text.
    pub fn ok(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::Ok, text)
    }

    /// DENY: 5xx.
    pub fn deny(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::Deny, text)
    }

    /// DENYSOFT: 4xx.
    pub fn denysoft(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::DenySoft, text)
    }

    /// DENY_DISCONNECT: 5xx, then the connection is closed.
    pub fn deny_disconnect(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::DenyDisconnect, text)
    }

    /// DENYSOFT_DISCONNECT: 4xx, then the connection is closed.
    pub fn denysoft_disconnect(text: impl fmt::Display) -> Verdict {
        Verdict::new(Code::DenySoftDisconnect, text)
    }

    /// The plugin could not do its work.  It is logged with plugin and hook, and the client gets
    /// a temporary failure unless the plugin has the argument `on_error ignore`.
    pub fn failure(why: impl fmt::Display) -> Verdict {
        Verdict { failed: true, ..Verdict::new(Code::DenySoft, why) }
    }

    /// OK with values: the answer of `config` handlers.
    pub fn values(values: Vec<String>) -> Verdict {
        Verdict { given: Some(Box::new(Given::Lines(values))), ..Verdict::plain(Code::Ok) }
    }

    /// OK with a path and its parameters: the answer of `mail_parse` and `rcpt_parse` handlers.
    pub(crate) fn path(path: String, params: Params) -> Verdict {
        Verdict { given: Some(Box::new(Given::Path(path, params))), ..Verdict::plain(Code::Ok) }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text; empty where there is none.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Did the plugin fail rather than decide?
    pub fn is_failure(&self) -> bool {
        self.failed
    }

    /// The decision that a handler's answer stands for.
    pub(crate) fn decided(self) -> Decision {
        if self.failed { Err(Failure(self.text)) } else { Ok(self) }
    }

    /// The same code with another text.
    pub fn with_text(self, text: impl fmt::Display) -> Verdict {
        Verdict { text: text.to_string(), ..self }
    }

    /// The same text with another code.
    pub fn with_code(self, code: Code) -> Verdict {
        Verdict { code, ..self }
    }

    /// The same refusal with the code of its reply, 450 or 550 for one, where the hook's own is
    /// another of that class.  For plugins that pass on what another server said.
    pub fn with_reply(self, code: u16) -> Verdict {
        Verdict { reply: Some(code), ..self }
    }

    /// The code from [`Verdict::with_reply`].
    pub fn reply(&self) -> Option<u16> {
        self.reply
    }

    /// The values, or a path and its parameters as words.
    pub(crate) fn into_values(self) -> Vec<String> {
        match self.given.map(|given| *given) {
            None => vec![],
            Some(Given::Lines(lines)) => lines,
            Some(Given::Path(path, params)) => {
                std::iter::once(path).chain(params.words()).collect()
            }
        }
    }

    /// The path and its parameters, also where they were given as words.
    pub(crate) fn into_path(self) -> Option<(String, Params)> {
        match *self.given? {
            Given::Path(path, params) => Some((path, params)),
            Given::Lines(mut words) if !words.is_empty() => {
                let path = words.remove(0);
                Some((path, Params::from_words(words.iter().map(String::as_str))))
            }
            _ => None,
        }
    }

    const fn plain(code: Code) -> Verdict {
        Verdict { code, text: String::new(), given: None, failed: false, ends: false, reply: None }
    }
}

/// What comes of handlers: a verdict, or the failure of one of them.
pub(crate) type Decision = Result<Verdict, Failure>;

/// Why a handler has decided nothing.  Whoever runs the handlers has written it to the log.
#[derive(Debug, Clone)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl fmt::Display) -> Failure {
        Failure(why.to_string())
    }

    pub(crate) fn why(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FATAL PLUGIN ERROR: {}", self.0)
    }
}

/// A failure as plugins see it, without the reason, which is for the log.
static FAILED: Verdict = {
    let mut verdict = Verdict::plain(Code::DenySoft);
    verdict.failed = true;
    verdict
};

/// A decision as plugins see it.
pub(crate) fn verdict_of(decision: &Decision) -> &Verdict {
    decision.as_ref().unwrap_or(&FAILED)
}

/// What a handler may return: a verdict, a result whose error is the plugin's failure, or nothing
/// at all, which is DECLINED.
#[diagnostic::on_unimplemented(
    message = "a handler returns a Verdict, a Result with one, or nothing, but here it is `{Self}`",
    note = "`Verdict::deny(\"text\")` refuses with a text, and `Err(\"why\")` is a failure of the plugin"
)]
pub trait IntoVerdict {
    /// The verdict it stands for.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for () {
    fn into_verdict(self) -> Verdict {
        DECLINED
    }
}

impl<T: IntoVerdict, E: fmt::Display> IntoVerdict for Result<T, E> {
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(value) => value.into_verdict(),
            Err(error) => Verdict::failure(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_failure_and_nothing_is_declined() {
        let failed = Err::<Verdict, _>("disk full").into_verdict();
        assert!(failed.is_failure() && failed.code() == Code::DenySoft);
        assert_eq!(failed.text(), "disk full");
        assert_eq!(().into_verdict(), DECLINED);
    }

    /// Perl plugins give words, and are given words.
    #[test]
    fn a_path_and_its_parameters_are_words_as_well() {
        let words = ["<a@example.com>", "size=1", "smtputf8"];
        let params = Params::from_words(words[1..].iter().copied());
        let verdict = Verdict::path(words[0].into(), params.clone());
        assert_eq!(verdict.clone().into_path(), Some((words[0].to_owned(), params)));
        assert_eq!(verdict.clone().into_values(), words);
        let given = Verdict::values(words.map(str::to_owned).to_vec());
        assert_eq!(given.into_path(), verdict.into_path());
        assert_eq!(OK.into_path(), None);
    }

    #[test]
    fn one_half_can_be_changed() {
        let verdict = Verdict::deny("no").with_code(Code::DenyDisconnect);
        assert_eq!(verdict, Verdict::deny_disconnect("no"));
        assert_eq!(verdict.with_text("never"), Verdict::deny_disconnect("never"));
    }
}
