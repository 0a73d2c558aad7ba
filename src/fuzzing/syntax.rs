//! Addresses, header sections, and what stands on the wire, read and written without a session.

use super::input::halves;
use super::session::check_replies;
use crate::mail::{Address, Header};
use crate::smtp::syntax::reply::{Form, Reply};
use crate::smtp::syntax::{
    bdat as chunks, line as lines, path, proxy as proxies, scram as scrams, xclient,
};

/// A path is read, and written so that it reads as the same; what a plugin makes of any words has
/// nothing in it that ends a line.
pub(super) fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(address) = Address::parse(&text) {
        let written = address.to_string();
        assert!(!written.contains(char::is_control), "{written:?}");
        assert_eq!(Address::parse(&written).as_ref(), Ok(&address), "{text:?} {written:?}");
    }
    let (user, host) = text.split_once('\n').unwrap_or((&text, "x.test"));
    let written = Address::new(user, host).to_string();
    assert!(!written.contains(char::is_control), "{written:?}");
}

/// A line is a verb and an argument, a path and parameters, a reply in its words.
pub(super) fn command(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (verb, argument) = lines::split(&text);
    assert!(!verb.contains(' ') && verb.len() + argument.len() <= text.len());
    if let Ok((path, _)) = path::parse(argument, "FROM:") {
        assert!(argument.contains(path) && (!path.starts_with('<') || path.ends_with('>')));
    }
    chunks::parse(argument);
    let _ = xclient::parse(argument, &mut xclient::Attributes::default());
    let code = 200 + u16::from(input.first().copied().unwrap_or(50)) % 400;
    for (enhanced, utf8) in [(true, false), (true, true), (false, false)] {
        let mut out = vec![];
        Reply::own(code, text.to_string()).write(Form { enhanced, utf8 }, &mut out);
        assert!(utf8 || out.is_ascii());
        check_replies(&out);
    }
}

/// A header section comes out as it went in; edited, it has the fields that it should.
pub(super) fn header(input: &[u8]) {
    let (raw, edits) = halves(input);
    let mut header = Header::parse(raw);
    assert_eq!(header.to_bytes(), raw);
    for edit in edits.split(|octet| *octet == 0xff) {
        let Some((kind, text)) = edit.split_first() else { continue };
        let text = String::from_utf8_lossy(text);
        let (name, value) = text.split_once(':').unwrap_or(("X-Name", &text));
        match kind % 6 {
            0 => header.add(name, value),
            1 => header.add_at(usize::from(*kind) / 6, name, value),
            2 => header.replace(name, value),
            3 => drop(header.delete(name)),
            4 => drop(header.rename(name, value)),
            _ => {
                let count = header.len();
                let own = (0..count).rev().map(Ok);
                let new = [Err(text.as_bytes())];
                header.rebuild(new.into_iter().chain(own));
            }
        }
    }
    let is_edited = !edits.is_empty();
    let written = header.to_bytes();
    assert_eq!(written.len(), header.byte_len());
    let again = Header::parse(&written);
    assert_eq!(again.to_bytes(), written);
    if is_edited && Header::parse(raw).fields().all(|field| field.ends_with(b"\r\n")) {
        let names: Vec<_> = header.names().collect();
        assert!(again.names().eq(names), "{}", written.escape_ascii());
    }
}

/// A header of the PROXY protocol, read as from a connection: never past its end.
pub(super) fn proxy(input: &[u8]) {
    let mut header = vec![];
    while let Ok(most) = proxies::missing(&header) {
        if most == 0 {
            let _ = proxies::parse(&header);
            return;
        }
        let rest = &input[header.len()..];
        if rest.is_empty() {
            return;
        }
        header.extend_from_slice(&rest[..most.min(rest.len())]);
    }
}

/// The client's messages in SCRAM.
pub(super) fn scram(input: &[u8]) {
    if let Some(first) = scrams::First::parse(input) {
        assert!(input.starts_with(first.header.as_bytes()));
        assert!(input.ends_with(first.bare.as_bytes()));
    }
    if let Some(last) = scrams::Last::parse(input) {
        assert!(input.starts_with(last.unproved.as_bytes()));
    }
}
