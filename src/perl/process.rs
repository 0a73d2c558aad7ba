//! The Perl process that loads the plugins and is forked for each worker.

use std::fmt::Write as _;
use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, setsockopt, socketpair,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::pipe2;

use crate::error::{Error, Result};
use crate::perl::link::Link;

/// The library that plugins see, by the names under which Perl looks for its parts.
const LIBRARY: [(&str, &str); 27] = [
    ("Qpsmtpd.pm", include_str!("lib/Qpsmtpd.pm")),
    ("Qpsmtpd/Address.pm", include_str!("lib/Qpsmtpd/Address.pm")),
    ("Qpsmtpd/Auth.pm", include_str!("lib/Qpsmtpd/Auth.pm")),
    ("Qpsmtpd/Base.pm", include_str!("lib/Qpsmtpd/Base.pm")),
    ("Qpsmtpd/Chain.pm", include_str!("lib/Qpsmtpd/Chain.pm")),
    ("Qpsmtpd/Command.pm", include_str!("lib/Qpsmtpd/Command.pm")),
    ("Qpsmtpd/Config.pm", include_str!("lib/Qpsmtpd/Config.pm")),
    ("Qpsmtpd/Connection.pm", include_str!("lib/Qpsmtpd/Connection.pm")),
    ("Qpsmtpd/Constants.pm", include_str!("lib/Qpsmtpd/Constants.pm")),
    ("Qpsmtpd/DB.pm", include_str!("lib/Qpsmtpd/DB.pm")),
    ("Qpsmtpd/DB/File/DBM.pm", include_str!("lib/Qpsmtpd/DB/File/DBM.pm")),
    ("Qpsmtpd/DB/Redis.pm", include_str!("lib/Qpsmtpd/DB/Redis.pm")),
    ("Qpsmtpd/DB/Store.pm", include_str!("lib/Qpsmtpd/DB/Store.pm")),
    ("Qpsmtpd/DSN.pm", include_str!("lib/Qpsmtpd/DSN.pm")),
    ("Qpsmtpd/Header.pm", include_str!("lib/Qpsmtpd/Header.pm")),
    ("Qpsmtpd/Host.pm", include_str!("lib/Qpsmtpd/Host.pm")),
    ("Qpsmtpd/Log.pm", include_str!("lib/Qpsmtpd/Log.pm")),
    ("Qpsmtpd/Map.pm", include_str!("lib/Qpsmtpd/Map.pm")),
    ("Qpsmtpd/Plugin.pm", include_str!("lib/Qpsmtpd/Plugin.pm")),
    ("Qpsmtpd/Postfix.pm", include_str!("lib/Qpsmtpd/Postfix.pm")),
    ("Qpsmtpd/Postfix/Constants.pm", include_str!("lib/Qpsmtpd/Postfix/Constants.pm")),
    ("Qpsmtpd/SMTP.pm", include_str!("lib/Qpsmtpd/SMTP.pm")),
    ("Qpsmtpd/State.pm", include_str!("lib/Qpsmtpd/State.pm")),
    ("Qpsmtpd/TcpServer.pm", include_str!("lib/Qpsmtpd/TcpServer.pm")),
    ("Qpsmtpd/Transaction.pm", include_str!("lib/Qpsmtpd/Transaction.pm")),
    ("Qpsmtpd/Utils.pm", include_str!("lib/Qpsmtpd/Utils.pm")),
    ("Qpsmtpd/Wire.pm", include_str!("lib/Qpsmtpd/Wire.pm")),
];

/// Reads the program from standard input, which is the control socket, and runs it.
const BOOTSTRAP: &str = "my ($n, $s) = ('', ''); sysread STDIN, $n, 4; $n = unpack 'N', $n; \
    while (length $s < $n) { sysread STDIN, $s, $n - length $s, length $s or exit 1 } \
    eval $s; die $@ if $@";

/// Ends the text of a module in the program that is sent.
const MARK: &str = "END OF MODULE OF QPSMTPD";

/// How long writing to a process that was just started may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running Perl process and the sockets on which it takes workers.
///
/// They are a pair without a name: whoever has not inherited them from the parent cannot reach Perl.
pub(super) struct Process {
    /// As long as this is open, in whatever process, it goes on.
    pub(super) control: Link,
    /// Perl's end, for a process in the place of one that has died.
    desk: OwnedFd,
    /// The workers' end.
    door: OwnedFd,
}

impl Process {
    /// Starts Perl.  `root` is the folder that plugins take for the server's; `confined`: programs
    /// that they start get no rights of their own.
    ///
    /// # Errors
    /// There is no Perl, or no socket.
    pub(super) fn start(root: &Path, confined: bool) -> Result<Process> {
        let fail = |error: nix::Error| Error::new(format!("sockets for Perl: {error}"));
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (door, desk) = socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).map_err(fail)?;
        let timeout = TimeVal::seconds(TIMEOUT.as_secs() as i64);
        setsockopt(&door, sockopt::SendTimeout, &timeout).map_err(fail)?;
        let control = run(root, &desk, confined)?;
        Ok(Process { control, desk, door })
    }

    /// The same in the place of one that has died, for the same workers.
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub(super) fn restart(&mut self, root: &Path, confined: bool) -> Result<()> {
        self.control = run(root, &self.desk, confined)?;
        Ok(())
    }

    /// A connection to a Perl process of one's own: one end of a new pair of sockets, and one of a pipe,
    /// go through the door.
    ///
    /// # Errors
    /// The process that makes them does not listen.
    pub(super) fn connect(&self) -> std::result::Result<Link, String> {
        let (ours, theirs) =
            UnixStream::pair().map_err(|error| format!("a socket for Perl: {error}"))?;
        let (pipe, end) =
            pipe2(OFlag::O_CLOEXEC).map_err(|error| format!("a pipe for Perl: {error}"))?;
        // What is read from it is there, or is not waited for.
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|error| format!("a pipe for Perl: {error}"))?;
        let fds = [theirs.as_raw_fd(), end.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&fds)];
        let (octets, flags) = ([IoSlice::new(b"+")], MsgFlags::MSG_NOSIGNAL);
        sendmsg::<()>(self.door.as_raw_fd(), &octets, &control, flags, None)
            .map_err(|error| format!("there is no Perl process: {error}"))?;
        Ok(Link::new(ours, Some(pipe)))
    }
}

fn run(root: &Path, desk: &OwnedFd, confined: bool) -> Result<Link> {
    let fail = |error: std::io::Error| Error::new(format!("a socket for Perl: {error}"));
    let (ours, theirs) = UnixStream::pair().map_err(fail)?;
    Command::new("perl")
        .args(["-e", BOOTSTRAP])
        .arg(root)
        .args([libc::SYS_recvmsg, libc::SYS_prctl].map(|number| number.to_string()))
        .arg(if confined { "1" } else { "0" })
        .arg(std::env::current_dir().unwrap_or_default())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(desk.try_clone().map_err(fail)?))
        .spawn()
        .map_err(|error| Error::new(format!("cannot run perl, which plugins need: {error}")))?;
    let program = program();
    ours.set_write_timeout(Some(TIMEOUT)).map_err(fail)?;
    let mut stream = &ours;
    stream.write_all(&(program.len() as u32).to_be_bytes()).map_err(fail)?;
    stream.write_all(program.as_bytes()).map_err(fail)?;
    Ok(Link::new(ours, None))
}

/// A program whose modules come before any that are installed under these names.
fn program() -> String {
    let mut text = String::from("my %module = (\n");
    for (name, source) in LIBRARY {
        let _ = write!(text, "'{name}' => <<'{MARK}',\n{source}{MARK}\n");
    }
    text += ");\nunshift @INC, sub {\n    my $name = $_[1];\n    my $text = delete $module{$name};\n    \
        return unless defined $text;\n    $text = qq{#line 1 \"$name\"\\n$text};\n    \
        open my $file, '<', \\$text or return;\n    return $file;\n};\n\
        END { Qpsmtpd::Host::end() if defined &Qpsmtpd::Host::end }\n\
        require Qpsmtpd::Host;\nQpsmtpd::Host::run(@ARGV);\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table above is written by hand; this keeps it whole.
    #[test]
    fn every_module_of_the_library_is_listed() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/perl/lib");
        let mut found = vec![];
        let mut folders = vec![dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        let mut listed: Vec<&str> = LIBRARY.iter().map(|row| row.0).collect();
        listed.sort_unstable();
        assert_eq!(listed, found);
        assert!(LIBRARY.iter().all(|row| row.1.ends_with("\n") && !row.1.contains(MARK)));
    }
}
