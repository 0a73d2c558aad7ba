//! A DNS server with a few records, for plugins that ask one.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The types that there are, by their numbers (RFC 1035 3.2.2, RFC 3596).
const TYPES: [(&str, u16); 7] =
    [("A", 1), ("NS", 2), ("CNAME", 5), ("PTR", 12), ("MX", 15), ("TXT", 16), ("AAAA", 28)];

/// It serves as long as this lives; a name without records does not exist.
pub(super) struct Dns {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Dns {
    /// Serves these records: name, type, value.
    pub(super) fn start(records: &[(String, String, String)]) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let dns = Dns {
            port: socket.local_addr().unwrap().port(),
            ended: Arc::new(AtomicBool::new(false)),
        };
        let (records, ended) = (records.to_vec(), dns.ended.clone());
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, peer)) = socket.recv_from(&mut question) else { continue };
                if let Some(reply) = reply(&question[..count], &records) {
                    socket.send_to(&reply, peer).ok();
                }
            }
        });
        dns
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// The answer to a packet with one question.
fn reply(packet: &[u8], records: &[(String, String, String)]) -> Option<Vec<u8>> {
    let mut labels = vec![];
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let wanted = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    let question = packet.get(12..at + 4)?;
    let name = labels.join(".");
    let known: Vec<_> = records.iter().filter(|row| row.0 == name).collect();
    let answers: Vec<Vec<u8>> = known
        .iter()
        .filter_map(|row| {
            let number = TYPES.iter().find(|(kind, _)| *kind == row.1)?.1;
            (number == wanted).then(|| record(number, &row.2))
        })
        .collect();
    let mut out = packet[..2].to_vec();
    // A response, with recursion; 3 is "no such name".
    out.extend([0x85, if known.is_empty() { 0x83 } else { 0x80 }, 0, 1, 0, answers.len() as u8]);
    out.extend([0, 0, 0, 0]);
    out.extend(question);
    out.extend(answers.concat());
    Some(out)
}

fn record(kind: u16, value: &str) -> Vec<u8> {
    let name = |text: &str| {
        let mut out = vec![];
        for label in text.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend(label.bytes());
        }
        out.push(0);
        out
    };
    let data = match kind {
        1 => value.parse::<Ipv4Addr>().unwrap().octets().to_vec(),
        28 => value.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        15 => [vec![0, 10], name(value)].concat(),
        16 => value
            .as_bytes()
            .chunks(255)
            .flat_map(|part| [&[part.len() as u8][..], part].concat())
            .collect(),
        _ => name(value),
    };
    // The name is the question's.
    let head = [0xc0, 12, (kind >> 8) as u8, kind as u8, 0, 1, 0, 0, 0, 60];
    [&head[..], &(data.len() as u16).to_be_bytes(), &data].concat()
}
