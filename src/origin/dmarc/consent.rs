//! Does somebody want reports on a domain that is not theirs (RFC 9990 4)?

use super::record;
use crate::dns::{Answer, Dns, Kind, Question};

/// The longest name (RFC 1035 2.3.4), as text.
const LONGEST: usize = 253;

/// What the domain says that is to get reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// It does not want them.
    No,
    /// It takes them.
    Yes,
    /// It takes them at these addresses (`rua=`), in the place of the one that was named.
    Instead(Vec<String>),
}

/// What `host` says in the record `DOMAIN._report._dmarc.HOST`.
///
/// # Errors
/// Nobody knows at the moment; the text says why.
pub(super) fn asked(dns: &dyn Dns, domain: &str, host: &str) -> Result<Consent, String> {
    let name = format!("{domain}._report._dmarc.{host}");
    if name.len() > LONGEST {
        return Ok(Consent::No);
    }
    let answer = dns.ask(&[Question::new(&name, Kind::Txt)]).pop();
    if let Some(Answer::Failed(why)) = answer {
        return Err(format!("{name}: {why}"));
    }
    let mut consent = Consent::No;
    for text in answer.iter().flat_map(Answer::texts) {
        match record::reports(text) {
            None => {}
            Some(others) if others.is_empty() => consent = Consent::Yes,
            Some(others) => return Ok(Consent::Instead(others)),
        }
    }
    Ok(consent)
}

#[cfg(test)]
mod tests {
    use super::super::{Discovery, consent};
    use super::*;
    use crate::dns::Table;

    #[test]
    fn others_have_to_agree() {
        let dns = Table::new(
            "_dmarc.a.example TXT v=DMARC1; p=none\n\
             a.example._report._dmarc.reports.test TXT v=DMARC1\n\
             a.example._report._dmarc.moved.test TXT v=DMARC1; rua=mailto:new@moved.test\n\
             a.example._report._dmarc.spf.test TXT v=spf1 -all\n\
             a.example._report._dmarc.later.test TXT failed",
        );
        let ask = |host: &str| consent(&dns, "a.example", host, Discovery::Walk);
        assert_eq!(ask("A.example"), Ok(Consent::Yes));
        assert_eq!(ask("mail.a.example"), Ok(Consent::Yes));
        assert_eq!(ask("reports.test"), Ok(Consent::Yes));
        assert_eq!(ask("b.example"), Ok(Consent::No));
        assert_eq!(ask("spf.test"), Ok(Consent::No));
        assert_eq!(ask("moved.test"), Ok(Consent::Instead(vec!["mailto:new@moved.test".into()])));
        assert!(ask("later.test").unwrap_err().contains("_report._dmarc.later.test"));
        assert_eq!(ask(&"long.".repeat(60)), Ok(Consent::No));
    }
}
