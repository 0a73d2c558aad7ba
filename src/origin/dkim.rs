//! DKIM: who signed a message, and is it as it was signed (RFC 6376, 8301, 8463)?

mod canonical;
mod key;
mod sign;
mod signature;
pub(in crate::origin) mod tags;
#[cfg(test)]
pub(in crate::origin) mod tests;

pub use canonical::Form;
pub use key::Algorithm;
pub use sign::{SecretKey, Signing, TextHash, sign};

pub(in crate::origin) use canonical::BodyHash;
pub(in crate::origin) use key::{Key, Unfit};
pub(in crate::origin) use sign::{ARC_FIELDS, folded_base64, signed_fields};
pub(in crate::origin) use signature::{
    Signature, algorithm, host, is_at_or_below, key_question, name_of, value_of, without_signature,
};

use crate::dns::{Answer, Dns, Question};

/// The most signatures of a message that are looked at.
pub const MOST_SIGNATURES: usize = 10;

/// The results of RFC 8601 2.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is no signature.
    None,
    /// The message is as it was signed.
    Pass,
    /// The message is not as it was signed.
    Fail,
    /// It is as it was signed, or may be, but so that it proves nothing.
    Policy,
    /// The signature cannot be understood.
    Neutral,
    /// Nobody knows at the moment.
    TempError,
    /// There is no key, or none that can be used.
    PermError,
}

impl Outcome {
    /// The result as it stands in Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Policy => "policy",
            Outcome::Neutral => "neutral",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

/// What was found out about one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The result.
    pub outcome: Outcome,
    /// Who signed (`d=`), in lower case; empty if the field does not say.
    pub domain: String,
    /// Which key (`s=`).
    pub selector: String,
    /// For whom (`i=`).
    pub identity: String,
    /// How; None if it is not known.
    pub algorithm: Option<Algorithm>,
    /// The first octets of the signature, to tell it from others (RFC 6008).
    pub beginning: String,
    /// Why it is not a pass, or what is to be known of one.
    pub reason: String,
    /// Is the domain trying things out?
    pub testing: bool,
}

/// Signatures whose message is being read.
pub struct Verifier<'a> {
    fields: Vec<&'a [u8]>,
    found: Vec<Result<Signature, Box<Finding>>>,
    hashes: Vec<BodyHash>,
}

impl<'a> Verifier<'a> {
    /// Looks for signatures in a header section: its fields in their order, line ends included.
    pub fn new(fields: Vec<&'a [u8]>) -> Verifier<'a> {
        let is_signature = |field: &&[u8]| name_of(field) == "dkim-signature";
        let found: Vec<Result<Signature, Box<Finding>>> = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| is_signature(field))
            .take(MOST_SIGNATURES)
            .map(|(at, field)| {
                Signature::parse(at, field).map_err(|why| Box::new(broken(field, why)))
            })
            .collect();
        let mut hashes: Vec<BodyHash> = Vec::new();
        for signature in found.iter().flatten() {
            let (form, length) = (signature.body_form, signature.length);
            if !hashes.iter().any(|hash| hash.is(form, length)) {
                hashes.push(BodyHash::new(form, length));
            }
        }
        Verifier { fields, found, hashes }
    }

    /// Is there a signature?
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What will be asked: the keys.
    pub fn questions(&self) -> Vec<Question> {
        self.found.iter().flatten().map(Signature::question).collect()
    }

    /// Who signed, as they say.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.found.iter().flatten().map(|signature| signature.domain.as_str())
    }

    /// Takes the next piece of the body.
    pub fn body(&mut self, octets: &[u8]) {
        self.hashes.iter_mut().for_each(|hash| hash.update(octets));
    }

    /// The finding for each signature, in the order of their fields.  `now` is the time in seconds
    /// since 1970.
    pub fn finish(mut self, dns: &dyn Dns, now: u64) -> Vec<Finding> {
        let answers = dns.ask(&self.questions());
        let hashed: Vec<(Form, Option<u64>, Vec<u8>, u64)> = self
            .hashes
            .drain(..)
            .map(|hash| {
                let (form, limit) = hash.of();
                let (value, length) = hash.finish();
                (form, limit, value, length)
            })
            .collect();
        let froms = self.fields.iter().filter(|field| name_of(field) == "from").count();
        let mut answers = answers.into_iter();
        let mut findings = Vec::new();
        for found in std::mem::take(&mut self.found) {
            findings.push(match found {
                Err(finding) => *finding,
                Ok(signature) => {
                    let answer = answers.next().unwrap_or(Answer::Failed("not asked".into()));
                    let body = hashed.iter().find(|(form, limit, ..)| {
                        *form == signature.body_form && *limit == signature.length
                    });
                    let body = body.map(|(_, _, value, length)| (value.as_slice(), *length));
                    let judged = judge(&signature, &self.fields, body, froms, &answer, now);
                    finding(&signature, judged)
                }
            });
        }
        findings
    }
}

/// What came of a signature: a pass with what is to be known of it, or why it is none.
type Judged = Result<(String, bool), (Outcome, String, bool)>;

fn judge(
    signature: &Signature,
    fields: &[&[u8]],
    body: Option<(&[u8], u64)>,
    froms: usize,
    answer: &Answer,
    now: u64,
) -> Judged {
    let no = |outcome, why: String| (outcome, why, false);
    let algorithm = signature.algorithm.clone().map_err(|why| no(Outcome::Policy, why))?;
    if signature.expires.is_some_and(|expires| expires < now) {
        return Err(no(Outcome::Policy, "expired".into()));
    }
    let key = key_of(answer).map_err(|(outcome, why)| no(outcome, why))?;
    let no = |outcome, why: String| (outcome, why, key.testing);
    let of_domain = signature.identity.rsplit_once('@').map(|(_, host)| host);
    if key.strict && of_domain.is_none_or(|host| !host.eq_ignore_ascii_case(&signature.domain)) {
        return Err(no(Outcome::PermError, "the key is not for domains below its own".into()));
    }
    // A second From would be shown to the reader, signed or not (RFC 6376 8.15).
    let signed_froms = signature.fields.iter().filter(|name| *name == "from").count();
    if froms > signed_froms {
        return Err(no(Outcome::Fail, "a field From that is not signed".into()));
    }
    let (hash, octets) = body.unwrap_or((&[], 0));
    if signature.length.is_some_and(|length| length > octets) {
        return Err(no(Outcome::Fail, "the body is shorter than what was signed".into()));
    }
    if hash != signature.body_hash {
        return Err(no(Outcome::Fail, "the body was changed".into()));
    }
    match key.verify(algorithm, &signature.signed(fields), &signature.signature) {
        Ok(true) => {}
        Ok(false) => return Err(no(Outcome::Fail, "the header section was changed".into())),
        Err(Unfit::Broken(why)) => {
            return Err(no(Outcome::PermError, format!("the key is {why}")));
        }
        Err(Unfit::Weak(why)) => return Err(no(Outcome::Policy, format!("the key is {why}"))),
    }
    let unsigned = signature.length.map_or(0, |length| octets - length);
    let note = match unsigned {
        0 => String::new(),
        octets => format!("the last {octets} octets of the body are not signed"),
    };
    Ok((note, key.testing))
}

/// The key in an answer: the first record that is one.
pub(in crate::origin) fn key_of(answer: &Answer) -> Result<Key, (Outcome, String)> {
    if let Answer::Failed(why) = answer {
        return Err((Outcome::TempError, format!("the key could not be fetched: {why}")));
    }
    let mut why = None;
    for text in answer.texts() {
        match Key::parse(text) {
            Ok(key) => return Ok(key),
            Err(error) => why = why.or(Some(error)),
        }
    }
    let why = why.map_or("there is no key".into(), |why| format!("the key is {why}"));
    Err((Outcome::PermError, why))
}

fn finding(signature: &Signature, judged: Judged) -> Finding {
    let (outcome, reason, testing) = match judged {
        Ok((note, testing)) => (Outcome::Pass, note, testing),
        Err(no) => no,
    };
    Finding {
        outcome,
        domain: signature.domain.clone(),
        selector: signature.selector.clone(),
        identity: signature.identity.clone(),
        algorithm: signature.algorithm.clone().ok(),
        beginning: signature.beginning.clone(),
        reason,
        testing,
    }
}

/// The finding for a field that is no signature, with what it says of itself all the same.
fn broken(field: &[u8], reason: String) -> Finding {
    let tags = value_of(field).and_then(tags::Tags::parse);
    let tag = |name| tags.as_ref().ok().and_then(|tags| tags.get(name)).unwrap_or("");
    Finding {
        outcome: Outcome::Neutral,
        domain: host(tag("d")).unwrap_or_default(),
        selector: host(tag("s")).unwrap_or_default(),
        identity: String::new(),
        algorithm: None,
        beginning: tag("b").chars().filter(char::is_ascii_graphic).take(8).collect(),
        reason,
        testing: false,
    }
}
