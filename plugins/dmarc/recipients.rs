//! Who gets a report.

use super::mail::{Closed, target};
use super::rows::MOST_ADDRESSES;
use crate::hook::Session;
use crate::mail::Address;
use crate::origin::dmarc::{Consent, Discovery, consent};

/// Who gets the report, and why others do not.
///
/// # Errors
/// Nobody knows at the moment whether somebody wants it.
pub(super) fn recipients(
    session: &Session,
    discovery: Discovery<'_>,
    closed: &Closed<'_>,
    size: u64,
) -> std::result::Result<(Vec<Address>, Vec<String>), String> {
    let dns = session.dns();
    let (mut recipients, mut refused) = (vec![], vec![]);
    let fits = |most: Option<u64>| most.is_none_or(|most| size <= most);
    for uri in &closed.report.addresses {
        let Some((address, most)) = target(uri) else {
            refused.push(format!("{uri} is not an address"));
            continue;
        };
        let host = address.canonical_host().into_owned();
        let mut found = vec![];
        match consent(&dns, closed.domain, &host, discovery)? {
            Consent::No => refused.push(format!("{host} does not want it")),
            Consent::Yes => found.push((address, most)),
            // Others at the same host, so that nobody is named by somebody who was (RFC 9990 4).
            Consent::Instead(uris) => {
                let others = uris.iter().filter_map(|uri| target(uri));
                let own = others.filter(|(other, _)| *other.canonical_host() == *host);
                found.extend(own.take(MOST_ADDRESSES));
                if found.is_empty() {
                    refused.push(format!("{host} names no address of its own"));
                }
            }
        }
        for (address, most) in found {
            match fits(most) {
                true if recipients.contains(&address) => {}
                true => recipients.push(address),
                false => refused.push(format!("it is too large for {}", address.address())),
            }
        }
    }
    Ok((recipients, refused))
}
