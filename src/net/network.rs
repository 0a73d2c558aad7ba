//! What counts as one client.

use std::net::IpAddr;

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
