//! A blocking resolver: it asks servers that resolve names, and does not resolve any itself.
//!
//! A batch of questions has new sockets and new ids, so that an answer cannot be guessed; nothing
//! is kept from one batch to the next.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use ring::rand::{SecureRandom, SystemRandom};

use super::message::{self, Response};
use super::{Answer, Dns, Question};
use crate::settings::NameServer;

/// How often each server is asked within the time that there is.
const ROUNDS: u32 = 3;

/// The most octets of an answer by UDP.
const DATAGRAM: usize = 4096;

/// Asks `servers` in their order, until `deadline`.
#[derive(Debug)]
pub struct Stub<'a> {
    /// Who is asked; the next one when one fails.
    pub servers: &'a [NameServer],
    /// When the answers have to be there.
    pub deadline: Instant,
}

impl Dns for Stub<'_> {
    fn ask(&self, questions: &[Question]) -> Vec<Answer> {
        let mut batch = Batch::new(questions);
        let tries = ROUNDS * u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        let mut sockets: Vec<Option<UdpSocket>> = self.servers.iter().map(|_| None).collect();
        for at in 0..tries {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if batch.is_done() || left.is_zero() {
                break;
            }
            let until = Instant::now() + left / (tries - at);
            let server = at as usize % self.servers.len();
            let socket = match &sockets[server] {
                Some(socket) => socket,
                None => match connect(self.servers[server].address) {
                    Ok(socket) => sockets[server].insert(socket),
                    Err(error) => {
                        batch.fails(&error.to_string());
                        continue;
                    }
                },
            };
            batch.send(socket, server);
            self.gather(&mut batch, &sockets, server, until);
        }
        batch.answers()
    }
}

impl Stub<'_> {
    /// Takes answers until all are there, or the server that was asked last has answered all, or
    /// it is time to ask the next.
    fn gather(
        &self,
        batch: &mut Batch,
        sockets: &[Option<UdpSocket>],
        last: usize,
        until: Instant,
    ) {
        let mut octets = [0; DATAGRAM];
        while batch.waits_for(last) {
            let ready = ready(sockets, until);
            // Answers to other questions may come faster than they are read.
            if ready.is_empty() || Instant::now() >= until {
                return;
            }
            for server in ready {
                let Some(socket) = &sockets[server] else { continue };
                match socket.recv(&mut octets) {
                    Ok(length) => {
                        let until = if server == last { until } else { self.deadline };
                        batch.take(&octets[..length], &self.servers[server], server, until);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // The port is closed: the server will answer none of what it was sent.
                    Err(error) => batch.lost(server, &error.to_string()),
                }
            }
        }
    }
}

/// Questions on their way to their answers.
struct Batch {
    waiting: Vec<Waiting>,
}

struct Waiting {
    question: Question,
    id: u16,
    octets: Option<Vec<u8>>,
    answer: Option<Answer>,
    /// The last server that the question was sent to and that has not failed.
    asked: Option<usize>,
    why: String,
}

impl Batch {
    fn new(questions: &[Question]) -> Batch {
        let mut ids: Vec<u16> = Vec::new();
        let waiting = |question: &Question| {
            let id = new_id(&mut ids);
            let octets = message::question(question, id);
            // A name that cannot be asked for has no records.
            let answer = octets.is_none().then_some(Answer::Nothing);
            let why = "no answer in time".to_owned();
            Waiting { question: question.clone(), id, octets, answer, asked: None, why }
        };
        Batch { waiting: questions.iter().map(waiting).collect() }
    }

    fn is_done(&self) -> bool {
        self.waiting.iter().all(|waiting| waiting.answer.is_some())
    }

    fn waits_for(&self, server: usize) -> bool {
        self.open().any(|waiting| waiting.asked == Some(server))
    }

    fn open(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().filter(|waiting| waiting.answer.is_none())
    }

    fn open_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.waiting.iter_mut().filter(|waiting| waiting.answer.is_none())
    }

    fn send(&mut self, socket: &UdpSocket, server: usize) {
        for waiting in self.open_mut() {
            let octets = waiting.octets.as_deref().unwrap_or_default();
            match socket.send(octets) {
                Ok(_) => waiting.asked = Some(server),
                Err(error) => waiting.why = error.to_string(),
            }
        }
    }

    fn fails(&mut self, why: &str) {
        self.open_mut().for_each(|waiting| why.clone_into(&mut waiting.why));
    }

    fn lost(&mut self, server: usize, why: &str) {
        for waiting in self.open_mut().filter(|waiting| waiting.asked == Some(server)) {
            waiting.asked = None;
            why.clone_into(&mut waiting.why);
        }
    }

    fn take(&mut self, octets: &[u8], server: &NameServer, at: usize, until: Instant) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.answer.is_none()) {
            let (question, id) = (&waiting.question, waiting.id);
            let said = match message::read(octets, question, id, server.trusted) {
                Response::Another => continue,
                Response::Truncated => {
                    let sent = waiting.octets.as_deref().unwrap_or_default();
                    by_tcp(server.address, sent, until).map_or_else(
                        |error| Response::Refused(format!("TCP: {error}")),
                        |octets| message::read(&octets, question, id, server.trusted),
                    )
                }
                said => said,
            };
            match said {
                Response::Answer(answer) => waiting.answer = Some(answer),
                Response::Refused(why) => waiting.fail(at, why),
                Response::Another | Response::Truncated => {
                    waiting.fail(at, "TCP: an answer to another question".into());
                }
            }
            return;
        }
    }

    fn answers(self) -> Vec<Answer> {
        let answer = |waiting: Waiting| waiting.answer.unwrap_or(Answer::Failed(waiting.why));
        self.waiting.into_iter().map(answer).collect()
    }
}

impl Waiting {
    fn fail(&mut self, server: usize, why: String) {
        if self.asked == Some(server) {
            self.asked = None;
        }
        self.why = why;
    }
}

/// A socket of its own, at a port of the system's choice, that takes datagrams of that server only.
fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The servers whose sockets have something; none when it is `until`.
fn ready(sockets: &[Option<UdpSocket>], until: Instant) -> Vec<usize> {
    let open: Vec<(usize, &UdpSocket)> = sockets
        .iter()
        .enumerate()
        .filter_map(|(at, socket)| socket.as_ref().map(|socket| (at, socket)))
        .collect();
    loop {
        let mut polled: Vec<PollFd<'_>> =
            open.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        match nix::poll::poll(&mut polled, timeout(until)) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) | Ok(0) => return Vec::new(),
            Ok(_) => {
                let some = open.iter().zip(&polled);
                return some
                    .filter(|(_, fd)| fd.any() == Some(true))
                    .map(|((at, _), _)| *at)
                    .collect();
            }
        }
    }
}

fn timeout(until: Instant) -> PollTimeout {
    // Rounded up, so that a wait does not end a moment too early and spin.
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// Asks by TCP, where a message has its length in front (RFC 1035 4.2.2).
fn by_tcp(server: SocketAddr, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    read_all(&mut stream, &mut length, until)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    read_all(&mut stream, &mut answer, until)?;
    Ok(answer)
}

fn read_all(stream: &mut TcpStream, mut octets: &mut [u8], until: Instant) -> io::Result<()> {
    while !octets.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(octets) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => octets = &mut octets[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// An id that cannot be guessed, and that no other question of the batch has.
fn new_id(taken: &mut Vec<u16>) -> u16 {
    let mut octets = [0; 2];
    // The system's generator does not fail once it has been seeded; without it the port of the
    // socket is what cannot be guessed.
    let _ = SystemRandom::new().fill(&mut octets);
    let mut id = u16::from_be_bytes(octets);
    while taken.contains(&id) {
        id = id.wrapping_add(1);
    }
    taken.push(id);
    id
}
