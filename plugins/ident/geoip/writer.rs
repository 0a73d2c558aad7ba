//! For tests: writes databases of MaxMind's form, version 2.0.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

/// What stands between the tree and the data, in octets.
const SEPARATOR: usize = 16;

/// A database of these networks and what is known of each.
pub(crate) fn database(kind: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut tree = vec![[None, None]];
    let mut data = vec![];
    for (network, value) in networks {
        let at = data.len();
        encode(value, &mut data);
        insert(&mut tree, network.parse().unwrap(), at);
    }
    let nodes = tree.len();
    let mut octets = vec![];
    for record in tree.iter().flatten() {
        let number = match record {
            None => nodes,
            Some(Record::Node(node)) => *node,
            Some(Record::Data(at)) => nodes + SEPARATOR + at,
        };
        octets.extend(&u32::try_from(number).unwrap().to_be_bytes()[1..]);
    }
    octets.extend([0; SEPARATOR]);
    octets.extend(data);
    octets.extend(b"\xab\xcd\xefMaxMind.com");
    start(7, 9, &mut octets);
    for (name, kind, size, number) in [
        ("binary_format_major_version", UINT16, 2, 2),
        ("binary_format_minor_version", UINT16, 2, 0),
        ("build_epoch", UINT64, 8, 1_700_000_000),
        ("ip_version", UINT16, 2, 6),
        ("node_count", UINT32, 4, nodes as u64),
        ("record_size", UINT16, 2, 24),
    ] {
        encode(&json!(name), &mut octets);
        start(kind, size, &mut octets);
        octets.extend(&number.to_be_bytes()[8 - size..]);
    }
    for (name, value) in [
        ("database_type", json!(kind)),
        ("description", json!({"en": "for tests"})),
        ("languages", json!(["en"])),
    ] {
        encode(&json!(name), &mut octets);
        encode(&value, &mut octets);
    }
    octets
}

/// The types of numbers.
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const UINT64: u8 = 9;

#[derive(Clone, Copy)]
enum Record {
    Node(usize),
    Data(usize),
}

/// IPv4 is in ::/96.
fn insert(tree: &mut Vec<[Option<Record>; 2]>, network: IpNet, data: usize) {
    let (bits, length) = match network.network() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), network.prefix_len() + 96),
        IpAddr::V6(ip) => (u128::from(ip), network.prefix_len()),
    };
    let mut node = 0;
    for depth in 0..length {
        let bit = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == length {
            tree[node][bit] = Some(Record::Data(data));
            return;
        }
        node = match tree[node][bit] {
            Some(Record::Node(next)) => next,
            _ => {
                tree.push([None, None]);
                let next = tree.len() - 1;
                tree[node][bit] = Some(Record::Node(next));
                next
            }
        };
    }
}

/// Objects as maps, texts as texts, numbers as doubles or as numbers of 32 bits, lists as lists.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            start(7, fields.len(), out);
            for (name, value) in fields {
                encode(&Value::String(name.clone()), out);
                encode(value, out);
            }
        }
        Value::Array(values) => {
            start(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
        Value::String(text) => {
            start(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => match number.as_u64() {
            Some(number) => {
                start(UINT32, 4, out);
                out.extend(u32::try_from(number).unwrap().to_be_bytes());
            }
            None => {
                start(3, 8, out);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        other => panic!("{other}"),
    }
}

/// The octets in front of a value: its type and its size.
fn start(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (small, more) = match size {
        0..29 => (size as u8, None),
        _ => (29, Some(u8::try_from(size - 29).unwrap())),
    };
    match kind {
        0..8 => out.push(kind << 5 | small),
        _ => out.extend([small, kind - 7]),
    }
    out.extend(more);
}
