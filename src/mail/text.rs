//! What readers see of a message: its text and HTML parts, decoded (RFC 2045, RFC 2046).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Header;

/// How deep parts may be within parts.
const MOST_DEPTH: usize = 10;

/// The most parts that are looked at.
const MOST_PARTS: usize = 200;

/// Base64 as it comes in mail: with or without the signs at its end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A part that readers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Is it HTML?
    pub is_html: bool,
    /// The text, without its transfer encoding.  Octets that are no UTF-8 are taken for Latin-1.
    pub text: String,
}

/// The texts of a message with that header section and body.
pub fn texts(header: &Header, body: &[u8]) -> Vec<Text> {
    let mut walk = Walk { found: Vec::new(), parts: 0 };
    walk.entity(header, body, 0);
    walk.found
}

struct Walk {
    found: Vec<Text>,
    parts: usize,
}

impl Walk {
    fn entity(&mut self, header: &Header, body: &[u8], depth: usize) {
        self.parts += 1;
        if depth > MOST_DEPTH || self.parts > MOST_PARTS {
            return;
        }
        let kind = header.get("Content-Type").unwrap_or("text/plain".into());
        let name = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.split_once('/') {
            Some(("multipart", _)) if let Some(boundary) = parameter(&kind, "boundary") => {
                for part in parts(body, boundary.as_bytes()) {
                    let (header, body) = halves(part);
                    self.entity(&header, body, depth + 1);
                }
            }
            Some(("message", _)) => {
                let (header, body) = halves(body);
                self.entity(&header, body, depth + 1);
            }
            Some(("application" | "image" | "audio" | "video" | "font" | "model", _)) => {}
            _ => {
                let encoding = header.get("Content-Transfer-Encoding").unwrap_or_default();
                let octets = decoded(encoding.trim(), body);
                self.found.push(Text { is_html: name == "text/html", text: readable(octets) });
            }
        }
    }
}

/// Puts an octet in the place of each mark with two hexadecimal digits behind it, as `%2E` of URLs and
/// `=2E` of quoted-printable; a mark that means nothing stays.
pub fn unescaped(text: &[u8], mark: u8) -> Vec<u8> {
    let digit = |octet: Option<&u8>| (*octet? as char).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (Some(high), Some(low)) if text[at] == mark => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// The header section of a part, and what is behind the empty line.
fn halves(part: &[u8]) -> (Header, &[u8]) {
    let mut at = 0;
    for line in part.split_inclusive(|octet| *octet == b'\n') {
        if line.trim_ascii_end().is_empty() {
            return (Header::parse(&part[..at]), &part[at + line.len()..]);
        }
        at += line.len();
    }
    (Header::parse(part), &[])
}

/// What is between the lines that have a boundary (RFC 2046 5.1.1).
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let (mut at, mut start) = (0, None);
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let rest = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        if let Some(end @ (b"" | b"--")) = rest.map(<[u8]>::trim_ascii_end) {
            found.extend(start.map(|start| &body[start..at]));
            start = end.is_empty().then_some(at + line.len());
        }
        at += line.len();
    }
    found.extend(start.map(|start| &body[start..]));
    found
}

/// A parameter of Content-Type (RFC 2045 5.1), without its quotes.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, left) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next() {
                        None => break quoted.len(),
                        Some((at, '"')) => break at + 1,
                        Some((_, '\\')) => text.extend(chars.next().map(|(_, c)| c)),
                        Some((_, c)) => text.push(c),
                    }
                };
                (text, &quoted[end..])
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text).filter(|text| !text.is_empty());
        }
        rest = left.split_once(';')?.1;
    }
}

fn decoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    if encoding.eq_ignore_ascii_case("base64") {
        let is_digit = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/".contains(octet);
        let mut digits: Vec<u8> = body.iter().copied().filter(is_digit).collect();
        if digits.len() % 4 == 1 {
            digits.pop();
        }
        LENIENT.decode(digits).unwrap_or_default()
    } else if encoding.eq_ignore_ascii_case("quoted-printable") {
        quoted_printable(body)
    } else {
        body.to_vec()
    }
}

/// Decodes RFC 2045 6.7; a `=` that means nothing stays.
fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let text = line.trim_ascii_end();
        let (text, end) = match text.strip_suffix(b"=") {
            Some(text) => (text, &b""[..]),
            None => (text, &line[text.len()..]),
        };
        out.extend(unescaped(text, b'='));
        out.extend_from_slice(end);
    }
    out
}

fn readable(octets: Vec<u8>) -> String {
    String::from_utf8(octets)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|octet| char::from(*octet)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Vec<(bool, String)> {
        let message = message.replace('\n', "\r\n");
        let (header, body) = halves(message.as_bytes());
        texts(&header, body).into_iter().map(|part| (part.is_html, part.text)).collect()
    }

    #[test]
    fn a_mark_without_two_digits_stays() {
        let plain = |text: &str| String::from_utf8(unescaped(text.as_bytes(), b'=')).unwrap();
        assert_eq!(plain("a=3db=3D=3"), "a=b==3");
        assert_eq!(plain("=+F=F+=%41=="), "=+F=F+=%41==");
    }

    #[test]
    fn texts_are_found_and_decoded() {
        assert_eq!(of("Subject: x\n\nHello\n"), [(false, "Hello\r\n".into())]);
        let encoded = |encoding: &str, text: &str| {
            of(&format!("Content-Type: text/html\nContent-Transfer-Encoding: {encoding}\n\n{text}"))
                .remove(0)
        };
        let html = |text: &str| (true, text.to_owned());
        assert_eq!(encoded("base64", "PGEgaHJl\nZj0\n"), html("<a href="));
        assert_eq!(encoded("BASE64", "PGEgaHJlZj0=\n"), html("<a href="));
        assert_eq!(encoded("quoted-printable", "a=3D=\nb =C3=A4=zz\n"), html("a=b \u{e4}=zz\r\n"));
        assert_eq!(encoded("8bit", "\u{e4}"), html("\u{e4}"));
        assert_eq!(readable(vec![b'a', 0xe4]), "a\u{e4}");
    }

    #[test]
    fn parts_are_within_parts() {
        let message = "Content-Type: multipart/mixed;\n boundary=\"a b\"\n\nno part\n--a b\n\
            Content-Type: multipart/alternative; x=y; boundary=in\n\n--in\n\nplain\n--in\n\
            Content-Type: text/html; charset=utf-8\n\n<p>\n--in--\n--a b\n\
            Content-Type: image/png\n\nhttp://image.example\n--a b\n\
            Content-Type: message/rfc822\n\nSubject: in\n\ninner\n--a b--\nbehind\n";
        let found = of(message);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.trim()).collect();
        assert_eq!(texts, ["plain", "<p>", "inner"]);
    }

    #[test]
    fn deep_nests_end() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(1000);
        assert!(of(&deep).is_empty());
        let wide =
            format!("Content-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\na\n".repeat(999));
        assert!(of(&wide).len() < MOST_PARTS);
    }
}
