//! Addresses and networks, as lists of clients have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Reads the beginning of addresses, with a dot or colon at its end: `192.168.` or `2001:db8:`.
/// Where the last group of an IPv6 address is written out, `2001:0db8`, the colon may be left out.
pub fn leading_numbers(word: &str) -> Option<IpNet> {
    if let Some(numbers) = word.strip_suffix('.') {
        let number = |text: &str| text.parse().ok();
        let numbers = numbers.split('.').map(number).collect::<Option<Vec<u8>>>()?;
        let mut octets = [0; 4];
        octets.get_mut(..numbers.len())?.copy_from_slice(&numbers);
        return IpNet::new(Ipv4Addr::from(octets).into(), 8 * numbers.len() as u8).ok();
    }
    let groups = word.strip_suffix(':').or_else(|| ends_in_whole_group(word).then_some(word))?;
    let group = |text| u16::from_str_radix(text, 16).ok();
    let groups = groups.split(':').map(group).collect::<Option<Vec<u16>>>()?;
    let mut segments = [0; 8];
    segments.get_mut(..groups.len())?.copy_from_slice(&groups);
    IpNet::new(Ipv6Addr::from(segments).into(), 16 * groups.len() as u8).ok()
}

fn ends_in_whole_group(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(_, last)| last.len() == 4)
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
