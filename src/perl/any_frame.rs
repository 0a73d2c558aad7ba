//! Any octets in the place of what Perl says, for the fuzz targets.

use crate::hook::Session;
use crate::perl::protocol::FromPerl;
use crate::perl::replica::Replica;
use crate::perl::wire;

/// Takes any octets for a frame from Perl, and for what Perl did to a session.
pub(crate) fn take_frame(octets: &[u8], session: &mut Session) {
    let Ok(items) = wire::parse(octets) else { return };
    let mut frame = vec![];
    wire::write_frame(items.clone(), &mut frame);
    assert_eq!(wire::parse(&frame[4..]).as_ref(), Ok(&items));
    let _ = FromPerl::from_items(items.clone());
    let mut replica = Replica::default();
    for item in &items {
        replica.state(Some(session));
        replica.apply(Some(session), item);
        let header = session.transaction.header.to_bytes();
        assert!(
            header.split_inclusive(|octet| *octet == b'\n').all(|line| line.ends_with(b"\r\n"))
        );
    }
    replica.state(Some(session));
}
