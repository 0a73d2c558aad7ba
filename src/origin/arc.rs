//! ARC: what servers on the way found out about a message, each under its own seal (RFC 8617).

mod seal;
#[cfg(test)]
mod tests;

pub use seal::{Sealing, seal};

use super::dkim::tags::Tags;
use super::dkim::{self, Algorithm, BodyHash, Form, Signature, Unfit};
use crate::dns::{Answer, Dns, Question};

/// The most servers that may have sealed a message (RFC 8617 4.2.1).
pub const MOST_SETS: usize = 50;

/// The state of a chain (RFC 8617 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Outcome {
    /// Nobody sealed the message.
    #[default]
    None,
    /// All seals hold, and the message is as the last server sent it.
    Pass,
    /// They do not.
    Fail,
    /// Nobody knows at the moment.
    TempError,
}

impl Outcome {
    /// The result as it stands in Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::TempError => "temperror",
        }
    }
}

/// What was found out about a chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// The state of the chain.
    pub outcome: Outcome,
    /// The domains that sealed, the first server's first; empty where the chain is broken.
    pub sealers: Vec<String>,
    /// What each of them found out: the value of its ARC-Authentication-Results.
    pub results: Vec<String>,
    /// Why the chain does not pass.
    pub reason: String,
    /// The number of the next seal; None: there is to be none, since the last one says that the chain
    /// has failed, or has the highest number.
    pub next: Option<usize>,
}

/// A chain whose message is being read.
pub struct Verifier<'a> {
    fields: Vec<&'a [u8]>,
    chain: Result<Vec<Set>, String>,
    hash: Option<BodyHash>,
}

/// What one server added.
struct Set {
    /// Where its fields stand: ARC-Authentication-Results, ARC-Message-Signature, ARC-Seal.
    positions: [usize; 3],
    results: String,
    message: Signature,
    seal: Seal,
}

struct Seal {
    algorithm: Algorithm,
    domain: String,
    selector: String,
    signature: Vec<u8>,
}

const NAMES: [&str; 3] = ["arc-authentication-results", "arc-message-signature", "arc-seal"];

impl<'a> Verifier<'a> {
    /// Looks for a chain in a header section: its fields in their order, line ends included.
    pub fn new(fields: Vec<&'a [u8]>) -> Verifier<'a> {
        let chain = sets(&fields);
        let last = chain.as_ref().ok().and_then(|sets| sets.last());
        let hash = last.map(|set| BodyHash::new(set.message.body_form, set.message.length));
        Verifier { fields, chain, hash }
    }

    /// Is there no chain?
    pub fn is_empty(&self) -> bool {
        self.chain.as_ref().is_ok_and(Vec::is_empty)
    }

    /// What will be asked: the keys.
    pub fn questions(&self) -> Vec<Question> {
        let sets = self.chain.as_deref().unwrap_or_default();
        let seals = sets.iter().map(|set| set.seal.question());
        seals.chain(sets.last().map(|set| set.message.question())).collect()
    }

    /// Takes the next piece of the body.
    pub fn body(&mut self, octets: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(octets);
        }
    }

    /// The state of the chain.
    pub fn finish(self, dns: &dyn Dns) -> Finding {
        let answers = dns.ask(&self.questions());
        let next = next(&self.fields);
        let no = |outcome, reason| Finding { outcome, reason, next, ..Finding::default() };
        let sets = match self.chain {
            Ok(sets) if sets.is_empty() => return no(Outcome::None, String::new()),
            Ok(sets) => sets,
            Err(why) => return no(Outcome::Fail, why),
        };
        let (hash, _) = self.hash.map(BodyHash::finish).unwrap_or_default();
        if let Err((outcome, why)) = check(&sets, &self.fields, &hash, &answers) {
            return no(outcome, why);
        }
        Finding {
            outcome: Outcome::Pass,
            sealers: sets.iter().map(|set| set.seal.domain.clone()).collect(),
            results: sets.into_iter().map(|set| set.results).collect(),
            reason: String::new(),
            next,
        }
    }
}

/// The number of the next set, be the others good or not (RFC 8617 4.2.1, 5.1).
fn next(fields: &[&[u8]]) -> Option<usize> {
    let numbered = fields.iter().filter_map(|field| {
        let kind = NAMES.iter().position(|known| *known == dkim::name_of(field))?;
        Some((instance(kind, field).ok()?, *field))
    });
    let Some((last, _)) = numbered.clone().max_by_key(|(instance, _)| *instance) else {
        return Some(1);
    };
    let says_fail = |field: &[u8]| {
        let tags = dkim::value_of(field).and_then(Tags::parse);
        dkim::name_of(field) == NAMES[2] && tags.is_ok_and(|tags| tags.get("cv") == Some("fail"))
    };
    let mut of_last = numbered.filter(|(instance, _)| *instance == last);
    (last < MOST_SETS && !of_last.any(|(_, field)| says_fail(field))).then_some(last + 1)
}

/// The last server's signature of the message, and the seals from the last to the first
/// (RFC 8617 5.2).
fn check(
    sets: &[Set],
    fields: &[&[u8]],
    body_hash: &[u8],
    answers: &[Answer],
) -> Result<(), (Outcome, String)> {
    let Some(last) = sets.last() else { return Ok(()) };
    if body_hash != last.message.body_hash {
        return Err((Outcome::Fail, "the body was changed".into()));
    }
    let algorithm = last.message.algorithm.clone().map_err(|why| (Outcome::Fail, why))?;
    let signed = last.message.signed(fields);
    let what = format!("ARC-Message-Signature {}", sets.len());
    verify(&what, answers.last(), algorithm, &signed, &last.message.signature)?;
    for (at, set) in sets.iter().enumerate().rev() {
        let what = format!("ARC-Seal {}", at + 1);
        let sealed = sealed(&sets[..=at], fields);
        verify(&what, answers.get(at), set.seal.algorithm, &sealed, &set.seal.signature)?;
    }
    Ok(())
}

fn verify(
    what: &str,
    answer: Option<&Answer>,
    algorithm: Algorithm,
    octets: &[u8],
    signature: &[u8],
) -> Result<(), (Outcome, String)> {
    let answer = answer.unwrap_or(&Answer::Nothing);
    let key = dkim::key_of(answer).map_err(|(outcome, why)| match outcome {
        dkim::Outcome::TempError => (Outcome::TempError, format!("{what}: {why}")),
        _ => (Outcome::Fail, format!("{what}: {why}")),
    })?;
    match key.verify(algorithm, octets, signature) {
        Ok(true) => Ok(()),
        Ok(false) => Err((Outcome::Fail, format!("{what} does not hold"))),
        Err(Unfit::Broken(why) | Unfit::Weak(why)) => {
            Err((Outcome::Fail, format!("{what}: the key is {why}")))
        }
    }
}

/// What a seal signs: all sets up to its own, without its own value (RFC 8617 5.1.1).
fn sealed(sets: &[Set], fields: &[&[u8]]) -> Vec<u8> {
    let positions: Vec<usize> = sets.iter().flat_map(|set| set.positions).collect();
    let (own, before) = positions.split_last().map_or((0, &[][..]), |(own, all)| (*own, all));
    seal::sealed_octets(before.iter().map(|at| fields[*at]), fields[own])
}

/// The sets of a message, the first server's first.
fn sets(fields: &[&[u8]]) -> Result<Vec<Set>, String> {
    let mut found: Vec<[Option<usize>; 3]> = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let name = dkim::name_of(field);
        let Some(kind) = NAMES.iter().position(|known| *known == name) else { continue };
        let instance = instance(kind, field)?;
        if found.len() < instance {
            found.resize(instance, [None; 3]);
        }
        if found[instance - 1][kind].replace(position).is_some() {
            return Err(format!("more than one {name} of instance {instance}"));
        }
    }
    let count = found.len();
    let set = |(at, positions): (usize, [Option<usize>; 3])| {
        let [Some(results), Some(message), Some(seal)] = positions else {
            return Err(format!("instance {} is not whole", at + 1));
        };
        let position = [results, message, seal];
        Set::parse(at + 1, count, position, fields)
            .map_err(|why| format!("instance {}: {why}", at + 1))
    };
    found.into_iter().enumerate().map(set).collect()
}

/// The instance of a field, `i=`; in ARC-Authentication-Results it stands first.
fn instance(kind: usize, field: &[u8]) -> Result<usize, String> {
    let text = dkim::value_of(field)?;
    let tags = match kind {
        0 => Tags::parse(text.split_once(';').ok_or("nothing after i=")?.0)?,
        _ => Tags::parse(text)?,
    };
    match tags.number("i")? {
        Some(instance @ 1..=50) => Ok(usize::try_from(instance).unwrap_or(MOST_SETS)),
        _ => Err("i= is missing, or no number from 1 to 50".into()),
    }
}

impl Set {
    fn parse(
        instance: usize,
        count: usize,
        positions: [usize; 3],
        fields: &[&[u8]],
    ) -> Result<Set, String> {
        let [results, message, seal] = positions.map(|at| fields[at]);
        let message_tags = Tags::parse(dkim::value_of(message)?)?;
        let signature = Signature::of_tags(positions[1], &message_tags, Form::Relaxed)?;
        if signature.fields.iter().any(|name| name == "arc-seal") {
            return Err("the message's signature covers a seal".into());
        }
        let tags = Tags::parse(dkim::value_of(seal)?)?;
        let expected = if instance == 1 { "none" } else { "pass" };
        if tags.required("cv")? != expected {
            return Err(format!("cv= of the seal is not {expected} (of {count})"));
        }
        if tags.get("h").is_some() || tags.get("bh").is_some() {
            return Err("the seal says what fields it covers".into());
        }
        tags.number("t")?;
        let results = dkim::value_of(results)?;
        Ok(Set {
            positions,
            results: results.split_once(';').map_or("", |(_, results)| results).trim().to_owned(),
            message: signature,
            seal: Seal {
                algorithm: dkim::algorithm(&tags)??,
                domain: dkim::host(tags.required("d")?)?,
                selector: dkim::host(tags.required("s")?)?,
                signature: tags.octets("b")?,
            },
        })
    }
}

impl Seal {
    fn question(&self) -> Question {
        dkim::key_question(&self.selector, &self.domain)
    }
}
