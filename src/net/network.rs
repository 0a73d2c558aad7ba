//! What counts as one client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What counts as one address: a single one for IPv4, the /64 that one site has for IPv6.
///
/// ```
/// use qpsmtpd::store::network;
///
/// let network = |ip: &str| network(ip.parse().unwrap()).to_string();
/// assert_eq!(network("192.0.2.1"), "192.0.2.1");
/// assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
/// ```
pub fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

/// The network of that length, `v4` or `v6` bits, in which an address is, as text; an address where it is
/// one alone.
pub fn network_of(ip: IpAddr, v4: u8, v6: u8) -> String {
    let length = if ip.is_ipv4() { v4 } else { v6 };
    match IpNet::new(ip, length) {
        Ok(network) if length < network.max_prefix_len() => network.trunc().to_string(),
        _ => ip.to_string(),
    }
}

/// An address as Perl qpsmtpd keeps it: as a number, or as it is written.
///
/// ```
/// use qpsmtpd::store::numbered;
///
/// assert_eq!(numbered("3221225985"), "192.0.2.1".parse().ok());
/// assert_eq!(numbered("42540766411282592856903984951653826561"), "2001:db8::1".parse().ok());
/// assert_eq!(numbered("192.0.2.1"), "192.0.2.1".parse().ok());
/// assert_eq!(numbered("-1"), None);
/// ```
pub fn numbered(text: &str) -> Option<IpAddr> {
    match text.parse::<u128>() {
        Ok(number) => Some(match u32::try_from(number) {
            Ok(number) => Ipv4Addr::from(number).into(),
            Err(_) => Ipv6Addr::from(number).into(),
        }),
        Err(_) => text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()),
    }
}
