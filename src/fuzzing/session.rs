//! Clients that say anything, to sessions with a log that is looked at.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::message::POLICIES;
use crate::smtp::Stream;
use crate::smtp::syntax::transparency::BareNewline;
use crate::smtp::waits::State;
use crate::testing::{Trial, keeps, queued};

/// The plugins of a server that asks about much.
const PLUGINS: &str = "count_unrecognized_commands 20\nhelp\nnoop_counter\n\
    dont_require_anglebrackets\nparse_addr_withhelo\nhelo policy lenient\nbadmailfrom\nbadmailfromto\n\
    badrcptto\nrcpt_regexp\nuser_config\nauth/auth_flat_file\nrcpt_ok\nheaders\n\
    bogus_bounce\nloop\nqueue/discard";

const FILES: &[(&str, &str)] = &[
    ("me", "mx.test"),
    ("databytes", "3000"),
    ("max_line_length", "1500"),
    ("rcpthosts", "example.com\nx.test"),
    ("badmailfrom", "bad@x.test"),
    ("badrcptto", "bad@x.test"),
    ("flat_auth_pw", "me@x.test:secret"),
    ("xclient_from", "192.0.2.1"),
    ("auth_mechanisms", ""),
];

thread_local! {
    pub(super) static CHAIN: Trial = Trial::new(PLUGINS, FILES);
    static PROXIED: Trial =
        Trial::new("rcpt_ok", &[("proxy_from", "192.0.2.1"), ("me", "mx.test")]);
    static KEEPING: [Trial; 3] = ["reject", "normalize", "accept"].map(|policy| {
        let files = [("bare_newline", policy), ("size_threshold", "64"), ("me", "mx.test"), ("junk_commands", "0")];
        Trial::with(keeps, "", &files)
    });
}

/// Lines come out as they went in, whatever the octets between their ends.
pub(super) fn line(input: &[u8]) {
    let (client, server) = UnixStream::pair().expect("a socket");
    let sent = say(&client, input);
    let mut stream = Stream::new(server.into());
    let mut rest = &input[..sent];
    while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
        let want = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        assert_eq!(stream.line(State::Command).as_deref(), Ok(want));
        rest = &rest[end + 1..];
    }
    assert!(stream.line(State::Command).is_err());
}

/// A message in chunks is queued as it is, or refused for its line ends.
pub(super) fn bdat(input: &[u8]) {
    let [policy, sizes, message @ ..] = input else { return };
    let message = [b"Subject: x\r\n\r\n", message].concat();
    let size = usize::from(*sizes) + 1;
    let mut wire = b"HELO x\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n".to_vec();
    for chunk in message.chunks(size) {
        wire.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
    }
    wire.extend_from_slice(b"BDAT 0 LAST\r\nQUIT\r\n");
    let policy = usize::from(*policy) % 3;
    queued();
    if !KEEPING.with(|keeping| converse(&keeping[policy], &wire)) {
        return;
    }
    let queued = queued();
    let mut normal = vec![];
    for (at, octet) in message.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && message[at - 1] == b'\r' => {}
            b'\r' | b'\n' => normal.extend_from_slice(b"\r\n"),
            _ => normal.push(*octet),
        }
    }
    let want = match POLICIES[policy] {
        BareNewline::Reject => Some(normal).filter(|normal| *normal == message),
        BareNewline::Normalize => Some(normal),
        BareNewline::Accept => Some(message),
    };
    let trace = b"Authentication-Results: mx.test; auth=none\r\nReceived: here\r\n";
    assert_eq!(queued, Vec::from_iter(want.map(|want| [&trace[..], &want].concat())));
}

/// Responses of a client during AUTH, one a line: in base64, unless a line begins with `!`.
pub(super) fn auth(input: &[u8]) {
    const MECHANISMS: [&str; 5] =
        ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
    let Some((mechanism, input)) = input.split_first() else { return };
    let mut wire = b"EHLO x\r\n".to_vec();
    let name = MECHANISMS[usize::from(*mechanism) % 5];
    wire.extend_from_slice(format!("AUTH {name}").as_bytes());
    wire.extend_from_slice(if mechanism & 0x80 == 0 { b" " } else { b"\r\n" });
    for response in input.split(|octet| *octet == b'\n') {
        match response.strip_prefix(b"!") {
            Some(raw) => wire.extend_from_slice(raw),
            None => wire.extend_from_slice(BASE64_STANDARD.encode(response).as_bytes()),
        }
        wire.extend_from_slice(b"\r\n");
    }
    CHAIN.with(|chain| converse(chain, &wire));
}

/// A whole session, in front of which there may be a proxy.
pub(super) fn session(input: &[u8]) {
    match input.strip_prefix(b"\0") {
        Some(wire) => PROXIED.with(|proxied| converse(proxied, wire)),
        None => CHAIN.with(|chain| converse(chain, input)),
    };
}

/// Serves a client that says all of this, and looks at what it is answered and at the log.  False:
/// it is too much to be said at once.
fn converse(trial: &Trial, wire: &[u8]) -> bool {
    let (mut client, server) = UnixStream::pair().expect("a socket");
    let sent = say(&client, wire);
    trial.serve(server);
    let mut out = vec![];
    // The server may have left with something unread; what it said is still there.
    while client.read_to_end(&mut out).is_err() {}
    check_replies(&out);
    let log = trial.take_log();
    assert!(!log.chars().any(|c| c.is_control() && !"\t\n".contains(c)), "{log:?}");
    assert!(!log.contains("panicked"), "{log}");
    sent == wire.len()
}

/// Says it without waiting, and nothing more; how much of it was said.
fn say(mut client: &UnixStream, octets: &[u8]) -> usize {
    client.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    while sent < octets.len()
        && let Ok(count) = client.write(&octets[sent..])
    {
        sent += count;
    }
    client.set_nonblocking(false).expect("a socket");
    client.shutdown(Shutdown::Write).expect("a socket");
    sent
}

/// Every line is one of a reply (RFC 5321 4.2), all lines of a reply have one code, and the last
/// one is there.
pub(super) fn check_replies(out: &[u8]) {
    let text = str::from_utf8(out).expect("replies are UTF-8");
    let mut open = None;
    for line in text.split_inclusive("\r\n") {
        let shown = line.escape_debug();
        let content = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no end: {shown}"));
        assert!(!content.contains(char::is_control), "{shown}");
        let (code, rest) = content.split_at_checked(3).unwrap_or_else(|| panic!("{shown}"));
        assert!(code.bytes().all(|octet| octet.is_ascii_digit()), "{shown}");
        assert!(open.is_none_or(|open| open == code), "{shown}");
        open = match rest.as_bytes().first() {
            Some(b'-') => Some(code),
            Some(b' ') => None,
            _ => panic!("{shown}"),
        };
    }
    assert!(open.is_none(), "a reply without its last line");
}
