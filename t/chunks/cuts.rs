//! Whatever octets a message has, and wherever it is cut, the queue gets what was sent: to the
//! octet, against what `bare_newline` says of it.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use qpsmtpd::testing::{Trial, keeps, queued};

use super::*;

/// The octets that mean something to somebody, and one that does not.
pub(crate) const OCTETS: [u8; 5] = [b'\r', b'\n', 0, b'.', b'x'];

/// Sizes of chunks: nothing, next to nothing, primes, and those around the sizes of buffers.
pub(crate) const SIZES: [usize; 14] =
    [0, 1, 2, 3, 7, 31, 127, 4093, 4096, 4097, 65_535, 65_536, 65_537, 200_003];

pub(crate) const START: &[u8] = b"Subject: x\r\n\r\n";

pub(crate) const POLICIES: [&str; 3] = ["accept", "normalize", "reject"];

/// What is to be in the queue; None: nothing, as the message is refused.
pub(crate) fn wanted(policy: &str, message: &[u8]) -> Option<Vec<u8>> {
    let mut normal = vec![];
    let mut rest = message;
    while let Some(octet) = rest.first() {
        let is_pair = rest.starts_with(b"\r\n");
        match octet {
            b'\r' | b'\n' => normal.extend_from_slice(b"\r\n"),
            _ => normal.push(*octet),
        }
        rest = &rest[if is_pair { 2 } else { 1 }..];
    }
    let queued = match policy {
        "accept" => message.to_vec(),
        "normalize" => normal,
        _ if normal == message => normal,
        _ => return None,
    };
    Some([b"Received: here\r\n", &queued[..]].concat())
}

/// Sends messages in these chunks in one session, and sees that the queue has got what it should.
fn arrive(policy: &str, threshold: &str, messages: &[(Vec<u8>, Vec<Vec<u8>>)]) {
    let files = [
        ("bare_newline", policy),
        ("size_threshold", threshold),
        ("me-auth-results", "none"),
        ("junk_commands", "0"),
    ];
    let trial = Trial::with(keeps, "", &files);
    let (client, server) = UnixStream::pair().unwrap();
    let sent: Vec<_> = messages.iter().map(|(_, chunks)| (chunks.len(), chunks.concat())).collect();
    let client = thread::spawn(move || {
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let mut replies = |count: usize| {
            let reply = (&mut lines).take(count).map(|line| line.unwrap()).last();
            reply.expect("there was one")
        };
        replies(1);
        (&client).write_all(b"HELO x\r\n").unwrap();
        replies(1);
        let mut last = vec![];
        for (chunks, wire) in sent {
            let envelope = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n";
            (&client).write_all(&[envelope, &wire[..]].concat()).unwrap();
            last.push(replies(2 + chunks));
        }
        (&client).write_all(b"QUIT\r\n").unwrap();
        last
    });
    queued();
    trial.serve(OwnedFd::from(server));
    let last = client.join().unwrap();
    let mut queued = queued().into_iter();
    for ((message, chunks), reply) in messages.iter().zip(last) {
        let shown = || {
            let sizes: Vec<_> = chunks.iter().map(Vec::len).take(20).collect();
            let start = &message[..message.len().min(200)];
            format!("{policy} {threshold} {reply}: {} in {sizes:?}", start.escape_ascii())
        };
        match wanted(policy, message) {
            Some(want) => {
                assert!(reply.starts_with("250 Queued"), "{}", shown());
                assert!(queued.next().is_some_and(|got| got == want), "{}", shown());
            }
            None => assert!(reply.starts_with("550 "), "{}", shown()),
        }
    }
    assert_eq!(queued.next(), None);
}

/// All strings of so many octets of these.
pub(crate) fn all(octets: &[u8], length: u32) -> impl Iterator<Item = Vec<u8>> {
    let count = octets.len();
    (0..count.pow(length)).map(move |number| {
        (0..length).map(|place| octets[number / count.pow(place) % count]).collect()
    })
}

#[test]
fn every_short_text_arrives_in_whatever_chunks() {
    for policy in POLICIES {
        let mut number = numbers(policy.len() as u64);
        let texts = (0..=4).flat_map(|length| all(&OCTETS[..4], length));
        let messages: Vec<_> = texts
            .map(|text| {
                let message = [START, &text].concat();
                // Now and then the border of the header is one of chunks, too.
                let first = number(START.len() + 2);
                let mut sizes = [first].into_iter();
                let chunks = cut(&message, || sizes.next().unwrap_or_else(|| number(4)));
                (message, chunks)
            })
            .collect();
        arrive(policy, "0", &messages);
    }
}

#[test]
fn every_combination_arrives_in_whatever_chunks() {
    let combinations: Vec<u8> = all(&OCTETS, 4).flatten().collect();
    for seed in 0..40 {
        let mut number = numbers(seed);
        let messages: Vec<_> = (0..3)
            .map(|_| {
                // Some sizes that are next to each other; not so many chunks that it takes long.
                let from = number(SIZES.len() - 2);
                let sizes = &SIZES[from..][..3];
                let most = [400, 2000, 400_000][number(3)].min(200 * sizes[2]);
                let skipped = number(combinations.len());
                let text = combinations.iter().cycle().skip(skipped).take(number(most + 1));
                let message: Vec<u8> = START.iter().chain(text).copied().collect();
                let chunks = cut(&message, || sizes[number(3)]);
                (message, chunks)
            })
            .collect();
        let policy = POLICIES[seed as usize % 2];
        arrive(policy, if seed % 4 < 2 { "0" } else { "100000000" }, &messages);
    }
}
