//! What comes out of the queue is what went in: for any octets in any pieces, after DATA and in
//! chunks, kept in memory and in the spool.  The octets are random, and the same in every run.

use std::io::Write;
use std::thread;

use super::*;
use crate::chunks::cuts::{OCTETS, POLICIES, SIZES, START, wanted};
use crate::chunks::{cut, numbers};
use crate::messages::stuffed;

/// Numbers below what is asked for.
type Numbers<'a> = &'a mut dyn FnMut(usize) -> usize;

/// A message: of octets that mean something, of any octets, or of lines as they should be.
fn message(number: Numbers<'_>) -> Vec<u8> {
    let most = [20, 400, 5000, 150_000][number(4)];
    let count = number(most);
    let mut message = if number(8) > 0 { START.to_vec() } else { vec![] };
    let kind = number(3);
    for _ in 0..count {
        match kind {
            0 => message.push(OCTETS[number(OCTETS.len())]),
            1 => message.push(number(256) as u8),
            _ if number(20) == 0 => message.extend_from_slice(b"\r\n"),
            _ => message.push(b"..x \t\0\xff"[number(7)]),
        }
    }
    // A fold on top of all would be made a field of its own by the Received field above it.
    if matches!(message.first(), Some(b' ' | b'\t')) {
        message[0] = b'x';
    }
    message
}

/// The octets of DATA for a message: its dots doubled after every CRLF, and the end.
pub(super) fn after_data(message: &[u8]) -> Vec<u8> {
    let mut wire = vec![];
    for (at, octet) in message.iter().enumerate() {
        if *octet == b'.' && (at == 0 || message[..at].ends_with(b"\r\n")) {
            wire.push(b'.');
        }
        wire.push(*octet);
    }
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// A client on a thread of its own: more than fits into the socket's buffer.
fn exchange(trial: &Trial, wire: Vec<u8>, sizes: Vec<usize>) -> String {
    let (client, server) = packet_socket();
    let sender = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let (mut rest, mut sizes) = (&wire[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().expect("it cycles"));
            // A server that refuses to go on is not listened to any more.
            if (&sender).write_all(&rest[..size]).is_err() {
                return;
            }
            rest = &rest[size..];
        }
        let _ = sender.shutdown(Shutdown::Write);
    });
    trial.serve(server);
    sender.join().unwrap();
    everything(client)
}

fn arrives(seed: u64) {
    let mut number = numbers(seed);
    let policy = POLICIES[seed as usize % 3];
    let threshold = ["0", "1000", "100000000"][number(3)];
    let trial = keeping(policy, threshold);
    for _ in 0..12 {
        let message = message(&mut number);
        let by_data = number(2) == 0;
        let body = match by_data {
            true => [b"DATA\r\n", &after_data(&message)[..]].concat(),
            false => {
                let from = number(SIZES.len() - 2);
                let few = message.len() / 100;
                cut(&message, || SIZES[from + number(3)].max(few)).concat()
            }
        };
        let envelope = b"HELO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n";
        let wire = [envelope, &body[..], b"QUIT\r\n"].concat();
        let few = wire.len() / 300;
        let sizes = (0..5).map(|_| number(LARGEST_PACKET).max(few) % LARGEST_PACKET + 1).collect();
        let answers = exchange(&trial, wire, sizes);

        // DATA has to end a line; a dot before a bare LF under "reject" ends the session.
        let sent = match by_data && !message.is_empty() && !message.ends_with(b"\r\n") {
            true => [&message, &b"\r\n"[..]].concat(),
            false => message,
        };
        let shown = || {
            let start = &sent[..sent.len().min(300)];
            format!("{seed} {policy} {threshold} {by_data}: {}\n{answers}", start.escape_ascii())
        };
        let queued = queued();
        match wanted(policy, &sent) {
            Some(want) => assert!(queued == [want], "{}", shown()),
            None => {
                assert!(queued.is_empty(), "{}", shown());
                let codes = codes(&answers);
                assert!(codes.contains(" 550") || codes.contains(" 421"), "{}", shown());
            }
        }
    }
}

#[test]
fn any_octets_arrive_in_any_pieces() {
    (0..40).for_each(arrives);
}

#[test]
fn the_dots_that_clients_double_are_those_that_are_halved() {
    for message in [&b"a\r\n.\r\n..b\r\n"[..], b".\r\n", b"", b"a.\r\n"] {
        assert_eq!(after_data(message), stuffed(message));
    }
}
