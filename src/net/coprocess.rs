//! A program that goes on, to which lines are written and which says lines.

use std::io::{self, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::PollFd;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::Channel;
use super::program::kill_group;

/// How long it may take to end when its input does, and then when it is asked to.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time between two looks whether it has.
const LONGEST_NAP: Duration = Duration::from_millis(20);

/// How much of what it says for the log is kept, in octets, and how many lines of it.
const MOST_COMPLAINTS: usize = 64 * 1024;
const MOST_LINES: usize = 100;

/// A running program with its standard input and output, and what it says on standard error.
/// Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub(crate) struct Coprocess {
    /// Its standard input and output.
    pub(crate) lines: Channel,
    complaints: Channel,
    child: Child,
    began: Instant,
}

impl Coprocess {
    /// Starts `command`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(mut command: Command) -> io::Result<Coprocess> {
        let ((stdin, input), (output, stdout), (complaints, stderr)) = (pipe()?, pipe()?, pipe()?);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let child = command.process_group(0).spawn()?;
        let nobody: OwnedFd = std::fs::File::open("/dev/null")?.into();
        Ok(Coprocess {
            lines: Channel::new(output.into(), input.into())?,
            complaints: Channel::new(complaints.into(), nobody)?,
            child,
            began: Instant::now(),
        })
    }

    /// How long it has been running.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// What it has said on standard error since this was last asked, a line each.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What cannot be read is not said.
        let _ = self.complaints.fill(MOST_COMPLAINTS);
        let mut lines = vec![];
        while let Some(line) = self.complaints.line() {
            if lines.len() == MOST_LINES {
                lines.push("... and more".to_owned());
            } else if lines.len() < MOST_LINES && !line.is_empty() {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        if self.complaints.pending() >= MOST_COMPLAINTS {
            lines.push("a line without an end".to_owned());
            self.complaints.forget();
        }
        lines
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Ends its input, and waits for its end; one that does not end by itself is asked to with SIGTERM, and
    /// killed.
    pub(crate) fn finish(mut self) {
        // One that does not read has nothing to miss.
        let _ = self.lines.end();
        if self.ends_within(PATIENCE) {
            return;
        }
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        self.ends_within(PATIENCE);
    }

    /// Waits for its end without hearing what it says.
    fn ends_within(&mut self, most: Duration) -> bool {
        let (end, mut nap) = (Instant::now() + most, Duration::from_micros(200));
        while self.ended().is_none() {
            if Instant::now() >= end {
                return false;
            }
            for channel in [&mut self.lines, &mut self.complaints] {
                let _ = channel.fill(MOST_COMPLAINTS);
                channel.forget();
            }
            thread::sleep(nap);
            nap = (nap * 2).min(LONGEST_NAP);
        }
        true
    }

    /// Whatever it waits for; `is_full`: it is not read now.
    pub(crate) fn wants(&self, is_full: bool) -> impl Iterator<Item = PollFd<'_>> {
        let complaints = self.complaints.wants(false);
        self.lines.wants(is_full).into_iter().chain(complaints).flatten()
    }
}

impl Drop for Coprocess {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use nix::sys::signal::kill;

    use super::*;
    use crate::net::wait_for;

    fn start(script: &str) -> Coprocess {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Coprocess::start(command).unwrap()
    }

    fn until<T>(program: &mut Coprocess, mut ask: impl FnMut(&mut Coprocess) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            program.lines.flush().unwrap();
            program.lines.fill(1 << 20).unwrap();
            if let Some(found) = ask(program) {
                return found;
            }
            wait_for(program.wants(false).collect(), end).unwrap();
        }
    }

    #[test]
    fn lines_go_and_come_and_complaints_are_heard() {
        let mut program = start("while read line; do echo got $line; echo no $line >&2; done");
        for word in ["one", "two"] {
            program.lines.send(format!("{word}\n").as_bytes()).unwrap();
            let line = until(&mut program, |program| program.lines.line().map(<[u8]>::to_vec));
            assert_eq!(line, format!("got {word}").into_bytes());
            let said = until(&mut program, |program| program.complaints().pop());
            assert_eq!(said, format!("no {word}"));
        }
        assert_eq!(program.ended(), None);
    }

    /// The last line that a program writes into a file before it is gone.
    fn last_word(script: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("said");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("SAID", &file);
        let mut program = Coprocess::start(command).unwrap();
        until(&mut program, |program| program.lines.line().map(<[u8]>::to_vec));
        let pid = Pid::from_raw(program.child.id() as i32);
        program.finish();
        assert_eq!(kill(pid, None), Err(Errno::ESRCH), "{script}");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    #[test]
    fn one_that_ignores_the_end_of_its_input_is_asked_and_killed() {
        for (script, said) in [
            ("echo; cat; yes | head -c 1000000; echo bye >$SAID", "bye\n"),
            ("trap 'echo asked >$SAID; exit' TERM; echo; while :; do sleep 0.01; done", "asked\n"),
            ("trap '' TERM; echo; while :; do sleep 0.01; done; echo no >$SAID", ""),
        ] {
            assert_eq!(last_word(script), said, "{script}");
        }
    }

    #[test]
    fn its_end_is_seen_and_complaints_have_a_limit() {
        let mut program = start("yes complaint | head -n 1000 >&2; exit 7");
        let mut lines = vec![];
        let ended = until(&mut program, |program| {
            lines.extend(program.complaints());
            program.ended()
        });
        lines.extend(program.complaints());
        assert_eq!(ended, "exit status: 7");
        assert!(lines.contains(&"... and more".to_owned()) && lines.len() < 1000);
    }
}
