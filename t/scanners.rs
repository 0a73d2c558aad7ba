//! What docs/scanners.md says of scanners that are away, slow or wrong.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use qpsmtpd::hook::{Code, Hook};
use qpsmtpd::testing::Trial;

/// Each scanner that is a server with the line that asks one at `{port}`, and the argument for which it is
/// not asked about a large message; empty where there is none.
const SCANNERS: [(&str, &str, &str); 4] = [
    ("rspamd", "rspamd 127.0.0.1:{port} deadline 1", "size_limit 10"),
    ("milter", "milter x {port} timeout 1", ""),
    ("spamassassin", "spamassassin spamd_socket 127.0.0.1:{port} timeout 1", "size_limit 10"),
    ("virus/clamdscan", "virus/clamdscan clamd_host 127.0.0.1 clamd_port {port} timeout 1", {
        "max_size 1"
    }),
];

/// What a server does to a question.
#[derive(Clone, Copy)]
enum Peer {
    Away,
    Silent,
    Closes,
    Babbles,
}

/// THE table of the rows: what the first cell is, who plays it, and what the line has beside.
const ROWS: [(&str, &[Peer], &str); 7] = [
    ("nobody listens", &[Peer::Away], ""),
    ("it says nothing until the deadline", &[Peer::Silent], ""),
    ("it closes the connection", &[Peer::Closes], ""),
    ("it answers something else", &[Peer::Babbles], ""),
    ("any of these with `on_error ignore`", &ALL, "on_error ignore"),
    ("any of these with `on_error tempfail`", &ALL, "on_error tempfail"),
    ("the message is larger than the argument says", &[Peer::Silent], "{size}"),
];

const ALL: [Peer; 4] = [Peer::Away, Peer::Silent, Peer::Closes, Peer::Babbles];

/// The port of a peer, which lives as long as the test.
fn listen(peer: Peer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    if matches!(peer, Peer::Away) {
        return port;
    }
    thread::spawn(move || {
        let mut kept = vec![];
        for mut stream in listener.incoming().flatten() {
            match peer {
                Peer::Closes => {}
                Peer::Babbles => {
                    // It reads first, since a reset would take the answer away.
                    let _ = stream.read(&mut [0; 65_536]);
                    let _ = stream.write_all(b"220 mx.test ESMTP\r\n\r\n");
                }
                _ => kept.push(stream),
            }
        }
    });
    port
}

#[test]
fn the_guide_says_what_comes_of_scanners_that_do_not_answer() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scanners.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = guide.lines().find(|line| line.starts_with("| what happens |")).unwrap();
    // The programs of filter, the last column, are played in t/filters.rs.
    let servers = cells(head)[1..=SCANNERS.len()].to_vec();
    assert_eq!(servers, SCANNERS.map(|row| row.0.to_owned()));
    for (name, peers, more) in ROWS {
        let row = guide.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = cells(row.unwrap_or_else(|| panic!("no row '{name}'")));
        for ((scanner, line, size), said) in SCANNERS.iter().zip(&row[1..]) {
            if more.contains("{size}") && size.is_empty() {
                assert_eq!(said, "there is none");
                continue;
            }
            for peer in peers {
                let port = listen(*peer).to_string();
                let line = line.replace("{port}", &port);
                let mut trial =
                    Trial::new(&format!("{line} {}", more.replace("{size}", size)), &[]);
                trial.mail("<a@example.net>");
                trial.rcpt("<b@example.com>");
                trial.message(&format!("Subject: x\n\n{}\n", "x".repeat(2000)));
                let found = match trial.plain(Hook::DataPost).code() {
                    Code::DenySoft => "451",
                    Code::Declined => "accepted",
                    _ => "something else",
                };
                assert_eq!(found, said, "{scanner}, {name}: {}", trial.log());
            }
        }
    }
}
