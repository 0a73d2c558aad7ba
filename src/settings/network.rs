//! Addresses and networks, as lists of clients have them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Reads `192.0.2.1`, `2001:db8::1`, `10.1.0.0/16` or `2001:db8::/32`; None where it is none of
/// these.  An address is a network of its own, and what stands for an IPv4 address within IPv6
/// (`::ffff:192.0.2.1`, RFC 4291 2.5.5.2) is that IPv4 address, as it is for clients.
pub fn network(word: &str) -> Option<IpNet> {
    let network = match word.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => word.parse::<IpNet>().ok()?,
    };
    let network = match network {
        IpNet::V6(mapped) => as_ipv4(mapped).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    };
    Some(network.trunc())
}

fn as_ipv4(network: Ipv6Net) -> Option<Ipv4Net> {
    let length = network.prefix_len().checked_sub(96)?;
    Ipv4Net::new(network.addr().to_ipv4_mapped()?, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_networks() {
        for (word, found) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("2001:DB8::1", Some("2001:db8::1/128")),
            ("10.1.2.3/16", Some("10.1.0.0/16")),
            ("::ffff:10.1.2.3/112", Some("10.1.0.0/16")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:0:0/95", Some("::fffe:0:0/95")),
            ("::/0", Some("::/0")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("10.1", None),
            ("10.1.0.0/33", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(
                network(word).map(|network| network.to_string()).as_deref(),
                found,
                "{word}"
            );
        }
    }
}
