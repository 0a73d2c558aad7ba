//! Whom an entry is about.

use std::net::IpAddr;

use crate::hook::Session;
use crate::mail::Address;
use crate::origin::spf::Outcome;
use crate::plugins::greylisting::rules::{Client, Rules, Spf};
use crate::state::Note;
use crate::store::network_of;

/// The result of SPF, where a Perl plugin has found it.
const SPFQUERY: Note<String> = Note::new("spfquery");

/// May the client send for the sender's domain?  It is looked up if nobody has done so yet.
pub(super) fn passes_spf(session: &mut Session, sender: &Address) -> bool {
    if let Some(result) = session.transaction.notes.get(SPFQUERY) {
        return result == "pass" && !sender.is_null();
    }
    if session.transaction.results.helo.is_none() {
        session.check_spf_of(Some(sender));
    }
    let spf = session.transaction.results.spf.as_ref();
    spf.is_some_and(|spf| spf.finding.outcome == Outcome::Pass)
}

/// Where a client's entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Client, sender and recipient, as the rules want them.
    pub text: String,
    /// The same with the client's address, where the rules want something else of the client.
    pub by_address: Option<String>,
}

impl Key {
    /// The key of an entry; None: the rules want nothing.
    pub(super) fn of(
        session: &Session,
        rules: &Rules,
        passes_spf: bool,
        sender: &Address,
        recipient: Option<&Address>,
    ) -> Option<Key> {
        let ip = session.connection.remote_ip;
        let client = match rules.client {
            _ if passes_spf && rules.spf == Spf::StandsForClient => {
                Some(sender.canonical_host().into_owned())
            }
            Client::Nothing => None,
            Client::Address => Some(ip.to_string()),
            Client::Network => Some(network(ip)),
            Client::Name => Some(organization(session, rules, ip).unwrap_or_else(|| network(ip))),
        };
        let rest = [
            rules.sender.then(|| folded(sender)),
            recipient.filter(|_| rules.recipient).map(folded),
        ];
        let joined = |client: Option<String>| {
            let parts: Vec<String> =
                client.into_iter().chain(rest.iter().flatten().cloned()).collect();
            parts.join(" ")
        };
        let address = ip.to_string();
        let has_other = client.as_ref().is_some_and(|client| *client != address);
        let by_address = has_other.then(|| joined(Some(address)));
        Some(Key { text: joined(client), by_address }).filter(|key| !key.text.is_empty())
    }
}

/// The network that stands for an address: /24, IPv6 /64.
pub(super) fn network(ip: IpAddr) -> String {
    network_of(ip, 24, 64)
}

/// The domain of the organization that has the client.
fn organization(session: &Session, rules: &Rules, ip: IpAddr) -> Option<String> {
    let name = session.confirmed_host()?;
    rules.suffixes.as_ref()?.organization(&name).filter(|_| !is_made_of(&name, ip))
}

/// Is the name made of the address, as those of dial-up lines are: are the address's last two numbers
/// beside each other in it, in either order?
pub(super) fn is_made_of(name: &str, ip: IpAddr) -> bool {
    let (last, radix): ([u32; 2], u32) = match ip {
        IpAddr::V4(ip) => {
            let [.., c, d] = ip.octets();
            ([c.into(), d.into()], 10)
        }
        IpAddr::V6(ip) => {
            let [.., c, d] = ip.segments();
            ([c.into(), d.into()], 16)
        }
    };
    let numbers = name.split(|c: char| !c.is_digit(radix));
    let numbers: Vec<u32> =
        numbers.filter_map(|digits| u32::from_str_radix(digits, radix).ok()).collect();
    numbers.windows(2).any(|pair| pair == last || pair == [last[1], last[0]])
}

/// An address as its entry has it, with its brackets: `<user@example.com>`.
pub(super) fn folded(address: &Address) -> String {
    Address::new(&address.user().to_lowercase(), &address.canonical_host()).to_string()
}
