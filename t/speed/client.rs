//! Clients that send messages as fast as they are answered.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Result;

/// What clients do.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    /// The length of a message.
    pub(crate) octets: usize,
    pub(crate) recipients: usize,
    /// How many clients there are at a time.
    pub(crate) sessions: usize,
    /// Does a client send all its messages over one connection?
    pub(crate) reuse: bool,
    /// Do messages have to be on the disk before they are accepted?
    pub(crate) stored: bool,
}

impl Job {
    /// A connection for each message.
    pub(crate) const NEW: Job =
        Job { octets: 1024, recipients: 1, sessions: 10, reuse: false, stored: false };
    /// One connection for many messages.
    pub(crate) const MANY: Job = Job { reuse: true, ..Job::NEW };
}

/// Sends so many messages.
pub(crate) fn send(address: SocketAddr, job: &Job, messages: usize) -> Result<()> {
    let left = AtomicUsize::new(messages);
    let next =
        || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
    let text = message(job.octets);
    let done: std::result::Result<(), String> = thread::scope(|scope| {
        let run = || -> Result<()> {
            let mut client = None;
            while next() {
                let mut open = match client.take() {
                    Some(open) => open,
                    None => Client::open(address)?,
                };
                open.deliver(&text, job.recipients)?;
                match job.reuse {
                    true => client = Some(open),
                    false => open.say("QUIT\r\n", "221")?,
                }
            }
            client.map_or(Ok(()), |mut open| open.say("QUIT\r\n", "221"))
        };
        let clients: Vec<_> = (0..job.sessions.min(messages))
            .map(|_| scope.spawn(move || run().map_err(|error| error.to_string())))
            .collect();
        let mut ends = clients.into_iter().map(|client| client.join());
        ends.try_for_each(|end| end.unwrap_or_else(|_| Err("a client failed".into())))
    });
    Ok(done?)
}

/// A message with its dot, in lines of 78 octets.
pub(crate) fn message(octets: usize) -> Vec<u8> {
    let mut text = b"From: <a@sender.example>\r\nSubject: speed\r\n\r\n".to_vec();
    let line = [b"X".repeat(78), b"\r\n".to_vec()].concat();
    while text.len() < octets {
        text.extend_from_slice(&line);
    }
    text.extend_from_slice(b".\r\n");
    text
}

/// One client of a server.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    fn open(address: SocketAddr) -> Result<Client> {
        Client::new(TcpStream::connect(address)?)
    }

    /// Takes the greeting and says HELO.
    pub(crate) fn new(stream: TcpStream) -> Result<Client> {
        stream.set_nodelay(true)?;
        let mut client = Client(BufReader::new(stream));
        client.expect("220")?;
        client.say("HELO client.example\r\n", "250")?;
        Ok(client)
    }

    /// Sends a message.
    pub(crate) fn deliver(&mut self, text: &[u8], recipients: usize) -> Result<()> {
        self.say("MAIL FROM:<a@sender.example>\r\n", "250")?;
        for number in 0..recipients {
            self.say(&format!("RCPT TO:<user{number}@bench.example>\r\n"), "250")?;
        }
        self.say("DATA\r\n", "354")?;
        self.0.get_mut().write_all(text)?;
        self.expect("250")
    }

    /// Sends a line, whose reply has to have this code.
    pub(crate) fn say(&mut self, text: &str, code: &str) -> Result<()> {
        self.0.get_mut().write_all(text.as_bytes())?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> Result<()> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.starts_with(code) {
            true => Ok(()),
            false => Err(format!("the server said {line:?}").into()),
        }
    }
}
