//! Messages in chunks (RFC 3030): however a message is cut, what arrives is what DATA would bring.

// Every octet that means something, cut everywhere.
pub(crate) mod cuts;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, Call, Hook, Hooks, OK, Verdict};
use qpsmtpd::testing::Trial;

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
        let config = Config::new().set("databytes", "0").set("size_threshold", threshold);
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
        let config = Config::new().set("bare_newline", policy);
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

/// Where it is not known what follows, nothing of it may be taken for a command.
#[test]
fn a_size_that_cannot_be_read_ends_the_session() {
    let config = Config::new();
    let server = Server::start(&config, Model::Prefork);
    let long = format!("BDAT 10 {}", "x".repeat(600));
    let (huge, control) = ("BDAT 99999999999999999999", "BDAT 10\x07");
    for (line, code) in [("BDAT", "501"), ("BDAT x", "501"), ("BDAT 10 FIRST", "501")]
        .into_iter()
        .chain([(huge, "501"), (control, "501"), (&long, "500")])
    {
        let mut client = begin(&server);
        client.say(&format!("{line}\r\nRSET"));
        client.expect(code);
        client.closed();
    }
    server.stop().unwrap();
}

#[test]
fn limits_are_kept_and_the_rest_is_read() {
    let config = Config::new().set("databytes", "5000").set("max_line_length", "2000");
    let server = Server::start(&config, Model::Prefork);
    let lines = b"a line\r\n".repeat(500);
    let too_big = "552 5.3.4 Message too big!";
    let too_long = "552 5.3.4 A line of the message is too long";
    for (sizes, octets, replies) in [
        (&["1000", "4000 LAST"][..], &lines, &["250", "250"][..]),
        (&["1000", "4001 LAST"], &lines, &["250", too_big]),
        (&["4000", "1001", "10", "0 LAST"], &lines, &["250", too_big, too_big, too_big]),
        (&["1000000 LAST"], &lines.repeat(250), &[too_big]),
        (&["1000000", "1"], &lines.repeat(250), &[too_big, too_big]),
        (&["1500", "501", "9 LAST"], &vec![b'x'; 2001], &["250", too_long, too_long]),
    ] {
        let mut client = begin(&server);
        let mut rest = octets.iter().cycle();
        let mut wire = vec![];
        for size in sizes {
            let count: usize = size.split(' ').next().unwrap().parse().unwrap();
            wire.extend_from_slice(format!("BDAT {size}\r\n").as_bytes());
            wire.extend(rest.by_ref().take(count));
        }
        wire.extend_from_slice(b"NOOP\r\n");
        client.send_raw(&wire);
        for want in replies {
            let reply = client.reply();
            assert!(reply.lines[0].starts_with(want), "{sizes:?}: {reply:?}");
        }
        assert!(client.expect("250").lines[0].ends_with("OK"));
        assert_eq!(config.take_mails().len(), usize::from(*replies == ["250", "250"]));
        // The refusal does not outlive its transaction.
        envelope(&mut client);
        client.ask("BDAT 0 LAST", "250");
        taken(&config);
        client.quit();
    }
    server.stop().unwrap();
}

#[test]
fn a_client_that_dies_in_a_chunk_leaves_nothing_behind() {
    for model in Model::ALL {
        let config = Config::new().set("databytes", "0").set("size_threshold", "1000");
        let server = Server::start(&config, model);
        for (size, octets) in [
            ("1000", 500),
            ("1000 LAST", 999),
            ("1000000", 999_999),
            ("500000", 500_000),
            ("9223372036854775807 LAST", 300_000),
        ] {
            let mut client = begin(&server);
            chunk(&mut client, &format!("BDAT {size}"), &message(octets, 7)[..octets]);
            drop(client);
        }
        let mut client = begin(&server);
        client.ask("BDAT 0 LAST", "250");
        client.quit();
        assert_eq!(config.mails().len(), 1, "{model}");
        server.stop().unwrap();
    }
}

#[test]
fn a_client_that_is_silent_in_a_chunk_is_sent_away() {
    let config = Config::new().set("timeout", "1");
    let server = Server::start(&config, Model::Prefork);
    for command in ["BDAT 10", "BDAT 10 LAST"] {
        let mut client = begin(&server);
        chunk(&mut client, command, b"Subject");
        client.expect("421");
        client.closed();
    }
    assert!(config.mails().is_empty());
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

thread_local! {
    static ASKED: RefCell<Vec<&'static str>> = const { RefCell::new(vec![]) };
}

/// A plugin that writes down when it is asked, and refuses as its argument says.
fn asked(hooks: &mut Hooks, args: &Args) -> Result<()> {
    const HOOKS: [Hook; 8] = [
        Hook::Data,
        Hook::DataHeadersEnd,
        Hook::ReceivedLine,
        Hook::DataPostHeaders,
        Hook::DataPost,
        Hook::QueuePre,
        Hook::Queue,
        Hook::ResetTransaction,
    ];
    let refuses = args.get(0).map(str::to_owned);
    for hook in HOOKS {
        let refuses = refuses.clone();
        hooks.on(hook, move |session, _: &Call<'_>| {
            ASKED.with_borrow_mut(|asked| asked.push(hook.name()));
            let is_early = hook == Hook::Data && session.client_is_talking(Duration::ZERO);
            match refuses.as_deref() {
                _ if is_early => Verdict::deny("early"),
                Some("deny") if hook == Hook::Data => Verdict::denysoft("not now"),
                Some("close") if hook == Hook::Data => Verdict::deny_disconnect("go away"),
                Some("done") if hook == Hook::Data => {
                    session.respond(451, "own words");
                    qpsmtpd::hook::DONE
                }
                Some("headers") if hook == Hook::DataHeadersEnd => {
                    Verdict::deny_disconnect("bad header")
                }
                _ if hook == Hook::Queue => OK,
                _ => qpsmtpd::hook::DECLINED,
            }
        });
    }
    hooks.rcpt(|_, _, _| OK);
    Ok(())
}

/// What the plugin was asked after RCPT, and the last replies, one for each of `wire`.
fn ask(args: &str, wire: &[&'static str]) -> (Vec<&'static str>, Vec<String>) {
    let (client, server) = UnixStream::pair().unwrap();
    let trial = Trial::with(asked, args, &[("me", "mx.test")]);
    let wire = wire.to_owned();
    let client = thread::spawn(move || {
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        let mut answer = || lines.next()?.ok();
        // After the server has closed the connection nobody takes what is said.
        let say = |text: &str| (&client).write_all(text.as_bytes()).ok();
        answer().unwrap();
        for line in ["HELO x\r\n", "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<b@x.test>\r\n"] {
            say(line).unwrap();
            answer().unwrap();
        }
        let replies = wire.into_iter().map_while(|text| {
            say(text)?;
            answer()
        });
        replies.collect::<Vec<_>>()
    });
    ASKED.take();
    trial.serve(OwnedFd::from(server));
    let replies = client.join().unwrap();
    // MAIL ends a transaction, too.
    let asked = ASKED.take();
    let start = asked.iter().position(|name| *name == "data").expect("it was asked");
    (asked[start..].to_vec(), replies)
}

#[test]
fn plugins_are_asked_as_after_data() {
    let (by_data, _) = ask("", &["DATA\r\n", "Subject: x\r\n\r\ntext\r\n.\r\n"]);
    assert_eq!(by_data[..2], ["data", "data_headers_end"]);
    for wire in [
        &["BDAT 20 LAST\r\nSubject: x\r\n\r\ntext\r\n"][..],
        &["BDAT 14\r\nSubject: x\r\n\r\n", "BDAT 6\r\ntext\r\n", "BDAT 0 LAST\r\n"],
        &["BDAT 0\r\n", "BDAT 1\r\nS", "BDAT 19 LAST\r\nubject: x\r\n\r\ntext\r\n"],
    ] {
        let (asked, replies) = ask("", wire);
        assert_eq!(asked, by_data, "{wire:?}");
        assert_eq!(replies.last().unwrap(), "250 Queued");
    }
    // A message that is all header.
    let (asked, replies) = ask("", &["BDAT 12\r\nSubject: x\r\n", "BDAT 0 LAST\r\n"]);
    assert_eq!((asked, &replies[1][..]), (by_data, "250 Queued"));
}

#[test]
fn a_plugin_may_refuse_before_the_first_chunk_and_after_the_header() {
    let chunks = &["BDAT 6\r\nQUIT\r\n", "BDAT 6\r\nQUIT\r\n", "BDAT 0 LAST\r\n", "BDAT 0\r\n"];
    let (asked, replies) = ask("deny", chunks);
    assert_eq!(asked[..2], ["data", "reset_transaction"]);
    assert!(!asked[1..].iter().any(|name| *name != "reset_transaction"), "{asked:?}");
    assert_eq!(replies, ["451 not now", "451 not now", "451 not now", "503 MAIL first"]);
    let (_, replies) = ask("close", chunks);
    assert_eq!(replies, ["554 go away"]);
    let (_, replies) = ask("done", chunks);
    assert_eq!(replies[..2], ["451 own words", "554 Message denied"]);
    let (asked, replies) =
        ask("headers", &["BDAT 6\r\nX: x\r\n", "BDAT 4\r\n\r\nx\r", "BDAT 1\r\n\n"]);
    assert_eq!(asked[..2], ["data", "data_headers_end"]);
    assert_eq!(replies, ["250 6 octets received", "554 bad header"]);
}
