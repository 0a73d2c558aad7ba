//! Addresses and header sections as they travel to Perl and back.

use crate::mail::{Address, Header};
use crate::perl::wire::Item;

/// The fields of the header section, with `\n` line ends.
pub(super) fn header_item(header: &Header) -> Item {
    let unix = |field: &[u8]| {
        let mut text = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            text.extend_from_slice(&rest[..at]);
            text.push(b'\n');
            rest = &rest[at + 2..];
        }
        text.extend_from_slice(rest);
        Item::Text(text)
    };
    Item::List(header.fields().map(unix).collect())
}

/// An address as Perl gets it: local part and host, either of which may be missing.
pub(super) fn address_item(address: &Address) -> Item {
    let host = Some(address.host()).filter(|host| !host.is_empty());
    Item::List(vec![Item::text(address.user()), Item::maybe(host)])
}

/// The same back; None where it is no address.
pub(super) fn address(item: &Item) -> Option<Address> {
    match item.as_list() {
        [user, host] => Some(Address::new(&user.as_text(), &host.as_text())),
        _ => None,
    }
}
