//! Do lists answer as they should?  Each has an entry for tests, and one that it never has
//! (RFC 5782 5).

use super::lists::entries;
use super::{Answer, Dns, Kind, Question};

/// What a list has entries for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Addresses.
    Addresses,
    /// Names.
    Names,
}

impl Of {
    /// What every list has, and what none has: as it is asked, and as people know it.
    fn tests(self) -> [(&'static str, &'static str); 2] {
        match self {
            Of::Addresses => [("2.0.0.127", "127.0.0.2"), ("1.0.0.127", "127.0.0.1")],
            Of::Names => [("test", "the name TEST"), ("invalid", "the name INVALID")],
        }
    }
}

/// What is wrong with lists, a line each; all are asked at once.
pub fn faults(dns: &dyn Dns, lists: &[(String, Of)]) -> Vec<String> {
    let questions = lists.iter().flat_map(|(zone, of)| {
        of.tests().map(|(entry, _)| Question::new(&format!("{entry}.{zone}"), Kind::A))
    });
    let answers = dns.ask(&questions.collect::<Vec<_>>());
    let pairs = answers.chunks_exact(2).zip(lists);
    pairs.filter_map(|(pair, (zone, of))| fault(zone, *of, pair)).collect()
}

fn fault(zone: &str, of: Of, answers: &[Answer]) -> Option<String> {
    let [(_, always), (_, never)] = of.tests();
    let (found, failed) = entries(&answers[0]);
    if !entries(&answers[1]).0.is_empty() {
        Some(format!("the list {zone} has an entry for {never}: it may list everything"))
    } else if let Some(why) = failed.filter(|_| found.is_empty()) {
        Some(format!("the list {zone} cannot be asked: {why}"))
    } else if found.is_empty() {
        Some(format!("the list {zone} has no entry for {always}: it may list nothing"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Table;

    #[test]
    fn lists_that_answer_wrongly_are_found() {
        let table = Table::new(
            "2.0.0.127.good.test A 127.0.0.2\ntest.names.test A 127.0.0.2\n\
             2.0.0.127.all.test A 127.0.0.2\n1.0.0.127.all.test A 127.0.0.2\n\
             2.0.0.127.blocked.test A 127.255.255.254\n2.0.0.127.away.test A failed\n\
             2.0.0.127.parked.test A 192.0.2.80\n1.0.0.127.parked.test A 192.0.2.80",
        );
        let of = |zone: &str, of| faults(&table, &[(zone.to_owned(), of)]).concat();
        assert_eq!(of("good.test", Of::Addresses), "");
        assert_eq!(of("names.test", Of::Names), "");
        assert!(of("good.test", Of::Names).contains("no entry for the name TEST"));
        assert!(of("all.test", Of::Addresses).contains("may list everything"));
        assert!(of("blocked.test", Of::Addresses).contains("answers with an error"));
        assert!(of("away.test", Of::Addresses).contains("cannot be asked: no answer in time"));
        assert!(of("parked.test", Of::Addresses).contains("192.0.2.80 is not an answer"));
        assert!(of("none.test", Of::Addresses).contains("may list nothing"));
    }
}
