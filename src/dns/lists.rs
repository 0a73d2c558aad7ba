//! Lists of addresses and names that are asked through the domain name system (RFC 5782).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{Answer, Dns, Kind, Question};

/// A list, as a line of a file names it: `ZONE[=CODES][*WEIGHT][:TEXT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// What is said to those whom it lists, with %IP% for the address; None: what the list says.
    pub text: Option<String>,
    /// How much an entry counts.
    pub weight: i64,
    /// Which answers count; empty: all.
    codes: Vec<Codes>,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// It does not list the address or name.
    Absent,
    /// It does; the text is the list's own, if it has one.
    Listed(Option<String>),
    /// It does not say: there is no answer, or the answer is an error of the list.
    Failed(String),
}

/// `127.0.0.2`, or with a range as last part, `127.0.0.2..11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Codes {
    first: Ipv4Addr,
    last: u8,
}

impl Zone {
    /// Reads a line.  The text follows after a colon, or, if `blanks`, after white space as well.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(line: &str, blanks: bool) -> Result<Zone, String> {
        let ends = |c: char| c == ':' || (blanks && c.is_whitespace());
        let (rest, text) = match line.split_once(ends) {
            Some((zone, text)) => (zone.trim_end(), Some(text.trim()).filter(|t| !t.is_empty())),
            None => (line.trim_end(), None),
        };
        let (rest, weight) = match rest.split_once('*') {
            Some((rest, weight)) => {
                (rest, weight.parse().map_err(|_| format!("'{weight}' is not a weight"))?)
            }
            None => (rest, 1),
        };
        let (name, codes) = match rest.split_once('=') {
            Some((name, codes)) => (name, codes.split(',').map(Codes::parse).collect()),
            None => (rest, Ok(Vec::new())),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = name.trim_matches('.').to_ascii_lowercase();
        if name.is_empty() || !name.contains('.') || !name.chars().all(is_name) {
            return Err(format!("'{name}' is not the name of a list"));
        }
        Ok(Zone { name, text: text.map(str::to_owned), weight, codes: codes? })
    }

    /// What is asked about `what`, a reversed address or a name: whether it is listed, and why.
    fn questions(&self, what: &str) -> [Question; 2] {
        let name = format!("{what}.{}", self.name);
        [Question::new(&name, Kind::A), Question::new(&name, Kind::Txt)]
    }

    fn listing(&self, address: &Answer, text: &Answer) -> Listing {
        let (found, failed) = entries(address);
        let counts =
            |ip: Ipv4Addr| self.codes.is_empty() || self.codes.iter().any(|code| code.contain(ip));
        if found.into_iter().any(counts) {
            let own = text.texts().next().map(String::from_utf8_lossy);
            return Listing::Listed(own.map(std::borrow::Cow::into_owned));
        }
        failed.map_or(Listing::Absent, Listing::Failed)
    }
}

/// The addresses of an answer that are entries, and why there may be others: the list does not
/// answer, or answers with an error.  Only 127.0.0.0/8 is an answer, and 127.255.255.0/24 is an error
/// of the list, as is 127.0.0.1, which no list has (RFC 5782 5).
pub fn entries(answer: &Answer) -> (Vec<Ipv4Addr>, Option<String>) {
    let mut failed = match answer {
        Answer::Failed(why) => Some(why.clone()),
        _ => None,
    };
    let mut found = Vec::new();
    for ip in answer.addresses() {
        match ip {
            IpAddr::V4(ip) if ip.octets()[..3] == [127, 255, 255] => {
                failed = Some(format!("the list answers with an error, {ip}"));
            }
            IpAddr::V4(ip) if ip.octets()[0] == 127 && ip != Ipv4Addr::LOCALHOST => found.push(ip),
            _ => failed = Some(format!("{ip} is not an answer of a list")),
        }
    }
    (found, failed)
}

/// What will be asked about `what`, to be asked together with other questions.
pub fn questions(zones: &[Zone], what: &str) -> Vec<Question> {
    zones.iter().flat_map(|zone| zone.questions(what)).collect()
}

/// Asks all lists about `what`, a reversed address or a name, at once, and `more` with them.
pub fn ask(dns: &dyn Dns, zones: &[Zone], what: &str, more: &[Question]) -> Vec<Listing> {
    let mut questions = questions(zones, what);
    questions.extend_from_slice(more);
    let answers = dns.ask(&questions);
    let pairs = answers.chunks_exact(2).zip(zones);
    pairs.map(|(pair, zone)| zone.listing(&pair[0], &pair[1])).collect()
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Codes {
    fn parse(text: &str) -> Result<Codes, String> {
        let wrong = || format!("'{text}' is not an answer of a list (127.0.0.2, or 127.0.0.2..11)");
        let (first, last) = match text.split_once("..") {
            Some((first, last)) => (first, Some(last)),
            None => (text, None),
        };
        let first: Ipv4Addr = first.parse().map_err(|_| wrong())?;
        let own = first.octets()[3];
        let last = last.map_or(Ok(own), str::parse).map_err(|_| wrong())?;
        if first.octets()[0] != 127 || last < own {
            return Err(wrong());
        }
        Ok(Codes { first, last })
    }

    fn contain(self, ip: Ipv4Addr) -> bool {
        let (first, ip) = (self.first.octets(), ip.octets());
        first[..3] == ip[..3] && (first[3]..=self.last).contains(&ip[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Table;

    fn listing(zone: &str, records: &str) -> Listing {
        let zone = Zone::parse(zone, false).unwrap();
        ask(&Table::new(records), &[zone], "1.2.0.192", &[]).remove(0)
    }

    #[test]
    fn zones_are_read() {
        let zone = Zone::parse("Zen.Example=127.0.0.2..11,127.0.0.20*3:See http://x/?%IP%", false);
        let zone = zone.unwrap();
        assert_eq!((zone.name.as_str(), zone.weight), ("zen.example", 3));
        assert_eq!(zone.text.as_deref(), Some("See http://x/?%IP%"));
        assert_eq!(Zone::parse("a.example is bad", true).unwrap().text.as_deref(), Some("is bad"));
        for wrong in [
            "",
            "example",
            "a.example=1.2.3.4",
            "a.example*x",
            "a b.example",
            "a.example=127.0.0.9..2",
            ":text",
        ] {
            assert!(Zone::parse(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_answers_of_lists_count() {
        let at = "1.2.0.192.zen.example";
        let answered = |ip: &str| listing("zen.example", &format!("{at} A {ip}\n{at} TXT why"));
        assert_eq!(answered("127.0.0.2"), Listing::Listed(Some("why".into())));
        assert!(matches!(answered("127.255.255.254"), Listing::Failed(_)));
        assert!(matches!(answered("127.0.0.1"), Listing::Failed(_)));
        assert!(matches!(answered("192.0.2.80"), Listing::Failed(_)));
        assert_eq!(listing("zen.example", ""), Listing::Absent);
        assert!(matches!(listing("zen.example", &format!("{at} A failed")), Listing::Failed(_)));
        let filtered = |ip: &str| listing("zen.example=127.0.0.4..7", &format!("{at} A {ip}"));
        assert_eq!(filtered("127.0.0.5"), Listing::Listed(None));
        assert_eq!(filtered("127.0.0.2"), Listing::Absent);
        let two = format!("{at} A 127.0.0.2\n{at} A 127.0.0.7");
        assert_eq!(listing("zen.example=127.0.0.4..7", &two), Listing::Listed(None));
    }
}
