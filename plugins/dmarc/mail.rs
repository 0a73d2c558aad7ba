//! A report as a document (RFC 9990 3.1), and the message with it (RFC 9990 3.2).

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::rows::{DAY, Report, Row, hash};
use super::xml::{element, text};
use crate::mail::Address;

/// The characters of a line of base64 (RFC 2045 6.8).
const LINE: usize = 76;

/// A report that is complete.
#[derive(Debug)]
pub(super) struct Closed<'a> {
    /// Who reports.
    pub(super) reporter: &'a Address,
    /// The name of the server.
    pub(super) me: &'a str,
    /// The key of the report in the store, which is unlike that of any other.
    pub(super) key: &'a str,
    /// The domain that it is about.
    pub(super) domain: &'a str,
    /// When its day begins, in seconds since 1970.
    pub(super) begin: u64,
    pub(super) report: &'a Report,
}

impl Closed<'_> {
    /// The same for the same report, and for no other, of any server.
    fn id(&self) -> String {
        hash(&format!("{} {} {}", self.key, self.reporter.address(), self.me), 10)
    }

    fn end(&self) -> u64 {
        self.begin + DAY - 1
    }

    /// The document.
    pub(super) fn xml(&self, rows: &[Row]) -> String {
        let range = text("begin", &self.begin.to_string()) + &text("end", &self.end().to_string());
        let mut metadata = text("org_name", self.me)
            + &text("email", &self.reporter.address())
            + &text("report_id", &self.id())
            + &element("date_range", &range);
        if self.report.left_out > 0 {
            let left_out = self.report.left_out;
            let error =
                format!("{left_out} messages are not in it: there were too many kinds of mail");
            metadata += &text("error", &error);
        }
        metadata += &text("generator", concat!("qpsmtpd ", env!("CARGO_PKG_VERSION")));
        let mut content = text("version", "1.0") + "\n";
        content += &element("report_metadata", &metadata);
        content += "\n";
        content += &self.report.policy;
        for row in rows {
            content += "\n";
            content += &row.xml();
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n{content}\n</feedback>\n"
        )
    }

    /// The message, with CRLF line ends, for `recipients`; `document` is compressed.
    pub(super) fn message(&self, recipients: &[Address], document: &[u8], now: u64) -> String {
        let (domain, id) = (self.domain, self.id());
        let from = self.reporter.address();
        let submitter = self.reporter.canonical_host();
        let to: Vec<String> =
            recipients.iter().map(|recipient| format!("<{}>", recipient.address())).collect();
        let to = to.join(",\r\n ");
        let second = Timestamp::from_second(i64::try_from(now).unwrap_or_default());
        let date = second.unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S +0000");
        let file = format!("{submitter}!{domain}!{}!{}!{id}.xml.gz", self.begin, self.end());
        let day = self.key.split(' ').next().unwrap_or_default();
        let encoded = STANDARD.encode(document);
        let lines: Vec<String> =
            encoded.as_bytes().chunks(LINE).map(|l| String::from_utf8_lossy(l).into()).collect();
        let encoded = lines.join("\r\n");
        format!(
            "From: <{from}>\r\nTo: {to}\r\nDate: {date}\r\nMessage-ID: <dmarc.{id}@{submitter}>\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/mixed; boundary=\"={id}\"\r\n\r\n\
             --={id}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is a DMARC aggregate report (RFC 9990) on mail from {domain}\r\n\
             that came on {day} (UTC).\r\n\r\n\
             --={id}\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\r\n\
             {encoded}\r\n--={id}--\r\n"
        )
    }
}

/// Compresses a document, as reports are sent.
///
/// # Errors
/// None, since nothing is written to a file.
pub(super) fn compressed(document: &str) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(document.as_bytes())?;
    encoder.finish()
}

/// Where a URI with `mailto:` leads, and how many octets may go there.  None: it is none that we take.
pub(super) fn target(uri: &str) -> Option<(Address, Option<u64>)> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("mailto") {
        return None;
    }
    let (address, most) = match rest.split_once('!') {
        Some((address, size)) => (address, Some(octets(size)?)),
        None => (rest, None),
    };
    let address = address.split('?').next().unwrap_or_default();
    let address = Address::parse(&format!("<{}>", decoded(address)?)).ok()?;
    let is_plain = address.is_ascii() && !address.is_route() && address.host().contains('.');
    is_plain.then_some((address, most))
}

/// A size with its unit (RFC 7489 6.3): `10m` is ten times 2^20.
fn octets(size: &str) -> Option<u64> {
    let (number, shift) = match size.char_indices().next_back()? {
        (at, 'k' | 'K') => (&size[..at], 10),
        (at, 'm' | 'M') => (&size[..at], 20),
        (at, 'g' | 'G') => (&size[..at], 30),
        (at, 't' | 'T') => (&size[..at], 40),
        _ => (size, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Undoes `%21` (RFC 3986 2.1); None where that is no text of printable characters.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let octet = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        decoded.push(char::from(octet));
        decoded += &part[2..];
    }
    decoded.bytes().all(|octet| octet.is_ascii_graphic()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_out_of_uris() {
        for (uri, address, most) in [
            ("mailto:a@b.example", "a@b.example", None),
            ("MAILTO:a+x@b.example!10m", "a+x@b.example", Some(10 << 20)),
            ("mailto:a%2Bx@b.example!2048", "a+x@b.example", Some(2048)),
            ("mailto:a@b.example?subject=x", "a@b.example", None),
        ] {
            let (found, limit) = target(uri).unwrap_or_else(|| panic!("{uri}"));
            assert_eq!((found.address().as_str(), limit), (address, most));
        }
        for uri in [
            "https://b.example/",
            "mailto:",
            "mailto:a@b.example!big",
            "mailto:a@b.example!99999999t",
            "mailto:a%0d%0aBcc:x@b.example",
            "mailto:a@b.example>,<c@d.example",
            "mailto:a%zz@b.example",
            "mailto:a@localhost",
            "mailto:a%21x@b.example",
        ] {
            assert!(target(uri).is_none(), "{uri}");
        }
    }

    #[test]
    fn reports_say_what_they_are() {
        let report: Report = "1 7 0 mailto:a@b.example <policy_published/>".parse().unwrap();
        let reporter = Address::new("dmarc", "mx.example");
        let closed = Closed {
            reporter: &reporter,
            me: "<mx>.example",
            key: "2027-01-15 b.example 01020304",
            domain: "b.example",
            begin: 1_799_971_200,
            report: &report,
        };
        let xml = closed.xml(&["3 <record><count/></record>".parse().unwrap()]);
        let id = closed.id();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            xml,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n\
                 <report_metadata><org_name>&lt;mx&gt;.example</org_name>\
                 <email>dmarc@mx.example</email><report_id>{id}</report_id>\
                 <date_range><begin>1799971200</begin><end>1800057599</end></date_range>\
                 <error>7 messages are not in it: there were too many kinds of mail</error>\
                 <generator>qpsmtpd {version}</generator></report_metadata>\n<policy_published/>\n\
                 <record><count>3</count></record>\n</feedback>\n"
            )
        );
        let to = [Address::new("a", "b.example"), Address::new("c", "d.example")];
        let message = closed.message(&to, &[7; 100], 1_800_060_000);
        for part in [
            "From: <dmarc@mx.example>\r\nTo: <a@b.example>,\r\n <c@d.example>\r\n",
            "Date: Sat, 16 Jan 2027 00:40:00 +0000\r\n",
            &format!(
                "Subject: Report Domain: b.example\r\n Submitter: mx.example\r\n Report-ID: <{id}>\r\n"
            ),
            &format!("filename=\"mx.example!b.example!1799971200!1800057599!{id}.xml.gz\"\r\n"),
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(message.split("\r\n").all(|line| line.len() <= 120 && !line.contains('\n')));
    }
}
