//! Which names belong together: a walk up the tree of names (RFC 9989 4.10).

use super::record::{Public, Record, question};
use crate::dns::{Answer, Dns, Question};

/// The most names that are asked on a walk.
const MOST_NAMES: usize = 8;

/// The records on the way from a name to the root.
#[derive(Debug)]
pub(super) struct Walk {
    /// The names that have a record, the longest first.
    records: Vec<(String, Record)>,
    domain: String,
    /// Why the rest of the way, above the name where it began, is not known.
    pub(super) failed: Option<String>,
}

impl Walk {
    /// Walks up from `domain`, whose name is in lower case.
    ///
    /// # Errors
    ///
    /// Nobody knows at the moment whether the name has a record.
    pub(super) fn from(dns: &dyn Dns, domain: &str) -> Result<Walk, String> {
        let names = names(domain);
        let answers = dns.ask(&names.iter().map(|name| question(name)).collect::<Vec<_>>());
        let (mut records, mut failed) = (Vec::new(), None);
        for (name, answer) in names.iter().zip(answers) {
            if let Answer::Failed(why) = answer {
                let why = format!("_dmarc.{name}: {why}");
                if *name == domain {
                    return Err(why);
                }
                failed = Some(why);
                break;
            }
            let Some(record) = Record::of(&answer) else { continue };
            let ends = record.public != Public::Unsaid;
            records.push(((*name).to_owned(), record));
            if ends {
                break;
            }
        }
        Ok(Walk { records, domain: domain.to_owned(), failed })
    }

    /// A name on the way and its record, if it has one.
    pub(super) fn named(&self, name: &str) -> Option<(&str, &Record)> {
        let found = self.records.iter().find(|(known, _)| known == name);
        found.map(|(name, record)| (name.as_str(), record))
    }

    /// The record that counts for the name where the walk began (RFC 9989 4.10.1), and where it is:
    /// its own, or the organization's, or that of the public domain above.
    pub(super) fn policy(&self) -> Option<(&str, &Record)> {
        let public = || {
            let found = self.records.iter().find(|(_, record)| record.public == Public::Yes);
            found.map(|(name, record)| (name.as_str(), record))
        };
        self.named(&self.domain).or_else(|| self.named(&self.organization())).or_else(public)
    }

    /// The domain of the organization to which the name belongs (RFC 9989 4.10.2).
    pub(super) fn organization(&self) -> String {
        for (name, record) in &self.records {
            match record.public {
                Public::No => return name.clone(),
                Public::Yes if *name != self.domain => return self.one_below(name),
                _ => {}
            }
        }
        self.records.last().map_or_else(|| self.domain.clone(), |(name, _)| name.clone())
    }

    /// The name on the way that has one label more than `above`.
    fn one_below(&self, above: &str) -> String {
        let rest = self.domain.strip_suffix(above).and_then(|rest| rest.strip_suffix('.'));
        let label = rest.map(|rest| rest.rsplit('.').next().unwrap_or(rest));
        label.map_or_else(|| self.domain.clone(), |label| format!("{label}.{above}"))
    }
}

/// The names that are asked on a walk from `domain`.
fn names(domain: &str) -> Vec<&str> {
    let mut names = vec![domain];
    let mut rest = domain;
    while let Some((_, above)) = rest.split_once('.') {
        rest = above;
        // A long name is cut to seven labels at once.
        if above.split('.').count() < MOST_NAMES {
            names.push(above);
        }
    }
    names
}

/// What will be asked on a walk from `domain`, to be asked together with other questions.
pub(super) fn questions(domain: &str) -> Vec<Question> {
    names(domain).into_iter().map(question).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(names("a.b.example"), ["a.b.example", "b.example", "example"]);
        let long = names("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(long.len(), MOST_NAMES);
        assert_eq!(long[1], "g.h.i.j.mail.example.com");
        let eight = names("a.b.c.d.e.f.g.h");
        assert_eq!((eight.len(), eight[1]), (8, "b.c.d.e.f.g.h"));
    }
}
