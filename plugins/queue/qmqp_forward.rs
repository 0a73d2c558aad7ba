//! ```text
//! NAME
//!     queue/qmqp-forward - hands messages to a server that speaks QMQP
//!
//! SYNOPSIS
//!     queue/qmqp-forward SERVER [PORT] | SERVER:PORT
//!
//! DESCRIPTION
//!     While the client waits, the plugin gives the message with its envelope to a server that
//!     speaks QMQP (https://cr.yp.to/proto/qmqp.html), such as qmail-qmqpd or Postfix's qmqpd.  The
//!     server's answer counts for all recipients:
//!
//!         accepted                250 "Queued! TEXT"
//!         refused temporarily     452 "Deferred: TEXT"
//!         refused permanently     552 "Denied: TEXT"
//!
//!     If the server cannot be reached the next queue plugin is asked; without one the client gets
//!     451.  If the connection breaks later, or the answer cannot be read, the client gets 451; the
//!     server may have the message all the same, and then gets it twice.
//!
//!     The message is sent as it came, with the fields that plugins added, and is not held in
//!     memory.  All its lines end in LF, as QMQP wants it, including lines that ended in a CR or an
//!     LF alone, which config/bare_newline may let in.
//!
//! ARGUMENTS
//!     SERVER            name or address of the server
//!     PORT              its port; 628 by default
//!     timeout SECONDS   time limit for each message; 300 by default
//!
//!     queue/qmqp-forward qmqp.example.com
//!
//! SEE ALSO
//!     queue/smtp-forward
//! ```

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::forward::{CrlfLines, lost, unable};
use crate::hook::{Args, Hooks, Outside, Session, Verdict};
use crate::log::Level;
use crate::mail::Address;
use crate::net::{Endpoint, Wire};
use crate::state::{Counter, Transaction, UnixLines};

/// How much of a message is written at a time, in octets.
const CHUNK: usize = 64 * 1024;

/// The longest wait for the answer.
const ANSWER: Duration = Duration::from_secs(600);

/// The longest answer, in octets.
const LONGEST: usize = 1 << 20;

/// So many octets of it are kept.
const KEPT: usize = 4096;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let mut words = args.positional().into_iter().peekable();
    let endpoint = Endpoint::take(&mut words, Some(628))?;
    let endpoint = endpoint.ok_or("No QMQP server specified in qmqp-forward config")?;
    if let Some(word) = words.next() {
        return Err(Error::new(format!("unexpected argument '{word}'")));
    }
    if let Endpoint::Unix(path) = &endpoint {
        return Err(Error::new(format!("Bad data in server: {}", path.display())));
    }
    hooks.queue(move |session| forward(session, &endpoint));
    Ok(())
}

fn forward(session: &mut Session, endpoint: &Endpoint) -> Verdict {
    session.log(Level::Info, format_args!("forwarding to {endpoint}"));
    let call = Outside::begin("qmqp");
    let mut wire = match Wire::connect(endpoint, session.deadline()) {
        Ok(wire) => wire,
        Err(error) => {
            session.end_outside(call, &Err::<(), _>(&error));
            session.log(Level::Error, format_args!("Failed to connect to {endpoint}: {error}"));
            return Verdict::declined("Unable to queue message (#4.4.1)");
        }
    };
    let answer = exchange(&session.transaction, &mut wire);
    session.end_outside(call, &answer);
    match answer {
        Ok(answer) => {
            let answer = String::from_utf8_lossy(&answer);
            session.log(Level::Info, format_args!("the answer is {answer}"));
            verdict(&answer)
        }
        Err(error) => {
            session.log(Level::Error, format_args!("while the message was handed over: {error}"));
            lost(&error)
        }
    }
}

fn verdict(answer: &str) -> Verdict {
    match answer.split_at_checked(1) {
        Some(("K", text)) => Verdict::ok(format!("Queued! {text}")),
        Some(("Z", text)) => Verdict::denysoft(format!("Deferred: {text}")),
        Some(("D", text)) => Verdict::deny(format!("Denied: {text}")),
        _ => unable("Protocol error", "4.5.0"),
    }
}

/// Sends message and envelope; the answer.
fn exchange(transaction: &Transaction, wire: &mut Wire) -> io::Result<Vec<u8>> {
    // A server that will not have the message may say so before it has read all of it.
    wire.stop_at_input(true);
    match send(transaction, wire) {
        Err(error) if error.kind() != ErrorKind::ConnectionAborted => Err(error),
        _ => receive(wire),
    }
}

/// A netstring of netstrings: the message, the sender, each recipient.  Their lengths come first,
/// so the message is written twice, the first time to be counted.
fn send(transaction: &Transaction, wire: &mut Wire) -> io::Result<()> {
    let mut envelope = netstring(&transaction.sender().map(Address::address).unwrap_or_default());
    for recipient in transaction.recipients() {
        envelope += &netstring(&recipient.address());
    }
    let Counter(length) = write_unix(transaction, Counter(0))?;
    let start = format!("{length}:");
    let total = start.len() as u64 + length + 1 + envelope.len() as u64;

    let mut out = BufWriter::with_capacity(CHUNK, wire);
    write!(out, "{total}:{start}")?;
    write_unix(transaction, &mut out)?;
    write!(out, ",{envelope},")?;
    out.flush()
}

fn netstring(text: &str) -> String {
    format!("{}:{text},", text.len())
}

/// Writes the message with lines that end in LF.
fn write_unix<W: Write>(transaction: &Transaction, mut out: W) -> io::Result<W> {
    let mut lines = CrlfLines::new(UnixLines::new(&mut out));
    transaction.write_message(&mut lines)?;
    lines.finish()?.flush()?;
    Ok(out)
}

/// The answer: what is in a netstring.
fn receive(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let until = wire.within(ANSWER);
    let wrong = || io::Error::new(ErrorKind::InvalidData, "the answer is not QMQP");
    let mut length = 0;
    let mut digits = 0;
    loop {
        match wire.octet(until)? {
            b':' if digits > 0 => break,
            digit @ b'0'..=b'9' if digits < 7 => length = 10 * length + usize::from(digit - b'0'),
            _ => return Err(wrong()),
        }
        digits += 1;
    }
    if length == 0 || length > LONGEST {
        return Err(wrong());
    }
    let mut answer = vec![];
    for place in 0..length {
        let octet = wire.octet(until)?;
        // Whatever a server goes on to say, the first letter is its decision.
        if place < KEPT {
            answer.push(octet);
        }
    }
    if wire.octet(until)? == b',' { Ok(answer) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::hook::Hook;
    use crate::testing::Trial;

    const MESSAGE: &str = "Subject: x\n\ntext\n.\n";
    const PACKAGE: &str =
        "73:19:Subject: x\n\ntext\n.\n,13:a@example.net,15:b c@example.com,10:postmaster,,";

    /// What the plugin makes of a server that reads so many octets, answers and closes; and what
    /// that has read.
    fn answered(message: &str, octets: usize, answer: &'static str) -> (Verdict, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
            let mut received = vec![0; octets];
            stream.read_exact(&mut received).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = io::copy(&mut stream, &mut io::sink());
            String::from_utf8(received).unwrap()
        });
        let mut trial = Trial::new(&format!("queue/qmqp-forward 127.0.0.1 {port}"), &[]);
        trial.mail("<a@example.net>");
        trial.rcpt("<\"b c\"@example.com>");
        trial.rcpt("<postmaster>");
        trial.message(message);
        let verdict = trial.plain(Hook::Queue);
        (verdict, server.join().unwrap())
    }

    #[test]
    fn the_answer_decides() {
        for (answer, verdict) in [
            ("6:Kqp 12,", Verdict::ok("Queued! qp 12")),
            ("1:K,", Verdict::ok("Queued! ")),
            ("14:Zfull (#4.3.1),", Verdict::denysoft("Deferred: full (#4.3.1)")),
            ("4:Dno!,", Verdict::deny("Denied: no!")),
            ("2:Qx,", unable("Protocol error", "4.5.0")),
            ("2:\u{e4},", unable("Protocol error", "4.5.0")),
            ("", unable("the back end closed the connection", "4.4.2")),
            ("9:Kqp,", unable("the back end closed the connection", "4.4.2")),
            ("0:,", unable("the back end gave a wrong answer", "4.5.0")),
            ("1:Kx", unable("the back end gave a wrong answer", "4.5.0")),
            (":K,", unable("the back end gave a wrong answer", "4.5.0")),
            ("9999999:K", unable("the back end gave a wrong answer", "4.5.0")),
            ("220 hello", unable("the back end gave a wrong answer", "4.5.0")),
        ] {
            let (found, package) = answered(MESSAGE, PACKAGE.len(), answer);
            assert_eq!(found, verdict, "{answer}");
            assert_eq!(package, PACKAGE);
        }
    }

    #[test]
    fn a_long_refusal_is_a_refusal() {
        let text = "word ".repeat(5000);
        let answer = format!("{}:D{text},", text.len() + 1);
        let (verdict, _) = answered(MESSAGE, PACKAGE.len(), answer.leak());
        assert_eq!(verdict, Verdict::deny(format!("Denied: {}", &text[..KEPT - 1])));
    }

    #[test]
    fn a_server_that_stops_to_read_is_heard() {
        let large = format!("{MESSAGE}{}", "x".repeat(20_000_000));
        let (verdict, _) = answered(&large, 10, "8:Dtoo big,");
        assert_eq!(verdict, Verdict::deny("Denied: too big"));
    }

    #[test]
    fn every_line_ends_in_lf() {
        let mut trial = Trial::new("", &[]);
        let body = &mut trial.session.transaction.body;
        body.write(b"\r\na\nb\rc\r\r\nd\r").unwrap();
        let out = write_unix(&trial.session.transaction, vec![]).unwrap();
        assert_eq!(out.escape_ascii().to_string(), r"\na\nb\nc\n\nd\n");
    }

    #[test]
    fn without_a_server_the_next_plugin_is_asked() {
        let mut trial = Trial::new("queue/qmqp-forward 127.0.0.1 1", &[]);
        trial.mail("<a@example.net>");
        let verdict = trial.plain(Hook::Queue);
        assert_eq!(verdict, Verdict::declined("Unable to queue message (#4.4.1)"));
        let said = "Failed to connect to 127.0.0.1:1: Connection refused";
        assert!(trial.log().contains(said), "{}", trial.log());
    }

    #[test]
    fn a_silent_server_is_waited_for_as_long_as_the_handler_may_take() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut trial = Trial::new(&format!("queue/qmqp-forward 127.0.0.1 {port} timeout 1"), &[]);
        trial.mail("<a@example.net>");
        let silent = unable("the back end does not answer", "4.4.2");
        assert_eq!(trial.plain(Hook::Queue), silent);
    }

    #[test]
    fn wrong_arguments_stop_the_start() {
        for (args, error) in [
            ("", "No QMQP server specified in qmqp-forward config"),
            ("a@b", "Bad data in server: a@b"),
            ("/run/qmqp", "Bad data in server: /run/qmqp"),
            ("localhost port", "unexpected argument 'port'"),
            ("localhost 0", "not a port: '0'"),
            ("localhost 628 more", "unexpected argument 'more'"),
            ("localhost:628 629", "unexpected argument '629'"),
        ] {
            let line = format!("queue/qmqp-forward {args}");
            let found = Trial::load(&line, &[]).err().unwrap().to_string();
            assert!(found.ends_with(error), "{found}");
        }
        for args in ["localhost", "localhost 629", "localhost:629", "[::1]:629", "::1 629"] {
            Trial::new(&format!("queue/qmqp-forward {args} timeout 120"), &[]);
        }
    }
}
