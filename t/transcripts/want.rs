//! What a line of the server has to be.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

/// What a line of the server has to be.
#[derive(Debug)]
pub(crate) enum Want {
    Text(String),
    Exactly(String),
    Pattern(Regex),
}

impl Want {
    /// Is `line` as wanted?
    pub(crate) fn meets(&self, line: &str) -> bool {
        match self {
            Want::Text(text) => without_status(text) == without_status(line),
            Want::Exactly(text) => text == line,
            Want::Pattern(pattern) => pattern.is_match(&without_status(line)),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Want::Text(text) => write!(f, "{text}"),
            Want::Exactly(text) => write!(f, "{text} (exactly)"),
            Want::Pattern(pattern) => write!(f, "{pattern} (pattern)"),
        }
    }
}

/// A line of a reply without its enhanced status code (RFC 2034) and blanks at its end.
pub(crate) fn without_status(line: &str) -> String {
    static STATUS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^([245]\d\d[ -])[245]\.\d{1,3}\.\d{1,3} | \(#[245]\.\d{1,3}\.\d{1,3}\)\s*$|\s+$",
        )
        .expect("a constant")
    });
    STATUS.replace_all(line, "$1").into_owned()
}

/// A regular expression for a whole line.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{text})$")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_compared_as_its_kind_says() {
        let text = Want::Text("550 Relaying denied".to_string());
        assert!(text.meets("550 Relaying denied"));
        assert!(text.meets("550 5.7.1 Relaying denied"));
        assert!(text.meets("550 5.7.1 Relaying denied (#5.7.1)"));
        assert!(!text.meets("550-Relaying denied") && !text.meets("450 Relaying denied"));
        assert!(!text.meets("550 Relaying denied, really"));
        let exactly = Want::Exactly("250 2.0.0 OK".to_string());
        assert!(exactly.meets("250 2.0.0 OK") && !exactly.meets("250 OK"));
        let some = Want::Pattern(pattern("(501|553) .*").unwrap());
        assert!(some.meets("553 5.1.7 no") && !some.meets("550 553 no"));
    }
}
