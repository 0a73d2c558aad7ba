//! The process that keeps a filter which all processes of a daemon share.
//!
//! Who needs the filter connects to a socket in the spool folder, and is told what the filter has
//! registered for.  From then on lines go through: to the filter as they are, and from the filter to
//! whoever has said something of the session that the line is about.  Whoever finds nobody at the socket
//! makes this process.  It ends when all processes that have the other end of its lifeline are gone.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags};

use super::link::{HANDSHAKE, LOG, MOST_UNASKED, keep};
use super::program::{Backoff, Program};
use super::protocol::{self, Event, Line, Version, Wanted};
use crate::net::{Channel, Coprocess, detached, wait_for};

/// Says that an answer has not come in time; the session and the token of the request follow.
const OVERDUE: &[u8] = b"overdue|";

/// The most octets that are read before they are taken, and that may wait for somebody before more are
/// read.
const MOST: usize = 1024 * 1024;

/// How long somebody may take nothing of what waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often is looked whether somebody takes too long.
const TICK: Duration = Duration::from_secs(1);

/// Between two tries to get hold of the lock.
const NAP: Duration = Duration::from_millis(5);

/// What is inherited by all processes that share a filter.
#[derive(Debug)]
pub(super) struct Shared {
    /// This filter's name in the spool folder.
    name: String,
    /// As long as somebody has the first of these open, the second is not at its end.
    _lifeline: OwnedFd,
    end: OwnedFd,
}

impl Shared {
    /// For the filter with this name; no other one of this host has it.
    ///
    /// # Errors
    /// There can be no pipe.
    pub(super) fn new(name: String) -> io::Result<Shared> {
        let (end, lifeline) = io::pipe()?;
        Ok(Shared { name, _lifeline: lifeline.into(), end: end.into() })
    }

    /// A connection to the filter's keeper, which is made where there is none.
    ///
    /// # Errors
    /// `TimedOut`; what the system says.
    pub(super) fn connect(
        &self,
        folder: &Path,
        program: &Program,
        me: &str,
        until: Instant,
    ) -> io::Result<Channel> {
        let path = folder.join(&self.name);
        if let Ok(stream) = UnixStream::connect(&path) {
            return Channel::over(stream.into());
        }
        let _lock = lock(&path.with_extension("lock"), until)?;
        // Somebody else may have made it meanwhile.
        if let Ok(stream) = UnixStream::connect(&path) {
            return Channel::over(stream.into());
        }
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let kept = vec![listener.into(), self.end.try_clone()?];
        let (program, me, own) = (program.clone(), me.to_owned(), path.clone());
        detached(&format!("keeps {}", program.name()), kept, move |kept| {
            if let Ok([listener, end]) = <[OwnedFd; 2]>::try_from(kept) {
                Broker::new(listener.into(), end, program, me).run();
                let _ = fs::remove_file(own.with_extension("lock"));
                let _ = fs::remove_file(own);
            }
        })?;
        Channel::over(UnixStream::connect(&path)?.into())
    }
}

/// Says that the answer to a request has not come in time, on a connection that ends then.
pub(super) fn overdue(request: protocol::Request) -> String {
    let protocol::Request { session, token } = request;
    format!("overdue|{session:016x}|{token:016x}\n")
}

/// Holds the lock until it is dropped.
fn lock(path: &PathBuf, until: Instant) -> io::Result<Flock<File>> {
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < until => std::thread::sleep(NAP),
            Err((_, Errno::EWOULDBLOCK)) => return Err(ErrorKind::TimedOut.into()),
            Err((_, error)) => return Err(error.into()),
        }
    }
}

/// Somebody who uses the filter.
struct Client {
    channel: Channel,
    /// Has it been told what the filter has registered for?
    is_greeted: bool,
    is_gone: bool,
    /// Has it been told all that there is for it?  It is gone when it has taken that.
    is_leaving: bool,
    /// Since when it has taken nothing of what waits for it, and how much that was.
    stuck: Option<(Instant, usize)>,
}

/// The filter.
struct Filter {
    process: Coprocess,
    /// What it has registered, line by line.
    registered: Vec<u8>,
    wanted: Wanted,
    is_ready: bool,
    /// When it has said something.
    spoke: Instant,
    /// How many octets it has said for nobody since it was last told something.
    unasked: usize,
}

/// Whose a session is, and when the filter was last told or asked something about it.
struct Owner {
    client: u64,
    asked: Instant,
}

struct Broker {
    listener: UnixListener,
    end: File,
    program: Program,
    me: String,
    filter: Option<Filter>,
    backoff: Backoff,
    clients: HashMap<u64, Client>,
    next_client: u64,
    sessions: HashMap<u64, Owner>,
    complaints: Vec<String>,
}

impl Broker {
    fn new(listener: UnixListener, end: OwnedFd, program: Program, me: String) -> Broker {
        Broker {
            listener,
            end: end.into(),
            program,
            me,
            filter: None,
            backoff: Backoff::default(),
            clients: HashMap::new(),
            next_client: 0,
            sessions: HashMap::new(),
            complaints: vec![],
        }
    }

    /// Until nobody is left who could need the filter.
    fn run(mut self) {
        while !self.is_over() {
            self.accept();
            self.hear_filter();
            self.hear_clients();
            self.write();
            self.part();
            self.wait();
        }
    }

    fn is_over(&mut self) -> bool {
        let mut fds = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
        let is_ready = nix::poll::poll(&mut fds, 0u8).is_ok_and(|count| count > 0);
        // Nobody ever writes there.
        is_ready
            && !matches!(self.end.read(&mut [0]), Err(error) if error.kind() == ErrorKind::Interrupted)
    }

    fn wait(&self) {
        let is_full = self
            .filter
            .as_ref()
            .is_none_or(|filter| !filter.is_ready || filter.process.lines.waiting() > MOST);
        let is_jammed = self.is_jammed();
        let mut fds = vec![
            PollFd::new(self.end.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.filter.iter().flat_map(|filter| filter.process.wants(is_jammed)));
        for client in self.clients.values() {
            fds.extend(client.channel.wants(is_full || client.is_leaving).into_iter().flatten());
        }
        // It is over when nothing has happened.
        let _ = wait_for(fds, Instant::now() + TICK);
    }

    /// Does too much wait for somebody?  Then the filter has to wait.
    fn is_jammed(&self) -> bool {
        let is_slow = |client: &Client| !client.is_leaving && client.channel.waiting() > MOST;
        self.clients.values().any(is_slow)
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let Ok(mut channel) = Channel::over(stream.into()) else { continue };
            if self.filter.is_none() {
                self.start();
            }
            let is_leaving = self.filter.is_none();
            if is_leaving {
                tell(&mut channel, &self.complaints);
                let left = self.backoff.left().unwrap_or_default().as_secs() + 1;
                tell(&mut channel, &[format!("it is started again in {left} s")]);
            }
            let client =
                Client { channel, is_greeted: false, is_gone: false, is_leaving, stuck: None };
            self.clients.insert(self.next_client, client);
            self.next_client += 1;
        }
    }

    fn start(&mut self) {
        if self.backoff.left().is_some() {
            return;
        }
        self.complaints.clear();
        match self.program.start(&self.me) {
            Ok(process) => {
                self.filter = Some(Filter {
                    process,
                    registered: vec![],
                    wanted: Wanted::default(),
                    is_ready: false,
                    spoke: Instant::now(),
                    unasked: 0,
                });
            }
            Err(error) => {
                self.complaints.push(format!("it cannot be started: {error}"));
                self.backoff.failed(Duration::ZERO);
            }
        }
    }

    /// Takes what the filter says.
    fn hear_filter(&mut self) {
        let is_jammed = self.is_jammed();
        let Some(filter) = &mut self.filter else { return };
        let complaints = filter.process.complaints();
        let heard = if is_jammed { Ok(()) } else { filter.process.lines.fill(MOST) };
        let done = heard.map_err(|error| error.to_string()).and_then(|()| self.pass_on());
        self.complain(complaints);
        let Some(filter) = &mut self.filter else { return };
        let is_late = !filter.is_ready && filter.process.age() > HANDSHAKE;
        if let Err(why) = done {
            self.fail(&why);
        } else if filter.process.lines.is_at_end() {
            let how = filter.process.ended().unwrap_or_else(|| "its output is closed".into());
            self.fail(&format!("it has ended: {how}"));
        } else if filter.process.lines.pending() >= MOST {
            self.fail("a line without an end");
        } else if is_late {
            self.fail("it does not say what it registers for");
        }
    }

    /// Gives the filter's lines to those whom they are for.
    fn pass_on(&mut self) -> Result<(), String> {
        let Some(filter) = &mut self.filter else { return Ok(()) };
        while let Some(line) = filter.process.lines.line() {
            filter.spoke = Instant::now();
            if !filter.is_ready {
                match protocol::parse(line)? {
                    Line::Register(registered) => filter.wanted.add(registered),
                    Line::Ready => filter.is_ready = true,
                    _ => return Err("it speaks before it is ready".into()),
                }
                filter.registered.extend_from_slice(line);
                filter.registered.push(b'\n');
                continue;
            }
            let Some(session) = protocol::session_in_answer(line) else {
                let beginning = String::from_utf8_lossy(&line[..line.len().min(80)]);
                return Err(format!("a line of an unknown kind: '{beginning}'"));
            };
            // Who is gone needs no answer.
            let owner = self.sessions.get(&session).map(|owner| owner.client);
            if let Some(client) = owner.and_then(|client| self.clients.get_mut(&client)) {
                let sent = client.channel.send(&[line, b"\n"].concat());
                client.is_gone |= sent.is_err();
            } else {
                filter.unasked += line.len() + 1;
                if filter.unasked > MOST_UNASKED {
                    return Err("it sends too much that nobody asked for".into());
                }
            }
        }
        Ok(())
    }

    /// Takes what those who use the filter say.
    fn hear_clients(&mut self) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            self.hear_client(id);
        }
    }

    fn hear_client(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_leaving {
            return;
        }
        let Some(filter) = self.filter.as_mut().filter(|filter| filter.is_ready) else { return };
        if !std::mem::replace(&mut client.is_greeted, true) {
            client.is_gone |= client.channel.send(&filter.registered).is_err();
        }
        if filter.process.lines.waiting() <= MOST {
            client.is_gone |= client.channel.fill(MOST).is_err();
        }
        let mut is_stuck = false;
        while let Some(line) = client.channel.line() {
            if let Some(rest) = line.strip_prefix(OVERDUE) {
                is_stuck |= is_silent(&self.sessions, rest, filter.spoke);
                continue;
            }
            let Some(session) = protocol::session_of(line) else { continue };
            if line.split(|octet| *octet == b'|').nth(4) == Some(b"link-disconnect") {
                self.sessions.remove(&session);
            } else {
                self.sessions.insert(session, Owner { client: id, asked: Instant::now() });
            }
            // One that does not read any more is found out when an answer is overdue.
            let _ = filter.process.lines.send(&[line, b"\n"].concat());
            filter.unasked = 0;
        }
        client.is_gone |= client.channel.is_at_end();
        if is_stuck {
            self.fail("it does not answer");
        }
    }

    /// Those who have gone, and those who have taken the last that there was for them, are forgotten.
    fn part(&mut self) {
        let is_over =
            |client: &Client| client.is_gone || client.is_leaving && client.channel.waiting() == 0;
        let over = self.clients.iter().filter(|(_, client)| is_over(client));
        let over: Vec<u64> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.leave(id);
        }
    }

    /// Somebody has gone: its sessions are over.
    fn leave(&mut self, id: u64) {
        self.clients.remove(&id);
        let gone = self.sessions.extract_if(|_, owner| owner.client == id);
        let gone: Vec<u64> = gone.map(|(session, _)| session).collect();
        let Some(filter) = &mut self.filter else { return };
        for session in gone {
            if filter.wanted.event(Event::LinkDisconnect) {
                let version: Version = self.program.version();
                let line = protocol::report(version, Event::LinkDisconnect, session, &[]);
                let _ = filter.process.lines.send(&line);
            }
        }
    }

    /// Writes what waits, and finds out who takes nothing of it.
    fn write(&mut self) {
        if let Some(filter) = &mut self.filter {
            let _ = filter.process.lines.flush();
        }
        for client in self.clients.values_mut() {
            client.is_gone |= client.channel.flush().is_err();
            let waiting = client.channel.waiting();
            client.stuck = match client.stuck {
                _ if waiting == 0 => None,
                Some((since, was)) if waiting >= was => {
                    client.is_gone |= since.elapsed() > TIMEOUT;
                    Some((since, was))
                }
                _ => Some((Instant::now(), waiting)),
            };
        }
    }

    /// The filter is of no use any more: it is made an end of, and those who use it are told.
    fn fail(&mut self, why: &str) {
        let Some(mut filter) = self.filter.take() else { return };
        self.complain(filter.process.complaints());
        self.backoff.failed(filter.process.age());
        self.sessions.clear();
        let why = vec![why.to_owned()];
        for client in self.clients.values_mut().filter(|client| !client.is_leaving) {
            tell(&mut client.channel, &why);
            client.is_leaving = true;
        }
        keep(&mut self.complaints, why);
    }

    /// Somebody hears what the filter says for the log.
    fn complain(&mut self, complaints: Vec<String>) {
        keep(&mut self.complaints, complaints);
        // Whoever has not taken the last ones gets no more of them.
        let is_idle = |client: &&mut Client| !client.is_leaving && client.channel.waiting() == 0;
        if let Some(client) = self.clients.values_mut().find(is_idle) {
            tell(&mut client.channel, &std::mem::take(&mut self.complaints));
        }
    }
}

/// Has the filter been silent since it was asked what is overdue?
fn is_silent(sessions: &HashMap<u64, Owner>, rest: &[u8], spoke: Instant) -> bool {
    let text = String::from_utf8_lossy(rest);
    let session = text.split('|').next().and_then(|word| u64::from_str_radix(word, 16).ok());
    let owner = session.and_then(|session| sessions.get(&session));
    owner.is_some_and(|owner| spoke < owner.asked)
}

/// Sends lines for the log.
fn tell(channel: &mut Channel, lines: &[String]) {
    for line in lines {
        let line = line.replace('\n', " ");
        let _ = channel.send(&[LOG, line.as_bytes(), b"\n"].concat());
    }
}
