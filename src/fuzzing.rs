//! What the fuzz targets in `t/fuzz` do with any octets; a test runs the same over their corpus.  Each
//! function panics where something is wrong.

mod authentication_results;
mod exchange;
mod input;
mod milter;
mod origin;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use base64::prelude::{BASE64_STANDARD, Engine};

use self::input::halves;
use crate::config::Config;
use crate::forward::{CrlfLines, Stuffer};
use crate::mail::{Address, Header};
use crate::perl::take_frame;
use crate::plugins::filter::protocol::{self as filters, Event, Line, Phase, Request, Version};
use crate::plugins::rspamd::any_answer;
use crate::smtp::Stream;
use crate::smtp::syntax::message::{End, Limits, Message, Store};
use crate::smtp::syntax::reply::{Form, Reply};
use crate::smtp::syntax::transparency::{BareNewline, Progress, Unstuffer};
use crate::smtp::syntax::{
    bdat as chunks, line as lines, path, proxy as proxies, scram as scrams, xclient,
};
use crate::smtp::waits::State;
use crate::testing::{Trial, keeps, queued};

/// What one target does with its input.
pub type Run = fn(&[u8]);

/// THE table of targets: the name of each, which is that of its file and of its corpus, and what it
/// does.
pub const TARGETS: [(&str, Run); 27] = [
    ("address", address),
    ("auth", auth),
    ("bdat", bdat),
    ("command", command),
    ("config", config),
    ("dane", exchange::dane),
    ("dkim", origin::dkim),
    ("dmarc", origin::dmarc),
    ("dns", origin::dns),
    ("dots", dots),
    ("filter", filter),
    ("header", header),
    ("line", line),
    ("message", message),
    ("milter", milter::answers),
    ("mta_sts", exchange::mta_sts),
    ("p0f", crate::plugins::ident::p0f::read_answer),
    ("perl", perl),
    ("proxy", proxy),
    ("qmail_deliverable", crate::plugins::qmail_deliverable::read_answer),
    ("results", origin::results),
    ("rspamd", rspamd),
    ("scram", scram),
    ("session", session),
    ("smtproutes", exchange::smtproutes),
    ("spf", origin::spf),
    ("text", origin::parts),
];

/// Does what the target of that name does.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.0 == name).expect("it is in the table");
    target.1(input);
}

const POLICIES: [BareNewline; 3] =
    [BareNewline::Reject, BareNewline::Normalize, BareNewline::Accept];

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
    static CHAIN: Trial = Trial::new(PLUGINS, FILES);
    static PLAIN: RefCell<Trial> = RefCell::new(Trial::new("", &[]));
    static PROXIED: Trial =
        Trial::new("rcpt_ok", &[("proxy_from", "192.0.2.1"), ("me", "mx.test")]);
    static KEEPING: [Trial; 3] = ["reject", "normalize", "accept"].map(|policy| {
        let files = [("bare_newline", policy), ("size_threshold", "64"), ("me", "mx.test"), ("junk_commands", "0")];
        Trial::with(keeps, "", &files)
    });
}

/// A path is read, and written so that it reads as the same; what a plugin makes of any words has
/// nothing in it that ends a line.
fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(address) = Address::parse(&text) {
        let written = address.to_string();
        assert!(!written.contains(char::is_control), "{written:?}");
        assert_eq!(Address::parse(&written).as_ref(), Ok(&address), "{text:?} {written:?}");
    }
    let (user, host) = text.split_once('\n').unwrap_or((&text, "x.test"));
    let written = Address::new(user, host).to_string();
    assert!(!written.contains(char::is_control), "{written:?}");
}

/// A line is a verb and an argument, a path and parameters, a reply in its words.
fn command(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (verb, argument) = lines::split(&text);
    assert!(!verb.contains(' ') && verb.len() + argument.len() <= text.len());
    if let Ok((path, _)) = path::parse(argument, "FROM:") {
        assert!(argument.contains(path) && (!path.starts_with('<') || path.ends_with('>')));
    }
    chunks::parse(argument);
    let _ = xclient::parse(argument, &mut xclient::Attributes::default());
    let code = 200 + u16::from(input.first().copied().unwrap_or(50)) % 400;
    for (enhanced, utf8) in [(true, false), (true, true), (false, false)] {
        let mut out = vec![];
        Reply::own(code, text.to_string()).write(Form { enhanced, utf8 }, &mut out);
        assert!(utf8 || out.is_ascii());
        check_replies(&out);
    }
}

/// Lines come out as they went in, whatever the octets between their ends.
fn line(input: &[u8]) {
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

/// A header section comes out as it went in; edited, it has the fields that it should.
fn header(input: &[u8]) {
    let (raw, edits) = halves(input);
    let mut header = Header::parse(raw);
    assert_eq!(header.to_bytes(), raw);
    for edit in edits.split(|octet| *octet == 0xff) {
        let Some((kind, text)) = edit.split_first() else { continue };
        let text = String::from_utf8_lossy(text);
        let (name, value) = text.split_once(':').unwrap_or(("X-Name", &text));
        match kind % 6 {
            0 => header.add(name, value),
            1 => header.add_at(usize::from(*kind) / 6, name, value),
            2 => header.replace(name, value),
            3 => drop(header.delete(name)),
            4 => drop(header.rename(name, value)),
            _ => {
                let count = header.len();
                let own = (0..count).rev().map(Ok);
                let new = [Err(text.as_bytes())];
                header.rebuild(new.into_iter().chain(own));
            }
        }
    }
    let is_edited = !edits.is_empty();
    let written = header.to_bytes();
    assert_eq!(written.len(), header.byte_len());
    let again = Header::parse(&written);
    assert_eq!(again.to_bytes(), written);
    if is_edited && Header::parse(raw).fields().all(|field| field.ends_with(b"\r\n")) {
        let names: Vec<_> = header.names().collect();
        assert!(again.names().eq(names), "{}", written.escape_ascii());
    }
}

/// The pieces in which a message comes make no difference, a policy is kept, and what goes out
/// again comes in as the same.
fn dots(input: &[u8]) {
    let [policy, size, wire @ ..] = input else { return };
    let policy = POLICIES[usize::from(*policy) % 3];
    let whole = received(policy, wire, wire.len().max(1));
    assert_eq!(whole, received(policy, wire, usize::from(*size) % 8 + 1));
    let (message, end, has_bare) = whole;
    if end == Progress::LoneDot {
        assert_eq!(policy, BareNewline::Reject);
        return;
    }
    if policy == BareNewline::Normalize || !has_bare {
        let lines = message.strip_suffix(b"\r").unwrap_or(&message);
        assert!(is_normal(lines), "{}", message.escape_ascii());
    }
    let mut out = CrlfLines::new(Stuffer::new(vec![]));
    let wrote = out.write_all(&message).and_then(|()| out.finish()?.finish());
    let wire = wrote.expect("a Vec takes everything");
    let (again, end, has_bare) = received(BareNewline::Reject, &wire, 3);
    assert_eq!((end, has_bare), (Progress::End(wire.len()), false));
    assert!(is_normal(&again) && (again.is_empty() || again.ends_with(b"\r\n")));
}

/// Lines of a filter, and lines for one with these words in their fields, which stay lines.
fn filter(input: &[u8]) {
    for line in input.split(|octet| *octet == b'\n') {
        let owner = filters::session_in_answer(line);
        match filters::parse(line) {
            Ok(Line::Result(request, decision)) => {
                assert_eq!(owner, Some(request.session));
                let reply = format!("{decision:?}");
                filters::reply(reply.split('"').nth(1).unwrap_or(""));
            }
            Ok(Line::Text(request, text)) => {
                assert_eq!(owner, Some(request.session));
                assert!(line.trim_ascii_end().ends_with(text.trim_ascii_end()));
            }
            Ok(Line::Report(session, _)) => assert_eq!(owner, Some(session)),
            Ok(Line::Register(_) | Line::Ready) => assert_eq!(owner, None),
            Err(why) => assert!(!why.is_empty()),
        }
    }
    let text = String::from_utf8_lossy(input);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    let request = Request { session: 1 << 60 | 7, token: 9 };
    for version in [Version::V05, Version::V06, Version::V07] {
        let told = filters::report(version, Event::TxMail, request.session, &["1", one, other]);
        let asked = filters::ask(version, Phase::Connect, request, &[one, other]);
        for (line, bars) in [(told, 7), (asked, 7)] {
            assert_eq!(line.iter().position(|octet| *octet == b'\n'), Some(line.len() - 1));
            assert_eq!(filters::session_of(line.trim_ascii_end()), Some(request.session));
            assert!(line.iter().filter(|octet| **octet == b'|').count() >= bars);
        }
    }
    filters::greeting(Version::V07, &text);
}

/// What is stored of a message.
#[derive(Default, PartialEq, Eq, Debug)]
struct Stored {
    section: Option<(Vec<u8>, bool)>,
    text: Vec<u8>,
}

impl Store for Stored {
    fn header(&mut self, octets: &[u8], end: End) -> io::Result<()> {
        assert!(self.text.is_empty(), "the text came first");
        let (section, text) = octets.split_at(end.at);
        assert!(self.section.replace((section.to_vec(), end.is_fold)).is_none(), "it came twice");
        self.text(text)
    }

    fn text(&mut self, octets: &[u8]) -> io::Result<()> {
        assert!(self.section.is_some(), "the text came first");
        self.text.extend_from_slice(octets);
        Ok(())
    }

    fn forget(&mut self) {
        self.text.clear();
    }
}

/// The pieces in which a message comes make no difference to what is stored of it, or to the reason
/// for which it is refused.
fn message(input: &[u8]) {
    let [kind, size, wire @ ..] = input else { return };
    let bare_newline = POLICIES[usize::from(*kind) % 3];
    let limits = Limits { octets: 300, line: 60, bare_newline };
    let read = |size: usize| {
        let mut message = match kind & 0x80 {
            0 => Message::stuffed(limits),
            _ => Message::plain(limits),
        };
        let mut stored = Stored::default();
        for piece in wire.chunks(size) {
            match message.feed(piece, &mut stored) {
                Progress::More => {}
                Progress::End(_) => break,
                Progress::LoneDot => return None,
            }
        }
        message.finish(&mut stored);
        let fault = message.fault().map(|fault| format!("{fault:?}"));
        Some((fault.is_none().then_some(stored), fault))
    };
    assert_eq!(read(wire.len().max(1)), read(usize::from(*size) % 8 + 1));
}

/// A message in chunks is queued as it is, or refused for its line ends.
fn bdat(input: &[u8]) {
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

/// Files, separated by octets 0: lists that include each other, and a map.
fn config(input: &[u8]) {
    const NAMES: [&str; 4] = ["a", "b", "c", "m.cdb"];
    // Other files of this machine are none of the target's business.
    let mut words = input.split(|octet| octet.is_ascii_whitespace());
    if words.any(|word| word.contains(&b'/') || word.starts_with(b"~")) {
        return;
    }
    CHAIN.with(|trial| {
        let dir = trial.dir().join("any");
        std::fs::create_dir_all(&dir).expect("a folder");
        let files = input.splitn(NAMES.len(), |octet| *octet == 0);
        for (name, text) in NAMES.iter().zip(files.chain(std::iter::repeat(&b""[..]))) {
            std::fs::write(dir.join(name), text).expect("a file");
        }
        let config = Config::new(vec![dir]);
        for name in NAMES {
            let lines = config.list(name);
            let first = lines.first().and_then(|line| line.split_ascii_whitespace().next());
            assert!(first.is_none_or(|word| lines.find(word).is_some()));
            assert!(lines.iter().all(|line| !line.is_empty() && !line.contains('\n')));
            config.value(name);
            config.number(name, 7);
        }
        let map = config.map("m");
        for key in map.keys().iter().take(100) {
            map.get(key);
        }
        map.get(input);
    });
}

/// Responses of a client during AUTH, one a line: in base64, unless a line begins with `!`.
fn auth(input: &[u8]) {
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

/// A header of the PROXY protocol, read as from a connection: never past its end.
fn proxy(input: &[u8]) {
    let mut header = vec![];
    while let Ok(most) = proxies::missing(&header) {
        if most == 0 {
            let _ = proxies::parse(&header);
            return;
        }
        let rest = &input[header.len()..];
        if rest.is_empty() {
            return;
        }
        header.extend_from_slice(&rest[..most.min(rest.len())]);
    }
}

/// An answer of rspamd: whatever it wants done to a message, there is still one header section, of
/// whole lines.
fn rspamd(input: &[u8]) {
    let mut trial = Trial::new("", &[("loglevel", "0")]);
    trial.message("Subject: x\nX-Spam: No\nTo: y\n\ntext\n");
    any_answer(&mut trial.session, input);
    let header = trial.session.transaction.header.to_bytes();
    let lines: Vec<&[u8]> = header.split_inclusive(|octet| *octet == b'\n').collect();
    for line in lines {
        let text = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        assert!(!text.trim_ascii().is_empty() && !text.contains(&b'\r'), "{header:?}");
    }
}

/// The client's messages in SCRAM.
fn scram(input: &[u8]) {
    if let Some(first) = scrams::First::parse(input) {
        assert!(input.starts_with(first.header.as_bytes()));
        assert!(input.ends_with(first.bare.as_bytes()));
    }
    if let Some(last) = scrams::Last::parse(input) {
        assert!(input.starts_with(last.unproved.as_bytes()));
    }
}

/// A frame from Perl, the values in it taken for what plugins did to a session.
fn perl(input: &[u8]) {
    PLAIN.with_borrow_mut(|trial| {
        trial.message("Subject: x\nTo: y\n\ntext\n");
        take_frame(input, &mut trial.session);
    });
}

/// A whole session, in front of which there may be a proxy.
fn session(input: &[u8]) {
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
fn check_replies(out: &[u8]) {
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

fn received(policy: BareNewline, wire: &[u8], size: usize) -> (Vec<u8>, Progress, bool) {
    let mut dots = Unstuffer::new(policy);
    let mut message = vec![];
    let mut at = 0;
    for piece in wire.chunks(size) {
        match dots.feed(piece, &mut |octets| message.extend_from_slice(octets)) {
            Progress::More => at += piece.len(),
            Progress::End(used) => return (message, Progress::End(at + used), dots.has_bare()),
            Progress::LoneDot => return (vec![], Progress::LoneDot, true),
        }
    }
    dots.finish(&mut |octets| message.extend_from_slice(octets));
    (message, Progress::More, dots.has_bare())
}

/// Do CR and LF come together only?
fn is_normal(message: &[u8]) -> bool {
    let pairs = message.windows(2).filter(|two| two == b"\r\n").count();
    let count = |which| message.iter().filter(|octet| **octet == which).count();
    count(b'\r') == pairs && count(b'\n') == pairs
}
