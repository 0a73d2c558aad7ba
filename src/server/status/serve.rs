//! The process that serves the status.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::history::PACE;
use super::http::{self, Answer, Request};
use super::source::Source;
use super::{page, prometheus};

/// How many clients are served at a time; more are sent away.
const MOST: usize = 8;

/// How long nobody is taken when that has failed.
const BREATHER: Duration = Duration::from_millis(200);

/// Where clients come.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves for ever.
pub(super) fn serve(listener: &Listener, source: Source) -> ! {
    let source = Arc::new(source);
    let busy = Arc::new(AtomicUsize::new(0));
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next {
            source.sample();
            next = now + PACE;
        }
        let left = PollTimeout::try_from(next - now).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], left);
        match listener.accept() {
            Ok(stream) => begin(stream, &source, &busy),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => thread::sleep(BREATHER),
        }
    }
}

/// Serves a client in a thread of its own, if there are not too many.
fn begin(stream: Stream, source: &Arc<Source>, busy: &Arc<AtomicUsize>) {
    let place = Place::take(busy);
    let (Some(place), source) = (place, source.clone()) else {
        // Its connection is closed.
        return;
    };
    // Without a thread there is no answer.
    let _ = thread::Builder::new().name("status".into()).spawn(move || {
        let needs_host = matches!(stream, Stream::Tcp(_));
        match stream {
            Stream::Tcp(stream) => {
                let _ = http::answer(&stream, |request| answer(&source, request, needs_host));
                let _ = stream.shutdown(Shutdown::Both);
            }
            Stream::Unix(stream) => {
                let _ = http::answer(&stream, |request| answer(&source, request, needs_host));
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        drop(place);
    });
}

fn answer(source: &Source, request: &Request, needs_host: bool) -> Answer {
    let is_own = request.host.as_deref().is_none_or(http::is_own_name);
    if needs_host && !is_own {
        return Answer::error(403);
    }
    match &*request.path {
        "/" => page::answer(source),
        "/metrics" => Answer::found(prometheus::TYPE, prometheus::text(source.look().series)),
        "/status.json" => Answer::found("application/json", format!("{}\n", source.json())),
        _ => Answer::error(404),
    }
}

/// One of the clients that are served at a time.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Option<Place> {
        if busy.fetch_add(1, Ordering::SeqCst) < MOST {
            return Some(Place(busy.clone()));
        }
        busy.fetch_sub(1, Ordering::SeqCst);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Listener {
    /// The same socket by another descriptor.
    pub(super) fn again(&self) -> Option<Listener> {
        match self {
            Listener::Tcp(listener) => listener.try_clone().ok().map(Listener::Tcp),
            Listener::Unix(listener) => listener.try_clone().ok().map(Listener::Unix),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        let stream = match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        };
        match &stream {
            Stream::Tcp(stream) => stream.set_nonblocking(true)?,
            Stream::Unix(stream) => stream.set_nonblocking(true)?,
        }
        Ok(stream)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}
