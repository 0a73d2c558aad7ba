//! For the fuzz targets: what only sessions use, with any octets.

use crate::smtp::syntax::proxy::{missing, parse};
use crate::smtp::verb::{auth, mail, xclient};

/// The argument of a command as MAIL, RCPT and XCLIENT read it.
pub(crate) fn arguments(argument: &str) {
    if let Ok((path, _)) = mail::parse(argument, "FROM:", "nothing") {
        assert!(argument.contains(&path) && (!path.starts_with('<') || path.ends_with('>')));
    }
    let _ = xclient::parse(argument, &mut xclient::Said::default());
}

/// A header of the PROXY protocol, read as from a connection: never past its end.
pub(crate) fn proxy(input: &[u8]) {
    let mut header = vec![];
    while let Ok(most) = missing(&header) {
        if most == 0 {
            let _ = parse(&header);
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
pub(crate) fn scram(input: &[u8]) {
    auth::read_scram(input);
}
