//! Chunks that are too large, lines that are too long, and octets that never come.

use super::*;

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
    let config = Config::new().set("timeout", "4");
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
