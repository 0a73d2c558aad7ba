//! What MTA-STS says (RFC 8461): the record that there is a policy, and the policy.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest that a policy is remembered, whatever it says (RFC 8461 3.2).
const LONGEST: u64 = 31_557_600;

/// The most patterns of a policy that are kept.
const MOST: usize = 100;

/// What becomes of a server that does not do what the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It gets no mail.
    Enforce,
    /// The log is told.
    Testing,
    /// Nothing.
    None,
}

const MODES: [(&str, Mode); 3] =
    [("enforce", Mode::Enforce), ("testing", Mode::Testing), ("none", Mode::None)];

/// A policy, under the id of its record.  As a text it is one line, in which it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) id: String,
    pub(crate) mode: Mode,
    /// How long it holds.
    pub(crate) age: Duration,
    /// The hosts that may take the mail; `*.` in front stands for one label.
    patterns: Vec<String>,
}

/// The id of the policy that there is (RFC 8461 3.1): None where not exactly one record is about that.
pub(crate) fn id_of<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let is_own = |text: &&[u8]| {
        text.strip_prefix(b"v=STSv1").is_some_and(|rest| rest.trim_ascii_start().starts_with(b";"))
    };
    let mut own = texts.filter(is_own);
    let (record, None) = (own.next()?, own.next()) else { return None };
    let fields = record.split(|octet| *octet == b';').skip(1);
    let id = fields.filter_map(|field| field.trim_ascii().strip_prefix(b"id=")).next()?;
    let is_id = (1..=32).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    is_id.then(|| String::from_utf8_lossy(id).into_owned())
}

impl Policy {
    /// Reads the text of a policy (RFC 8461 3.2).
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(id: &str, text: &[u8]) -> Result<Policy, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        let fields = || text.lines().filter_map(|line| line.split_once(':'));
        let fields = || fields().map(|(name, value)| (name.trim(), value.trim()));
        // Of what is said twice the first counts.
        let field = |wanted| fields().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        if field("version") != Some("STSv1") {
            return Err("it is not of the version STSv1");
        }
        let mode = field("mode").ok_or("it has no mode")?;
        let mode = MODES.iter().find(|(name, _)| *name == mode).ok_or("it has an unknown mode")?.1;
        let age = field("max_age").ok_or("it has no max_age")?;
        let is_number = (1..=10).contains(&age.len()) && age.bytes().all(|b| b.is_ascii_digit());
        let age =
            age.parse::<u64>().ok().filter(|_| is_number).ok_or("its max_age is not a number")?;
        let patterns = fields().filter(|(name, _)| *name == "mx").map(|(_, value)| value);
        let patterns: Vec<String> =
            patterns.map(|pattern| pattern.trim_end_matches('.').to_ascii_lowercase()).collect();
        if patterns.len() > MOST {
            return Err("it has too many mx");
        }
        if !patterns.iter().all(|pattern| is_pattern(pattern)) {
            return Err("it has an mx that is not a name");
        }
        if patterns.is_empty() && mode != Mode::None {
            return Err("it has no mx");
        }
        let age = Duration::from_secs(age.min(LONGEST));
        Ok(Policy { id: id.to_owned(), mode, age, patterns })
    }

    /// May a host of that name take the mail (RFC 8461 4.1)?
    pub(crate) fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let rest = host.split_once('.').map(|(_, rest)| rest);
        self.patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => rest == Some(domain),
            None => *pattern == host,
        })
    }
}

fn is_pattern(pattern: &str) -> bool {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let is_label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = MODES.iter().find(|(_, mode)| *mode == self.mode).map_or("none", |row| row.0);
        write!(f, "{} {mode} {} {}", self.id, self.age.as_secs(), self.patterns.join(","))
    }
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Policy, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let [id, mode, age, patterns] = words[..] else { return Err(()) };
        let mode = MODES.iter().find(|(name, _)| *name == mode).ok_or(())?.1;
        let age = Duration::from_secs(age.parse().map_err(|_| ())?);
        let patterns = patterns.split(',').filter(|pattern| !pattern.is_empty());
        let patterns = patterns.map(str::to_owned).collect();
        Ok(Policy { id: id.to_owned(), mode, age, patterns })
    }
}

/// For the fuzz target: a record and a policy are read or not, and what is remembered is the same again.
pub(crate) fn read_any(record: &[u8], text: &[u8]) {
    let id = id_of([record].into_iter());
    if let Ok(policy) = Policy::parse(id.as_deref().unwrap_or("id"), text) {
        assert_eq!(policy.to_string().parse(), Ok(policy.clone()));
        assert!(policy.age <= Duration::from_secs(LONGEST));
        assert!(policy.mode == Mode::None || !policy.patterns.is_empty());
        assert!(!policy.allows("") && !policy.allows("."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n\
        mx: *.example.net\r\nmx: Backup.Example.com.\r\nmax_age: 604800\r\n";

    #[test]
    fn there_is_a_policy_where_one_record_says_so() {
        let id = |texts: &[&str]| id_of(texts.iter().map(|text| text.as_bytes()));
        for texts in [
            &["v=STSv1; id=20160831085700Z;"][..],
            &["v=STSv1;id=20160831085700Z"],
            &["v=STSv1 ; x=y; id=20160831085700Z ; id=2"],
            &["v=spf1 -all", "v=STSv1; id=20160831085700Z;", "v=STSv10; id=1"],
        ] {
            assert_eq!(id(texts).as_deref(), Some("20160831085700Z"), "{texts:?}");
        }
        let long = format!("v=STSv1; id={};", "1".repeat(33));
        for texts in [
            &[][..],
            &["v=STSv1; id=1;", "v=STSv1; id=1;"],
            &["v=STSv1;"],
            &["v=STSv1; id=;"],
            &["v=STSv1; id=a b;"],
            &["id=1; v=STSv1"],
            &["v=STSv2; id=1"],
            &[&long],
        ] {
            assert_eq!(id(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn a_policy_is_read_remembered_and_applied() {
        let policy = Policy::parse("1", GOOD.as_bytes()).unwrap();
        assert_eq!((policy.mode, policy.age.as_secs()), (Mode::Enforce, 604_800));
        assert_eq!(policy.to_string().parse(), Ok(policy.clone()));
        for host in ["mail.example.com", "MAIL.example.com.", "a.example.net", "backup.example.com"]
        {
            assert!(policy.allows(host), "{host}");
        }
        for host in ["example.net", "a.b.example.net", "xmail.example.com", "", "example.com"] {
            assert!(!policy.allows(host), "{host}");
        }
        let none = Policy::parse("1", b"version: STSv1\nmode: none\nmax_age: 9999999999").unwrap();
        assert_eq!((none.mode, none.age.as_secs()), (Mode::None, LONGEST));
        assert_eq!(none.to_string().parse(), Ok(none.clone()));
        // Fields are known by their names, and of two the first counts.
        let odd = "mode: testing\nfoo: bar\n\nmode: enforce\nmx:a.test\nmax_age:0\nversion:STSv1";
        assert_eq!(Policy::parse("1", odd.as_bytes()).unwrap().mode, Mode::Testing);
    }

    #[test]
    fn what_is_no_policy_says_why() {
        let many = format!("{GOOD}{}", "mx: a.test\n".repeat(101));
        for (text, why) in [
            (GOOD.replace("STSv1", "STSv2"), "it is not of the version STSv1"),
            ("<html>404: not found</html>".into(), "it is not of the version STSv1"),
            (GOOD.replace("mode", "mood"), "it has no mode"),
            (GOOD.replace("enforce", "force"), "it has an unknown mode"),
            (GOOD.replace("max_age", "age"), "it has no max_age"),
            (GOOD.replace("604800", "+1"), "its max_age is not a number"),
            (GOOD.replace("604800", "99999999999"), "its max_age is not a number"),
            (GOOD.replace("mx", "xm"), "it has no mx"),
            (GOOD.replace("*.", "*.*."), "it has an mx that is not a name"),
            (GOOD.replace("mail.example.com", "a,b"), "it has an mx that is not a name"),
            (many, "it has too many mx"),
        ] {
            assert_eq!(Policy::parse("1", text.as_bytes()), Err(why), "{text}");
        }
        assert_eq!(Policy::parse("1", b"\xff"), Err("it is not UTF-8"));
    }
}
