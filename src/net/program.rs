//! Programs that take messages: what they read and say, and how they end, all in limited time.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How much of what a program says is kept, in octets.
const MOST_SAID: usize = 16 * 1024;

/// The longest time between two looks whether the program has ended.
const LONGEST_NAP: Duration = Duration::from_millis(20);

/// How long a killed program is waited for.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// A running program.  Dropped before it has ended, it is killed, with all that it has started,
/// before it could see the end of its input and take what it has for a whole message.
///
/// What is written goes to its input.  While a write waits, what the program says is read, so that
/// neither waits for the other.
///
/// ```
/// use std::io::Write;
/// use std::process::Command;
/// use std::time::{Duration, Instant};
/// use qpsmtpd::net::Program;
///
/// let mut command = Command::new("tr");
/// command.args(["a-z", "A-Z"]);
/// let program = Program::run(command, Instant::now() + Duration::from_secs(60)).unwrap();
/// let ended = program.feed(|input| input.write_all(b"text\n")).unwrap();
/// assert_eq!((ended.status().unwrap(), ended.lines), (0, vec!["TEXT".to_owned()]));
/// ```
pub struct Program {
    child: Child,
    input: Option<File>,
    output: Option<File>,
    said: Vec<u8>,
    until: Instant,
    is_over: bool,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    /// The lines that it said, without empty ones; of the first 16 KiB.
    pub lines: Vec<String>,
}

impl Ended {
    /// Its exit status.
    ///
    /// # Errors
    /// It was ended by a signal.
    pub fn status(&self) -> io::Result<i32> {
        let signal = || io::Error::other(format!("it ended with {}", self.status));
        self.status.code().ok_or_else(signal)
    }
}

impl Program {
    /// Starts `command`, which is killed if it has not ended by `until`.  What it says, on standard
    /// output and standard error, is in [`Ended::lines`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(mut command: Command, until: Instant) -> io::Result<Program> {
        let (stdin, input) = pipe()?;
        let (output, stdout) = pipe()?;
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stdout);
        Program::start(command, input, output, until)
    }

    /// Lets `write` write the program's input, ends the input, and waits for the program's end.  A
    /// program that fails need not have read everything: then its exit status says more than the broken
    /// pipe.
    ///
    /// # Errors
    /// `TimedOut`; what `write` says; the program ended well, but has not read everything.
    pub fn feed(mut self, write: impl FnOnce(&mut Program) -> io::Result<()>) -> io::Result<Ended> {
        let written = match write(&mut self) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
            written => written,
        };
        let ended = self.finish()?;
        if ended.status.success() {
            written?;
        }
        Ok(ended)
    }

    /// Starts `command`, which has the other ends of `input` and `output`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(
        mut command: Command,
        input: PipeWriter,
        output: PipeReader,
        until: Instant,
    ) -> io::Result<Program> {
        let (input, output) = (not_waiting(input)?, not_waiting(output)?);
        let child = command.process_group(0).spawn()?;
        Ok(Program {
            child,
            input: Some(input),
            output: Some(output),
            said: vec![],
            until,
            is_over: false,
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the current input; what is written from now on goes to `input`.
    ///
    /// # Errors
    /// What the system says of the pipe.
    pub(crate) fn next_input(&mut self, input: PipeWriter) -> io::Result<()> {
        self.input = Some(not_waiting(input)?);
        Ok(())
    }

    /// Ends the input, and waits for the program's end.
    ///
    /// # Errors
    /// `TimedOut`; what the system says.
    pub fn finish(mut self) -> io::Result<Ended> {
        self.input = None;
        let mut nap = Duration::from_micros(200);
        let status = loop {
            self.listen();
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            self.wait(PollFlags::empty(), nap)?;
            nap = (nap * 2).min(LONGEST_NAP);
        };
        self.is_over = true;
        // Something that the program has started may keep the pipe open, so its end is not awaited.
        self.listen();
        let said = String::from_utf8_lossy(&self.said);
        let lines = said.lines().map(|line| line.trim_end().to_owned());
        Ok(Ended { status, lines: lines.filter(|line| !line.is_empty()).collect() })
    }

    /// Reads what the program has said.
    fn listen(&mut self) {
        let mut piece = [0; 4096];
        while let Some(output) = &mut self.output {
            match output.read(&mut piece) {
                Ok(count @ 1..) => {
                    let room = MOST_SAID.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&piece[..count.min(room)]);
                    // One that never stops must not keep us.
                    if Instant::now() >= self.until {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.output = None,
            }
        }
    }

    /// Waits for `events` of the input, or until the program says something, or for `nap`.
    fn wait(&self, events: PollFlags, nap: Duration) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "the program takes too long"));
        }
        let input = self.input.iter().map(|input| (input, events));
        let output = self.output.iter().map(|output| (output, PollFlags::POLLIN));
        let fds = input.chain(output).map(|(file, events)| PollFd::new(file.as_fd(), events));
        let mut fds: Vec<_> = fds.collect();
        let nap = nap.min(left);
        if fds.is_empty() {
            thread::sleep(nap);
            return Ok(());
        }
        // A wait is rounded up, so that the last one does not spin.
        let millis = i32::try_from(nap.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Write for Program {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let input = self.input.as_mut().ok_or(ErrorKind::BrokenPipe)?;
            match input.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, Duration::MAX)?;
                    self.listen();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        kill_group(&mut self.child);
    }
}

/// Kills a program and what it has started, and waits a moment for its end.
pub(super) fn kill_group(child: &mut Child) {
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    // A program that has become another user cannot be killed; it stays behind then.
    let end = Instant::now() + LAST_WAIT;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The end of a pipe, with reads and writes that fail rather than wait.
fn not_waiting(pipe: impl Into<OwnedFd>) -> io::Result<File> {
    let file = File::from(pipe.into());
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Makes an executable file.  Another process writes it: while this one does, what its other
    /// threads start would have it open for writing too, and then it cannot be run.
    pub(crate) fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
        let (source, script) = (dir.join(format!("{name}.text")), dir.join(name));
        fs::write(&source, format!("#!/bin/sh\n{text}\n")).unwrap();
        let copy = Command::new("install").args([&source, &script]).status().unwrap();
        assert!(copy.success());
        script
    }

    fn start(script: &str, limit: Duration) -> Program {
        start_watched(script, limit).0
    }

    /// The second is at its end when nobody is left that could speak.
    fn start_watched(script: &str, limit: Duration) -> (Program, PipeReader) {
        let (stdin, input) = pipe().unwrap();
        let (output, stdout) = pipe().unwrap();
        let watched = output.try_clone().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(stdin);
        command.stdout(stdout.try_clone().unwrap()).stderr(stdout);
        let until = Instant::now() + limit;
        (Program::start(command, input, output, until).unwrap(), watched)
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(100);

    fn kind<T>(result: io::Result<T>) -> ErrorKind {
        result.map(|_| ()).unwrap_err().kind()
    }

    #[test]
    fn a_program_reads_speaks_and_ends() {
        let mut program = start("read line; echo got $line; echo >&2; echo bye >&2; exit 7", LONG);
        program.write_all(b"a line\nanother\n").unwrap();
        let ended = program.finish().unwrap();
        assert_eq!(ended.status().unwrap(), 7);
        assert_eq!(ended.lines, ["got a line", "bye"]);
    }

    #[test]
    fn much_goes_both_ways_at_once() {
        let mut program = start("head -c 1000000 /dev/zero; exec wc -c", LONG);
        program.write_all(&vec![b'x'; 1_000_000]).unwrap();
        let ended = program.finish().unwrap();
        assert_eq!(ended.status().unwrap(), 0);
        assert_eq!(ended.lines[0].len(), MOST_SAID);
        let mut program = start("exec wc -c", LONG);
        program.write_all(&vec![b'x'; 1_000_000]).unwrap();
        assert_eq!(program.finish().unwrap().lines, ["1000000"]);
    }

    #[test]
    fn the_next_input_ends_the_one_before() {
        let (second, next) = pipe().unwrap();
        let (stdin, input) = pipe().unwrap();
        let (output, stderr) = pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cat >&2; cat <&1 >&2"]).stdin(stdin).stdout(second).stderr(stderr);
        let until = Instant::now() + LONG;
        let mut program = Program::start(command, input, output, until).unwrap();
        program.write_all(b"first\n").unwrap();
        program.next_input(next).unwrap();
        program.write_all(b"second\n").unwrap();
        assert_eq!(program.finish().unwrap().lines, ["first", "second"]);
    }

    #[test]
    fn one_that_ends_well_has_read_everything() {
        let feed = |script: &str, input: &[u8]| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            let program = Program::run(command, Instant::now() + LONG).unwrap();
            program.feed(|out| out.write_all(input))
        };
        let ended = feed("exec cat", b"text").unwrap();
        assert_eq!((ended.status().unwrap(), ended.lines), (0, vec!["text".to_owned()]));
        let much = vec![0; 1 << 20];
        let ended = feed("exec <&-; echo full >&2; exit 3", &much).unwrap();
        assert_eq!((ended.status().unwrap(), ended.lines), (3, vec!["full".to_owned()]));
        assert_eq!(kind(feed("exec <&-; exit 0", &much)), ErrorKind::BrokenPipe);
    }

    #[test]
    fn one_that_reads_nothing_breaks_the_pipe_and_has_its_say() {
        let mut program = start("exec <&-; echo no; exit 3", LONG);
        assert_eq!(kind(program.write_all(&vec![0; 1 << 20])), ErrorKind::BrokenPipe);
        let ended = program.finish().unwrap();
        assert_eq!(ended.status().unwrap(), 3);
        assert_eq!(ended.lines, ["no"]);
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let program = start("sleep 600 & echo $!", LONG);
        let group = program.id();
        let ended = program.finish().unwrap();
        assert_eq!((ended.status().unwrap(), ended.lines.len()), (0, 1));
        killpg(Pid::from_raw(group as i32), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn overdue_programs_are_killed_with_all_that_they_started() {
        for script in ["sleep 600; echo", "sleep 600 & exec sleep 600", "exec yes"] {
            let (mut program, watched) = start_watched(script, SHORT);
            assert_eq!(kind(program.write_all(&vec![0; 1 << 20])), ErrorKind::TimedOut, "{script}");
            drop(program);
            until_end(watched);
            let (program, watched) = start_watched(script, SHORT);
            assert_eq!(kind(program.finish()), ErrorKind::TimedOut, "{script}");
            until_end(watched);
        }
    }

    fn until_end(mut output: PipeReader) {
        let mut piece = [0; 4096];
        loop {
            match output.read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_started_is_an_error() {
        let (stdin, input) = pipe().unwrap();
        let (output, _) = pipe().unwrap();
        let mut command = Command::new("/nonexistent/program");
        command.stdin(stdin);
        let started = Program::start(command, input, output, Instant::now() + LONG);
        assert_eq!(kind(started), ErrorKind::NotFound);
    }
}
