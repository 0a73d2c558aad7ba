//! One SMTP connection, with its dialogue kept for the message of a failed test.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

use super::{Log, TIMEOUT};

/// How many lines of one write are shown in the dialogue.
const SHOWN: usize = 20;

/// A reply: its code, and its lines as they came, without CRLF.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: String,
    pub(crate) lines: Vec<String>,
}

/// A connection to a server.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    dialogue: String,
    log: Log,
}

impl Client {
    /// Connects to a server.
    pub(crate) fn connect(address: SocketAddr, log: &Log) -> Client {
        Client::new(TcpStream::connect(address).unwrap(), log)
    }

    /// Speaks on `stream`; `log` is shown when something goes wrong.
    pub(crate) fn new(stream: TcpStream, log: &Log) -> Client {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { reader: BufReader::new(stream), dialogue: String::new(), log: log.clone() }
    }

    /// Sends bytes as they are. A server that is gone shows at the next reply.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let count = lines.clone().count();
        for line in lines.take(SHOWN) {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line).escape_ascii().to_string();
            self.dialogue += &format!("  > {}\n", line.replace("\\\"", "\"").replace("\\'", "'"));
        }
        if count > SHOWN {
            self.dialogue += &format!("  > (and {} lines more)\n", count - SHOWN);
        }
        if let Err(error) = self.reader.get_mut().write_all(bytes) {
            self.dialogue += &format!("  (not sent: {error})\n");
        }
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.send_raw(format!("{line}\r\n").as_bytes());
    }

    /// The next line without CRLF; `None` when the server has closed the connection. The error is
    /// the whole story of a line that does not come.
    pub(crate) fn line(&mut self) -> Result<Option<String>, String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => self.dialogue += "  < (closed)\n",
            Ok(_) => {
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r\n").unwrap_or(&line));
                self.dialogue += &format!("  < {line}\n");
                return Ok(Some(line.into_owned()));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(self.story("the server says nothing"));
            }
            Err(error) => self.dialogue += &format!("  < (closed: {error})\n"),
        }
        Ok(None)
    }

    /// The next reply; `None` when the server has closed the connection before its end.
    pub(crate) fn try_reply(&mut self) -> Result<Option<Reply>, String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line()? {
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                let code = lines[0].chars().take(3).collect();
                return Ok(Some(Reply { code, lines }));
            }
        }
        Ok(None)
    }

    /// The next reply, which has to come.
    pub(crate) fn reply(&mut self) -> Reply {
        let reply = self.try_reply().unwrap_or_else(|story| panic!("{story}"));
        reply.unwrap_or_else(|| panic!("{}", self.story("the server has closed the connection")))
    }

    /// The next reply, which has to have this code.
    pub(crate) fn expect(&mut self, code: &str) -> Reply {
        let reply = self.reply();
        assert!(reply.code == code, "{}", self.story(&format!("want {code}, got {}", reply.code)));
        reply
    }

    /// Sends a line and expects a reply with this code.
    pub(crate) fn ask(&mut self, line: &str, code: &str) -> Reply {
        self.say(line);
        self.expect(code)
    }

    /// Reads the greeting and says EHLO.
    pub(crate) fn hello(&mut self) -> Reply {
        self.expect("220");
        self.ask("EHLO client.test", "250")
    }

    /// Says from whom and to whom a message goes, up to the server's "go ahead".
    pub(crate) fn envelope(&mut self) {
        self.ask("MAIL FROM:<a@example.net>", "250");
        self.ask("RCPT TO:<b@example.com>", "250");
        self.ask("DATA", "354");
    }

    /// Expects that the server closes the connection without another word.
    pub(crate) fn closed(&mut self) {
        if let Some(line) = self.line().unwrap_or_else(|story| panic!("{story}")) {
            panic!("{}", self.story(&format!("want the end, got {line:?}")));
        }
    }

    /// Ends the session politely.
    pub(crate) fn quit(mut self) {
        self.ask("QUIT", "221");
        self.closed();
    }

    /// Whether the server has something to say already; waits for it at most `timeout`.
    pub(crate) fn has_input(&mut self, timeout: Duration) -> bool {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(timeout)).unwrap();
        let seen = stream.peek(&mut [0]);
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        !self.reader.buffer().is_empty() || seen.is_ok()
    }

    /// The message of a failed test: why, what was said, what the server logged.
    pub(crate) fn story(&self, why: &str) -> String {
        format!("{why}\nthe dialogue:\n{}the server's log:\n{}", self.dialogue, self.log.tail())
    }
}

/// Connects from one of the machine's several loopback addresses.
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("{to} is no IPv4 address") };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    let stream = TcpStream::from(socket);
    let [a, b, c, d] = from.octets();
    socket::bind(std::os::fd::AsRawFd::as_raw_fd(&stream), &SockaddrIn::new(a, b, c, d, 0))
        .unwrap();
    socket::connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &SockaddrIn::from(to)).unwrap();
    stream
}
