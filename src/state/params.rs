//! The parameters of a command of the envelope.

/// The parameters of a MAIL or RCPT command (RFC 5321 4.1.2): keywords in lower case, each with
/// its value where it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, Option<String>)>);

impl Params {
    /// The value of a keyword; `Some("")` for a keyword without a value.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(keyword))?;
        Some(found.1.as_deref().unwrap_or(""))
    }

    /// How often a keyword is there.
    pub fn count(&self, keyword: &str) -> usize {
        self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(keyword)).count()
    }

    /// The same parameters but those with these keywords.
    pub fn without(mut self, keywords: &[&str]) -> Params {
        self.0.retain(|(key, _)| !keywords.iter().any(|word| key.eq_ignore_ascii_case(word)));
        self
    }

    /// Sets the value of a keyword, in the place of the one that is there.
    pub fn set(&mut self, keyword: &str, value: Option<&str>) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(keyword));
        self.0.push((keyword.to_ascii_lowercase(), value.map(str::to_owned)));
    }

    /// The parameters as `key=value` words.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
    }

    /// Reads `KEY=value` words.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Params {
        let pair = |word: &str| match word.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
            None => (word.to_ascii_lowercase(), None),
        };
        Params(words.into_iter().map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_without_regard_to_case() {
        let params = Params::from_words(["SIZE=10", "SMTPUTF8"]);
        assert_eq!(params.get("size"), Some("10"));
        assert_eq!(params.get("smtputf8"), Some(""));
        assert_eq!(params.get("body"), None);
        let params = Params::from_words(["RET=FULL", "X=1", "ret=HDRS"]);
        assert_eq!((params.count("Ret"), params.count("size")), (2, 0));
        assert_eq!(params.without(&["ret"]), Params::from_words(["X=1"]));
    }
}
