//! A filter for the tests, in a thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use crate::plugins::milter::packet;
use crate::testing::Trial;

/// A filter of one connection after the other: answers each packet with what `script` has for it, and
/// returns what it was told, a list for each connection.
pub(super) struct Peer {
    pub(super) asks: [u32; 3],
    pub(super) script: fn(u8, &[u8]) -> Option<Vec<u8>>,
    pub(super) most: usize,
}

pub(super) fn read_packet(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut data = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut data).ok()?;
    Some(data)
}

pub(super) fn answer(letter: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    packet::packet(letter, data, &mut out);
    out
}

impl Peer {
    fn serve(&self, mut stream: impl Read + Write) -> Vec<String> {
        let mut told = vec![];
        while let Some(packet) = read_packet(&mut stream) {
            let (letter, data) = (packet[0], &packet[1..]);
            let text = String::from_utf8_lossy(data).replace('\0', "|");
            let shown = if letter == b'O' { String::new() } else { text };
            let shown = if shown.len() > 500 { format!("{} octets", shown.len()) } else { shown };
            told.push(format!("{}{shown}", char::from(letter)));
            let reply = match letter {
                b'O' => Some(answer(b'O', &self.asks.map(u32::to_be_bytes).concat())),
                b'D' | b'A' | b'Q' | b'K' => None,
                _ => (self.script)(letter, data),
            };
            if let Some(reply) = reply
                && stream.write_all(&reply).is_err()
            {
                break;
            }
            if letter == b'Q' {
                break;
            }
        }
        told
    }

    pub(super) fn start(self, trial: &Trial) -> JoinHandle<Vec<Vec<String>>> {
        let listener = UnixListener::bind(trial.dir().join("m")).unwrap();
        thread::spawn(move || {
            (0..self.most).map(|_| self.serve(listener.accept().unwrap().0)).collect()
        })
    }
}

pub(super) fn proceed(_: u8, _: &[u8]) -> Option<Vec<u8>> {
    Some(answer(b'c', b""))
}

pub(super) const EVERYTHING: [u32; 3] = [6, 0x1ff, 0];
