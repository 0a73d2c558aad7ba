//! A thousand clients that say nothing, or an octet now and then, beside real mail.

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
const WEEDED: Duration = Duration::from_secs(180);
/// How long mail is watched.
const WITHOUT: Duration = Duration::from_secs(5);
const WITH: Duration = Duration::from_secs(15);

/// Kind, most sessions, most sessions of one address, addresses that the slow clients come from, how
/// long they are there before.
type Case = (Kind, usize, usize, usize, Duration);
const CASES: [Case; 8] = [
    (Kind::Prefork(None), 15, 10, 10, MOMENT),
    (Kind::Prefork(None), 15, 10, SLOW, MOMENT),
    (Kind::Prefork(None), 15, 10, SLOW, WEEDED),
    (Kind::Prefork(None), 150, 10, 10, MOMENT),
    (Kind::Prefork(None), 150, 10, SLOW, MOMENT),
    (Kind::Prefork(None), 1100, 10, SLOW, MOMENT),
    (Kind::Forkserver(None), 150, 5, 10, MOMENT),
    (Kind::Forkserver(None), 1100, 5, SLOW, MOMENT),
];

/// How long whole sessions of real mail take without slow clients and with them.
pub(crate) fn measure() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    say(&format!("\n{SLOW} slow clients beside real mail; a session's milliseconds"));
    for (kind, most, max_from_ip, addresses, before) in CASES {
        let setup = Setup { most, max_from_ip, ..Setup::new(kind, &Job::NEW) };
        let (mut without, mut with) = (Watched::default(), Watched::default());
        for _ in 0..ROUNDS {
            let server = setup.start()?;
            without.add(watch(server.address, 0, 1, MOMENT, WITHOUT)?);
            with.add(watch(server.address, SLOW, addresses, before, WITH)?);
            server.stop()?;
        }
        let name = setup.kind.to_string();
        let before = before.as_secs();
        say(&format!(
            "{name}, {most} sessions, {max_from_ip} of one address, {addresses} of them, for {before} s"
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
) -> Result<Watched> {
    let SocketAddr::V4(to) = to else { return Err("an IPv4 address is needed".into()) };
    let (stop, sent_away) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = Mutex::new(Watched::default());
    let text = message(5120);
    thread::scope(|scope| {
        if slow > 0 {
            scope.spawn(|| dawdle(to, slow, addresses, &stop, &sent_away));
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

/// The slow clients: half of them say nothing, and the others an octet now and then.  Who is sent
/// away comes back.
fn dawdle(to: SocketAddrV4, count: usize, addresses: usize, stop: &AtomicBool, away: &AtomicUsize) {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let mut clients: Vec<(Option<TcpStream>, Instant)> =
        (0..count).map(|_| (None, Instant::now())).collect();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        for (number, (stream, next)) in clients.iter_mut().enumerate() {
            if stream.as_mut().is_some_and(ended) {
                away.fetch_add(1, Ordering::Relaxed);
                (*stream, *next) = (None, now + PAUSE);
            }
            if now < *next {
                continue;
            }
            *next = now + PAUSE;
            match stream {
                Some(stream) if number % 2 == 0 => drop(stream.write(b"x")),
                Some(_) => {}
                None => {
                    let [high, low] = ((number % addresses) as u16 + 1).to_be_bytes();
                    *stream = connect(Ipv4Addr::new(127, 100, high, low), to, flags).ok();
                }
            }
        }
        thread::sleep(TICK);
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
