//! A child process that does not outlive its test, and what it writes to stderr.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{TIMEOUT, poll};

/// How long a process may take to end before it is killed, when nobody waits for its status.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// More than a pipe holds, in octets; see pipe(7).
const PIPE: usize = 1024 * 1024;

/// A running program; dropped, it is asked to end, and killed if it does not.
pub(crate) struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Starts the command; what it writes to stderr goes to `log`.
    pub(crate) fn spawn(mut command: Command, log: &Log) -> Process {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("cannot start {:?}: {error}", command.get_program());
        });
        log.follow(child.stderr.take().expect("stderr was piped just now"));
        Process { child, log: log.clone() }
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Has it ended?
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end; an error when it does not come.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, String> {
        let status = poll(TIMEOUT, || self.ended());
        status.ok_or_else(|| format!("process {} does not end:\n{}", self.pid(), self.log.tail()))
    }

    /// The processes that are its children now, those not counted that ended already.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok());
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| living_parent(*pid) == Some(self.pid().as_raw()))
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            kill(self.pid(), Signal::SIGTERM).ok();
            if poll(LAST_WORDS, || self.child.try_wait().ok().flatten()).is_none() {
                self.child.kill().ok();
                self.child.wait().ok();
            }
        }
    }
}

/// The parent of a process that is not a zombie; see proc_pid_stat(5).
fn living_parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next() == Some("Z") { None } else { fields.next()?.parse().ok() }
}

/// What one or several processes wrote to stderr, collected as it comes.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    text: String,
    /// Those that somebody can still write to.
    pipes: Vec<Pipe>,
}

/// The end of a pipe to read from, without waiting, and the line that has begun to come.
struct Pipe {
    end: Arc<File>,
    line: Vec<u8>,
}

impl Written {
    /// Takes everything out of the pipes that was written so far.
    fn take(&mut self) {
        let Written { text, pipes } = self;
        pipes.retain_mut(|pipe| {
            let is_open = pipe.read();
            let whole = pipe.line.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
            let whole = if is_open { whole } else { pipe.line.len() };
            *text += &String::from_utf8_lossy(&pipe.line.drain(..whole).collect::<Vec<_>>());
            is_open
        });
    }
}

impl Pipe {
    /// Reads as much as the pipe can hold; false when nobody can write any more.
    fn read(&mut self) -> bool {
        let mut octets = [0; 8192];
        for _ in 0..PIPE / octets.len() {
            match self.end.as_ref().read(&mut octets) {
                Ok(0) => return false,
                Ok(count) => self.line.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl Log {
    /// Collects what comes from `pipe`, too.
    pub(crate) fn follow(&self, pipe: impl Into<OwnedFd>) {
        let end = Arc::new(File::from(pipe.into()));
        fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        self.0.0.lock().unwrap().pipes.push(Pipe { end: end.clone(), line: vec![] });
        let log = self.clone();
        std::thread::spawn(move || {
            let mut is_open = true;
            while is_open {
                nix::poll::poll(
                    &mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)],
                    PollTimeout::NONE,
                )
                .ok();
                let mut written = log.0.0.lock().unwrap();
                written.take();
                is_open = written.pipes.iter().any(|pipe| Arc::ptr_eq(&pipe.end, &end));
                log.0.1.notify_all();
            }
        });
    }

    /// Everything so far: what a process wrote before it told somebody else something is there
    /// once that was heard.
    pub(crate) fn text(&self) -> String {
        let mut written = self.0.0.lock().unwrap();
        written.take();
        written.text.clone()
    }

    /// The last lines, each with a margin: what goes into the message of a failed test.
    pub(crate) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].iter().map(|line| format!("  | {line}\n")).collect()
    }

    /// Waits until `find` sees in the text what it looks for. `None`: nobody can write any more,
    /// or it took too long.
    pub(crate) fn wait_until<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + TIMEOUT;
        let mut written = self.0.0.lock().unwrap();
        loop {
            written.take();
            if let Some(found) = find(&written.text) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            if written.pipes.is_empty() {
                return None;
            }
            written = self.0.1.wait_timeout(written, left).unwrap().0;
        }
    }

    /// Waits until `text` was written.
    pub(crate) fn wait_for(&self, text: &str) {
        if self.wait_until(|all| all.contains(text).then_some(())).is_none() {
            panic!("the log never says {text:?}:\n{}", self.tail());
        }
    }
}
