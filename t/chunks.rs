//! Messages in chunks (RFC 3030): however a message is cut, what arrives is what DATA would bring.

// Every octet that means something, cut everywhere.
pub(crate) mod cuts;
// What is too large, too long, or never comes.
mod limits;
// What plugins notice of it.
mod plugins;

use std::time::Duration;

use crate::harness::{Client, Config, Model, Server};
use crate::messages::{message, stored, stuffed};

/// As in t/messages.rs: numbers without regularity that are the same in every run.
pub(crate) fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    }
}

/// Cuts a message into chunks of these sizes; the last chunk is LAST.
pub(crate) fn cut(message: &[u8], mut size: impl FnMut() -> usize) -> Vec<Vec<u8>> {
    let mut chunks = vec![];
    let mut rest = message;
    loop {
        let (chunk, more) = rest.split_at(size().min(rest.len()));
        let last = if more.is_empty() { " LAST" } else { "" };
        let mut wire = format!("BDAT {}{last}\r\n", chunk.len()).into_bytes();
        wire.extend_from_slice(chunk);
        chunks.push(wire);
        if more.is_empty() {
            return chunks;
        }
        rest = more;
    }
}

fn envelope(client: &mut Client) {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
}

fn begin(server: &Server<'_>) -> Client {
    let mut client = server.connect();
    client.hello();
    envelope(&mut client);
    client
}

/// A chunk as the client sends it.
fn chunk(client: &mut Client, command: &str, octets: &[u8]) {
    client.send_raw(&[command.as_bytes(), b"\r\n", octets].concat());
}

/// A message of the Maildir but for the time in its Received field.
fn without_date(mail: &[u8]) -> Vec<u8> {
    let start = b" with ESMTP; ";
    let at = mail.windows(start.len()).position(|part| part == start).expect("a Received field");
    let end = mail[at..].iter().position(|octet| *octet == b'\n').unwrap();
    [&mail[..at], &mail[at + end..]].concat()
}

/// The one message that is there.
fn taken(config: &Config) -> Vec<u8> {
    let mut mails = config.take_mails();
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

#[test]
fn cut_in_whatever_way_it_arrives_as_by_data() {
    const DOTS: &[u8] = b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\nQUIT\r\n";
    for (model, threshold) in
        [(Model::Prefork, "0"), (Model::Prefork, "100000"), (Model::Inetd, "3000")]
    {
        let config = Config::new().set("databytes", "0").set("junk_commands", "0");
        let config = config.set("size_threshold", threshold);
        let server = Server::start(&config, model);
        for seed in 0..24 {
            let message = match seed % 3 {
                0 => DOTS.to_vec(),
                _ => [DOTS, &message(20_000, seed)].concat(),
            };
            let mut client = server.connect();
            client.hello();
            client.envelope();
            client.send_raw(&stuffed(&message));
            client.expect("250");
            let by_data = without_date(&taken(&config));
            assert!(by_data.ends_with(&stored(&message)));

            let mut number = numbers(seed);
            // Not so many chunks that the test takes long.
            let many = if seed % 2 == 0 { 300 } else { 20 };
            let most = [2, 3, 20, 5000][seed as usize / 3 % 4].max(message.len() / many);
            let chunks = cut(&message, || number(most));
            envelope(&mut client);
            if seed % 2 == 0 {
                client.send_raw(&chunks.concat());
            }
            for chunk in &chunks {
                if seed % 2 == 1 {
                    let at = number(chunk.len() + 1);
                    client.send_raw(&chunk[..at]);
                    client.has_input(Duration::from_millis(1));
                    client.send_raw(&chunk[at..]);
                }
                client.expect("250");
            }
            assert!(without_date(&taken(&config)) == by_data, "{model} {seed}: {}", chunks.len());
            client.quit();
        }
        server.stop().unwrap();
    }
}

#[test]
fn a_message_may_have_no_last_line_end_and_no_octet_at_all() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let mut client = begin(&server);
    chunk(&mut client, "BDAT 17 LAST", b"Subject: x\r\n\r\nend");
    assert!(client.expect("250").lines[0].starts_with("250 2.0.0 Queued! "));
    assert!(taken(&config).ends_with(b"\nSubject: x\n\nend"));
    envelope(&mut client);
    client.ask("BDAT 0 LAST", "250");
    let (empty, data) = (taken(&config), {
        client.envelope();
        client.ask(".", "250");
        taken(&config)
    });
    assert!(without_date(&empty) == without_date(&data));
    envelope(&mut client);
    assert_eq!(client.ask("BDAT 0", "250").lines, ["250 2.0.0 0 octets received"]);
    chunk(&mut client, "bdat 14", b"Subject: x\r\n\r\n");
    client.expect("250");
    client.ask("BDAT 0", "250");
    client.ask("BDAT 0 LAST", "250");
    assert!(taken(&config).ends_with(b"\nSubject: x\n\n"));
    client.quit();
    server.stop().unwrap();
}

/// Whether it comes by DATA or in two chunks, be the border where it may.
#[test]
fn bare_line_ends_are_seen_across_the_borders_of_chunks() {
    let odd: [&[u8]; 9] = [
        b"a\r\nb\r\n\r\n",
        b"a\n.\r\nb\r\n",
        b"a\r\n.\nb\r\n",
        b"a\rb\r\n",
        b"a\r\r\nb\r\n",
        b"a\r\n\rb\r\n",
        b"a\r\n\n.\r\n",
        b"a\r\nb\r",
        b"a\r\nb\n",
    ];
    for policy in ["reject", "normalize", "accept"] {
        let config = Config::new().set("bare_newline", policy).set("junk_commands", "0");
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        for (number, odd) in odd.into_iter().enumerate() {
            let message = [b"Subject: odd\r\n\r\n", odd].concat();
            // CR and LF that are no pair, marked.
            let marked = String::from_utf8(message.clone()).unwrap().replace("\r\n", "!");
            let has_bare = marked.contains(['\r', '\n']);
            assert_eq!(has_bare, number > 0);
            let normal = marked.replace(['\r', '\n'], "!").replace('!', "\r\n").into_bytes();
            let want = stored(if policy == "normalize" { &normal } else { &message });
            for at in 14..message.len() {
                let mut sizes = [at, message.len()].into_iter();
                let chunks = cut(&message, || sizes.next().unwrap());
                envelope(&mut client);
                client.send_raw(&[chunks.concat(), b"NOOP\r\n".to_vec()].concat());
                let (first, last) = (client.reply(), client.reply());
                assert!(client.expect("250").lines[0].ends_with("OK"));
                let shown = format!("{policy} {number} {at}: {first:?} {last:?}");
                let mails = config.take_mails();
                if has_bare && policy == "reject" {
                    assert_eq!((&last.code[..], mails.len()), ("550", 0), "{shown}");
                    assert!(first.code == "250" || first.lines == last.lines, "{shown}");
                } else {
                    assert_eq!((&first.code[..], &last.code[..]), ("250", "250"), "{shown}");
                    assert!(mails.len() == 1 && mails[0].ends_with(&want), "{shown}: {mails:?}");
                }
            }
        }
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn chunks_out_of_order_are_read_and_refused() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.expect("220");
    let offers = client.ask("EHLO client.test", "250").lines;
    assert!(offers.contains(&"250-CHUNKING".to_owned()), "{offers:?}");
    assert!(!offers.iter().any(|line| line.contains("BINARYMIME")), "{offers:?}");
    client.ask("MAIL FROM:<a@example.net> BODY=BINARYMIME", "501");

    chunk(&mut client, "BDAT 6", b"QUIT\r\n");
    assert_eq!(client.expect("503").lines, ["503 5.5.1 MAIL first"]);
    client.ask("MAIL FROM:<a@example.net>", "250");
    chunk(&mut client, "BDAT 6 LAST", b"QUIT\r\n");
    assert_eq!(client.expect("503").lines, ["503 5.5.1 RCPT first"]);

    // What may not be between chunks, and leaves them as they were.
    envelope(&mut client);
    chunk(&mut client, "BDAT 14", b"Subject: x\r\n\r\n");
    client.expect("250");
    client.ask("DATA", "503");
    client.ask("RCPT TO:<c@example.com>", "503");
    client.ask("NOOP", "250");
    chunk(&mut client, "BDAT 6 LAST", b"text\r\n");
    client.expect("250");
    assert!(taken(&config).ends_with(b"\n\ntext\n"));

    // RSET, MAIL and EHLO end a message that is on its way.
    for end in ["RSET", "EHLO client.test", "MAIL FROM:<x@example.net>"] {
        envelope(&mut client);
        chunk(&mut client, "BDAT 15", b"X-Old: yes\r\n\r\nx");
        client.expect("250");
        client.ask(end, "250");
        client.ask("BDAT 0 LAST", "503");
        envelope(&mut client);
        chunk(&mut client, "BDAT 14 LAST", b"X-New: yes\r\n\r\n");
        client.expect("250");
        let mail = taken(&config);
        assert!(mail.ends_with(b"\nX-New: yes\n\n"), "{}", mail.escape_ascii());
        assert!(!String::from_utf8(mail).unwrap().contains("X-Old"));
    }
    client.quit();
    server.stop().unwrap();
}

/// Dots that came in as they are go out doubled: the next server speaks DATA.
#[test]
fn a_queue_that_forwards_doubles_the_dots() {
    let back = Config::new();
    let behind = Server::start(&back, Model::Prefork);
    let forward = format!("rcpt_ok\nqueue/smtp-forward 127.0.0.1 {}", behind.port());
    let front = Config::new().set("plugins", &forward);
    let server = Server::start(&front, Model::Prefork);
    let mut client = begin(&server);
    let message = b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\nQUIT\r\nend";
    for chunk in cut(message, || 3) {
        client.send_raw(&chunk);
        client.expect("250");
    }
    client.quit();
    assert!(taken(&back).ends_with(&[&stored(message)[..], b"\n"].concat()));
    server.stop().unwrap();
    behind.stop().unwrap();
}
