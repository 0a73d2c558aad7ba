//! Sealing a message that is handed on (RFC 8617 5.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Outcome;
use crate::origin::dkim::{self, Form, SecretKey, Signature};

/// Who seals a message, and what it found out.
#[derive(Debug, Clone, Copy)]
pub struct Sealing<'a> {
    /// The domain that vouches.
    pub domain: &'a str,
    /// Which of its keys.
    pub selector: &'a str,
    /// The name of this server in Authentication-Results, `;`, and its results.
    pub results: &'a str,
    /// The number of the seal: one more than the last one before it has.
    pub instance: usize,
    /// The state of the chain before it.
    pub state: Outcome,
    /// Seconds since 1970.
    pub now: u64,
}

/// The fields to be put above those of a message, the first to stand at the top, each with its
/// line end.  `body_hash` is of the relaxed form.
///
/// # Errors
///
/// The key does not sign.
pub fn seal(
    key: &SecretKey,
    sealing: Sealing<'_>,
    fields: &[&[u8]],
    body_hash: &[u8],
) -> Result<[String; 3], String> {
    let Sealing { domain, selector, results, instance, state, now } = sealing;
    let algorithm = key.algorithm().name();
    let results = format!("ARC-Authentication-Results: i={instance}; {results}\r\n");
    let message = format!(
        "ARC-Message-Signature: i={instance}; a={algorithm}; c=relaxed/relaxed;\r\n\
         \td={domain}; s={selector}; t={now};\r\n\th={};\r\n\tbh={};\r\n\tb=",
        dkim::signed_fields(fields, dkim::ARC_FIELDS),
        STANDARD.encode(body_hash),
    );
    let own = format!("{message}\r\n");
    let mut all: Vec<&[u8]> = vec![own.as_bytes()];
    all.extend_from_slice(fields);
    let tags = dkim::tags::Tags::parse(dkim::value_of(own.as_bytes())?)?;
    let signed = Signature::of_tags(0, &tags, Form::Relaxed)?.signed(&all);
    let message = format!("{message}{}\r\n", dkim::folded_base64(&key.sign(&signed)?));
    let seal = format!(
        "ARC-Seal: i={instance}; a={algorithm}; cv={}; d={domain};\r\n\ts={selector}; t={now};\r\n\tb=",
        state.name(),
    );
    let mut sealed: Vec<&[u8]> = Vec::new();
    // A chain that is broken is sealed alone, so that its end cannot be taken off (RFC 8617 5.1.2).
    if state == Outcome::Pass {
        (1..instance).for_each(|before| sealed.extend(of_instance(fields, before)));
    }
    sealed.extend([results.as_bytes(), message.as_bytes()]);
    let own = format!("{seal}\r\n");
    let octets = sealed_octets(sealed.into_iter(), own.as_bytes());
    let seal = format!("{seal}{}\r\n", dkim::folded_base64(&key.sign(&octets)?));
    Ok([seal, message, results])
}

/// The fields of one set in the order in which they are sealed.
fn of_instance<'a>(fields: &[&'a [u8]], wanted: usize) -> Vec<&'a [u8]> {
    let mut set = Vec::new();
    for (kind, name) in super::NAMES.iter().enumerate() {
        let found = fields.iter().filter(|field| dkim::name_of(field) == *name);
        set.extend(found.filter(|field| super::instance(kind, field) == Ok(wanted)));
    }
    set
}

/// What a seal signs: the fields before it, and itself without its value, in the relaxed form.
pub(super) fn sealed_octets<'a>(before: impl Iterator<Item = &'a [u8]>, own: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    before.for_each(|field| Form::Relaxed.field(field, &mut out));
    Form::Relaxed.field(&dkim::without_signature(own), &mut out);
    out.truncate(out.len() - 2);
    out
}
