//! A thousand clients that say nothing, or an octet now and then, in every state of a session, beside
//! real mail.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

use crate::client::{Client, Job, message};
use crate::server::{Kind, Setup};
use crate::{ROUNDS, Result, say};

const SLOW: usize = 1000;
/// How often a slow client that says something says it, and how long one that was sent away stays
/// away.
const PAUSE: Duration = Duration::from_secs(3);
/// How often each slow client is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Real clients at a time, each from an address of its own, and their pause between two messages.
const REAL: usize = 4;
const REST: Duration = Duration::from_millis(20);

/// How long slow clients are there before mail is watched: a moment, or until each address has been
/// asked to leave a small pool.
const MOMENT: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const WEEDED: Duration = Duration::from_secs(180);
/// How long mail is watched.
const WITHOUT: Duration = Duration::from_secs(5);
const WITH: Duration = Duration::from_secs(15);

/// What a slow client says at first, and then again and again; None: nothing is said.
type Manner = (&'static str, Option<&'static str>);

/// Clients that do not get far.
const SIMPLE: [Manner; 2] = [("", None), ("", Some("x"))];

/// Clients in every state of a session: silent; within a command; in a transaction; with replies
/// that they do not read; in a message by DATA and by BDAT; in a TLS handshake; in AUTH; after a
/// refusal.
const EVERY: [Manner; 9] = [
    SIMPLE[0],
    SIMPLE[1],
    ("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@bench.example>\r\n", Some("NOOP\r\n")),
    (UNREAD, Some("HELP\r\n")),
    ("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@bench.example>\r\nDATA\r\n", Some("x")),
    ("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@bench.example>\r\nBDAT 90000\r\n", Some("x")),
    ("EHLO a\r\nSTARTTLS\r\n", Some("\x16")),
    ("EHLO a\r\nAUTH LOGIN\r\n", Some("x")),
    ("EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@elsewhere.example>\r\n", None),
];
/// It is followed by as many HELPs as are taken; nothing is read.
const UNREAD: &str = "EHLO a\r\n";

/// Kind, most sessions, most sessions of one address, addresses that the slow clients come from, how
/// long they are there before, what they do.
type Case = (Kind, usize, usize, usize, Duration, &'static [Manner]);
const CASES: [Case; 11] = [
    (Kind::Prefork(None), 15, 10, 10, MOMENT, &SIMPLE),
    (Kind::Prefork(None), 15, 10, SLOW, MOMENT, &SIMPLE),
    (Kind::Prefork(None), 15, 10, SLOW, WEEDED, &SIMPLE),
    (Kind::Prefork(None), 150, 10, 10, MOMENT, &SIMPLE),
    (Kind::Prefork(None), 150, 10, SLOW, MOMENT, &SIMPLE),
    (Kind::Prefork(None), 1100, 10, SLOW, MOMENT, &SIMPLE),
    (Kind::Forkserver(None), 150, 5, 10, MOMENT, &SIMPLE),
    (Kind::Forkserver(None), 1100, 5, SLOW, MOMENT, &SIMPLE),
    (Kind::Prefork(None), 15, 5, 3, Duration::ZERO, &EVERY),
    (Kind::Prefork(None), 15, 5, 90, Duration::ZERO, &EVERY),
    (Kind::Prefork(None), 15, 5, 90, MINUTE, &EVERY),
];

/// How long whole sessions of real mail take without slow clients and with them.
/// `all`: not only where slow clients do everything.
pub(crate) fn measure(all: bool) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    say(&format!("\n{SLOW} slow clients beside real mail; a session's milliseconds"));
    for (kind, most, max_from_ip, addresses, before, manners) in CASES {
        let offers = manners.len() > SIMPLE.len();
        if !all && !offers {
            continue;
        }
        let setup = Setup { most, max_from_ip, offers, ..Setup::new(kind, &Job::NEW) };
        let (mut without, mut with) = (Watched::default(), Watched::default());
        for _ in 0..ROUNDS {
            let server = setup.start()?;
            without.add(watch(server.address, 0, 1, MOMENT, WITHOUT, manners)?);
            with.add(watch(server.address, SLOW, addresses, before, WITH, manners)?);
            server.stop()?;
        }
        let name = setup.kind.to_string();
        let before = before.as_secs();
        say(&format!(
            "{name}, {most} sessions, {max_from_ip} of one address, {addresses} of them, for {before} s, \
             {} manners",
            manners.len()
        ));
        say(&format!("    without  {without}"));
        say(&format!("    with     {with}"));
        let ratio = |share| with.at(share) / without.at(share);
        say(&format!("    ratio    p50 {:9.2}   p99 {:9.2}", ratio(0.5), ratio(0.99)));
    }
    Ok(())
}

/// What real clients saw.
#[derive(Default)]
struct Watched {
    /// In order.
    milliseconds: Vec<f64>,
    /// Sessions that the server ended.
    refused: usize,
    /// Slow clients that the server let go or did not let in, as often as that was.
    sent_away: usize,
}

impl Watched {
    fn add(&mut self, other: Watched) {
        self.milliseconds.extend(other.milliseconds);
        self.milliseconds.sort_by(f64::total_cmp);
        self.refused += other.refused;
        self.sent_away += other.sent_away;
    }

    fn at(&self, share: f64) -> f64 {
        let index = (self.milliseconds.len() as f64 * share) as usize;
        self.milliseconds.get(index).or(self.milliseconds.last()).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (half, most, longest) = (self.at(0.5), self.at(0.99), self.at(1.0));
        write!(f, "p50 {half:9.2}   p99 {most:9.2}   longest {longest:9.2}   ")?;
        let count = self.milliseconds.len();
        write!(f, "{count} sessions, {} refused; {} sent away", self.refused, self.sent_away)
    }
}

/// Real mail for so long, beside so many slow clients from so many addresses, which are there so long
/// before.
fn watch(
    to: SocketAddr,
    slow: usize,
    addresses: usize,
    before: Duration,
    time: Duration,
    manners: &'static [Manner],
) -> Result<Watched> {
    let SocketAddr::V4(to) = to else { return Err("an IPv4 address is needed".into()) };
    let (stop, sent_away) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = Mutex::new(Watched::default());
    let text = message(5120);
    thread::scope(|scope| {
        if slow > 0 {
            scope.spawn(|| dawdle(to, slow, addresses, manners, &stop, &sent_away));
            thread::sleep(before);
        }
        let end = Instant::now() + time;
        let real: Vec<_> = (1..=REAL as u8)
            .map(|number| {
                let (seen, text) = (&seen, &text);
                scope.spawn(move || mail(Ipv4Addr::new(127, 200, 0, number), to, text, end, seen))
            })
            .collect();
        for client in real {
            let _ = client.join();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut seen = seen.into_inner()?;
    seen.sent_away = sent_away.into_inner();
    Ok(seen)
}

/// One real client: one message after the other until `end`.  A session that is not over then
/// counts with the time it had.
fn mail(from: Ipv4Addr, to: SocketAddrV4, text: &[u8], end: Instant, seen: &Mutex<Watched>) {
    while Instant::now() < end {
        let start = Instant::now();
        let done = session(from, to, text, end);
        if let Ok(mut seen) = seen.lock() {
            match done.is_ok() || Instant::now() >= end {
                true => seen.milliseconds.push(start.elapsed().as_secs_f64() * 1e3),
                false => seen.refused += 1,
            }
        }
        thread::sleep(REST);
    }
}

fn session(from: Ipv4Addr, to: SocketAddrV4, text: &[u8], end: Instant) -> Result<()> {
    let stream = connect(from, to, SockFlag::SOCK_CLOEXEC)?;
    let left = end.saturating_duration_since(Instant::now()).max(TICK);
    stream.set_read_timeout(Some(left))?;
    let mut client = Client::new(stream)?;
    client.deliver(text, 1)?;
    client.say("QUIT\r\n", "221")
}

/// The slow clients, each in its manner.  Who is sent away comes back.
fn dawdle(
    to: SocketAddrV4,
    count: usize,
    addresses: usize,
    manners: &[Manner],
    stop: &AtomicBool,
    away: &AtomicUsize,
) {
    let mut clients: Vec<Slow> = (0..count)
        .map(|number| {
            let [high, low] = ((number % addresses) as u16 + 1).to_be_bytes();
            // Each address has clients of every manner.
            let (first, then) = manners[(number + number / addresses) % manners.len()];
            let from = Ipv4Addr::new(127, 100, high, low);
            Slow { from, first, then, stream: None, has_begun: false, next: Instant::now() }
        })
        .collect();
    while !stop.load(Ordering::Relaxed) {
        for client in &mut clients {
            if client.go_on(to, Instant::now()) {
                away.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(TICK);
    }
}

struct Slow {
    from: Ipv4Addr,
    first: &'static str,
    then: Option<&'static str>,
    stream: Option<TcpStream>,
    has_begun: bool,
    next: Instant,
}

impl Slow {
    /// Does what it is time for; true: it was sent away.
    fn go_on(&mut self, to: SocketAddrV4, now: Instant) -> bool {
        let reads = self.first != UNREAD;
        if self.stream.as_mut().is_some_and(|stream| reads && ended(stream)) {
            (self.stream, self.next) = (None, now + PAUSE);
            return true;
        }
        if now < self.next {
            return false;
        }
        let Some(stream) = &mut self.stream else {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            self.stream = connect(self.from, to, flags).ok();
            (self.has_begun, self.next) = (false, now + TICK);
            return false;
        };
        self.next = now + PAUSE;
        let said = match self.has_begun {
            true => self.then.map_or(Ok(0), |then| stream.write(then.as_bytes())),
            false => stream.write(self.first.as_bytes()),
        };
        match said {
            Ok(_) => self.has_begun = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(_) => {
                self.stream = None;
                return true;
            }
        }
        // As many as the server takes.
        while !reads && stream.write("HELP\r\n".repeat(99).as_bytes()).is_ok() {}
        false
    }
}

/// Has the server hung up?  What it said until then does not matter.
fn ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 512]) {
        Ok(count) => count == 0,
        Err(error) => {
            error.kind() != ErrorKind::WouldBlock && error.kind() != ErrorKind::NotConnected
        }
    }
}

/// Connects from one of the machine's several loopback addresses.
fn connect(from: Ipv4Addr, to: SocketAddrV4, flags: SockFlag) -> Result<TcpStream> {
    let stream =
        TcpStream::from(socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?);
    let fd = stream.as_raw_fd();
    socket::bind(fd, &SockaddrIn::from(SocketAddrV4::new(from, 0)))?;
    match socket::connect(fd, &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}
