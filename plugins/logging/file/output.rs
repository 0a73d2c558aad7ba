//! What lines are written to: a file, or a command that reads them.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What lines are written to.
pub(super) enum Output {
    /// With device and inode.
    File(File, (u64, u64)),
    Command(Child),
}

impl Output {
    /// Opens a file to append to.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn append_to(path: &str) -> io::Result<Output> {
        // A FIFO that nobody has opened is an error then; files do not care.
        let mut options = File::options();
        options.append(true).create(true).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        let found = file.metadata()?;
        Ok(Output::File(file, (found.dev(), found.ino())))
    }

    /// Starts a command, which the shell reads.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(command: &str) -> io::Result<Output> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = shell.spawn()?;
        if let Some(stdin) = &child.stdin {
            fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Output::Command(child))
    }

    /// Is it still what has that name?  A command always is.
    pub(super) fn is_still(&self, name: &str) -> bool {
        match self {
            Output::Command(_) => true,
            Output::File(_, id) => {
                std::fs::metadata(name).is_ok_and(|found| (found.dev(), found.ino()) == *id)
            }
        }
    }

    /// Writes a line, which waits `timeout` at most for its reader.
    ///
    /// # Errors
    /// `WouldBlock`: it took longer; `BrokenPipe`: nobody reads any more; what the system says.
    pub(super) fn put(&mut self, line: &[u8], timeout: Duration) -> io::Result<()> {
        match self {
            // One system call, so that the lines of several processes do not mix.
            Output::File(file, _) => feed(file, line, timeout),
            Output::Command(child) => match &mut child.stdin {
                Some(stdin) => feed(stdin, line, timeout),
                None => Err(ErrorKind::BrokenPipe.into()),
            },
        }
    }

    /// A command sees the end of its input, and is not waited for.
    pub(super) fn close(self) {
        if let Output::Command(mut child) = self {
            drop(child.stdin.take());
            let _ = child.try_wait();
        }
    }
}

/// Writes a line, which waits `timeout` at most for its reader.
fn feed(out: &mut (impl Write + AsFd), mut line: &[u8], timeout: Duration) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut wait = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
                let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
                if poll(&mut wait, timeout) == Ok(0) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
