//! The field DKIM-Signature (RFC 6376 3.5), and its like in ARC (RFC 8617 4.1.2).

use std::collections::HashMap;

use super::canonical::Form;
use super::key::Algorithm;
use super::tags::{Tags, is_white};
use crate::dns::{Kind, Question};
use crate::mail::host::canonical;
use crate::mail::text::unescaped;

/// A signature, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::origin) struct Signature {
    /// Where the field stands among all fields.
    pub(in crate::origin) position: usize,
    pub(in crate::origin) algorithm: Result<Algorithm, String>,
    /// Who signed, in lower case.
    pub(in crate::origin) domain: String,
    pub(in crate::origin) selector: String,
    /// The agent or user for whom it was signed: `@` and the domain, unless it says more.
    pub(in crate::origin) identity: String,
    pub(in crate::origin) header_form: Form,
    pub(in crate::origin) body_form: Form,
    /// The names of the fields that are signed, in lower case.
    pub(in crate::origin) fields: Vec<String>,
    pub(in crate::origin) signature: Vec<u8>,
    /// The signature in base64, as far as results quote it to tell signatures apart.
    pub(in crate::origin) beginning: String,
    pub(in crate::origin) body_hash: Vec<u8>,
    /// How many octets of the body are signed; None: all.
    pub(in crate::origin) length: Option<u64>,
    pub(in crate::origin) expires: Option<u64>,
}

impl Signature {
    /// Takes a field DKIM-Signature apart.
    ///
    /// # Errors
    ///
    /// It is none by RFC 6376 6.1.1; the error says why.
    pub(in crate::origin) fn parse(position: usize, field: &[u8]) -> Result<Signature, String> {
        let text = value_of(field)?;
        let tags = Tags::parse(text)?;
        if tags.required("v")? != "1" {
            return Err("not of version 1".into());
        }
        let signature = Signature::of_tags(position, &tags, Form::Simple)?;
        if !signature.fields.iter().any(|name| name == "from") {
            return Err("From is not signed".into());
        }
        let identity = match tags.get("i") {
            Some(text) => unquoted(text),
            None => format!("@{}", signature.domain),
        };
        let (_, host) = identity.rsplit_once('@').ok_or("i= has no @")?;
        if !is_at_or_below(&host.to_ascii_lowercase(), &signature.domain) {
            return Err("i= is not below d=".into());
        }
        Ok(Signature { identity, ..signature })
    }

    /// What DKIM-Signature and ARC-Message-Signature have in common; `form` is that of a message
    /// where the field does not say.
    ///
    /// # Errors
    ///
    /// A tag is missing or has a wrong value.
    pub(in crate::origin) fn of_tags(
        position: usize,
        tags: &Tags<'_>,
        form: Form,
    ) -> Result<Signature, String> {
        let (header_form, body_form) = match tags.get("c") {
            Some(text) => forms(text)?,
            None => (form, form),
        };
        let fields: Vec<String> =
            tags.required("h")?.split(':').map(|name| without_white(name).to_lowercase()).collect();
        if tags.list("q").is_some_and(|mut ways| ways.all(|way| way != "dns/txt")) {
            return Err("the key is not in the DNS (q= lacks dns/txt)".into());
        }
        let (signed_at, expires) = (tags.number("t")?, tags.number("x")?);
        if expires.is_some_and(|expires| signed_at.is_some_and(|signed_at| expires < signed_at)) {
            return Err("it expired before it was made".into());
        }
        let length = match tags.get("l") {
            Some(digits) if digits.len() > 76 => return Err("l= has too many digits".into()),
            _ => tags.number("l")?,
        };
        let domain = host(tags.required("d")?)?;
        let beginning: String =
            tags.required("b")?.chars().filter(|c| !is_white(*c)).take(8).collect();
        Ok(Signature {
            position,
            algorithm: algorithm(tags)?,
            identity: format!("@{domain}"),
            domain,
            selector: host(tags.required("s")?)?,
            header_form,
            body_form,
            fields,
            signature: tags.octets("b")?,
            beginning,
            body_hash: tags.octets("bh")?,
            length,
            expires,
        })
    }

    /// Where the key is.
    pub(in crate::origin) fn question(&self) -> Question {
        key_question(&self.selector, &self.domain)
    }

    /// The octets that are signed: the fields, and the signature's own without its value.
    pub(in crate::origin) fn signed(&self, fields: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        // Where the fields of each name stand.  There may be very many of both.
        let mut left: HashMap<&str, Vec<usize>> =
            self.fields.iter().map(|name| (name.as_str(), Vec::new())).collect();
        for (at, field) in fields.iter().enumerate().filter(|(at, _)| *at != self.position) {
            if let Some(positions) = left.get_mut(name_of(field).as_str()) {
                positions.push(at);
            }
        }
        for name in &self.fields {
            // The last one that is left: fields are added at the top (RFC 6376 5.4.2).
            if let Some(at) = left.get_mut(name.as_str()).and_then(Vec::pop) {
                self.header_form.field(fields[at], &mut out);
            }
        }
        let own = without_signature(fields[self.position]);
        self.header_form.field(&own, &mut out);
        // The line end of the last field is not signed.
        if out.ends_with(b"\r\n") {
            out.truncate(out.len() - 2);
        }
        out
    }
}

/// The algorithm that `a=` names.  One that is known to be unsafe is no error of the field.
pub(in crate::origin) fn algorithm(tags: &Tags<'_>) -> Result<Result<Algorithm, String>, String> {
    let name = tags.required("a")?;
    match Algorithm::parse(name) {
        Some(algorithm) => Ok(Ok(algorithm)),
        None if name == "rsa-sha1" => Ok(Err("rsa-sha1 proves nothing".into())),
        None => Err(format!("the algorithm '{name}' is not known")),
    }
}

/// Where the key with that selector is.
pub(in crate::origin) fn key_question(selector: &str, domain: &str) -> Question {
    Question::new(&format!("{selector}._domainkey.{domain}"), Kind::Txt)
}

/// The name of a field in lower case.
pub(in crate::origin) fn name_of(field: &[u8]) -> String {
    let end = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
    String::from_utf8_lossy(field[..end].trim_ascii()).to_ascii_lowercase()
}

/// The value of a field.
///
/// # Errors
///
/// It is no UTF-8.
pub(in crate::origin) fn value_of(field: &[u8]) -> Result<&str, String> {
    let start = field.iter().position(|octet| *octet == b':').map_or(0, |at| at + 1);
    std::str::from_utf8(&field[start..]).map_err(|_| "octets that are not text".into())
}

/// A domain or selector, in lower case and as A-labels.
pub(in crate::origin) fn host(text: &str) -> Result<String, String> {
    let text = without_white(text);
    let name = canonical(&text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    match name.split('.').all(label) {
        true => Ok(name.into_owned()),
        false => Err(format!("'{text}' is not a domain name")),
    }
}

/// Is it the domain, or one below it?  Both in lower case.
pub(in crate::origin) fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn forms(text: &str) -> Result<(Form, Form), String> {
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    match (Form::parse(header), Form::parse(body)) {
        (Some(header), Some(body)) => Ok((header, body)),
        _ => Err(format!("the form '{text}' is not known")),
    }
}

fn without_white(text: &str) -> String {
    text.chars().filter(|c| !is_white(*c)).collect()
}

/// A value in which `=` and two hexadecimal digits stand for an octet (RFC 6376 2.11).
fn unquoted(text: &str) -> String {
    let octets = unescaped(without_white(text).as_bytes(), b'=');
    String::from_utf8_lossy(&octets).into_owned()
}

/// The field with nothing behind `b=`, as it was when it was signed (RFC 6376 3.7).
pub(in crate::origin) fn without_signature(field: &[u8]) -> Vec<u8> {
    let start = field.iter().position(|octet| *octet == b':').map_or(0, |at| at + 1);
    let mut at = start;
    for part in field[start..].split_inclusive(|octet| *octet == b';') {
        let name_end = part.iter().position(|octet| *octet == b'=');
        if let Some(end) = name_end.filter(|end| part[..*end].trim_ascii() == b"b") {
            let (from, mut to) = (at + end + 1, at + part.len());
            if part.ends_with(b";") {
                to -= 1;
            } else if field.ends_with(b"\r\n") {
                // The line end of the field is not part of the value.
                to = field.len() - 2;
            }
            return [&field[..from], &field[to..]].concat();
        }
        at += part.len();
    }
    field.to_vec()
}
