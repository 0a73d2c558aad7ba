//! ```text
//! NAME
//!     auth/auth_checkpassword - asks a checkpassword program about passwords
//!
//! SYNOPSIS
//!     auth/auth_checkpassword [checkpw PROGRAM true PROGRAM] [sudo yes|no]
//!
//! DESCRIPTION
//!     Lets clients authenticate with PLAIN and LOGIN as the users that a checkpassword program
//!     (https://cr.yp.to/checkpwd/interface.html) knows, such as vchkpw of vpopmail.  For each
//!     attempt the program is run with the other program as its argument.  It reads the user name,
//!     the password and a timestamp from descriptor 3, and its exit status decides:
//!
//!         0           the client is authenticated
//!         1           the password is wrong: 535, and no other plugin is asked
//!         any other   a temporary failure: 454
//!
//!     It is also a temporary failure if the program cannot be started, is ended by a signal, or
//!     takes longer than its timeout; in the last case it is killed.  What the program writes to
//!     standard error goes to the log.
//!
//!     The user name, the password and the timestamp together have at most 512 octets; the program
//!     exits with 1 or 2 if they are longer.
//!
//!     Many of these programs need more rights than the server has.  So the program is run by sudo,
//!     if sudo is installed: vchkpw as the user vpopmail, any other program as root.  It is run
//!     without sudo if the server runs as root, if the program is set-uid, or if the server runs as
//!     user 89 and the program is vchkpw. sudo needs two lines in sudoers:
//!
//!         Defaults:qpsmtpd closefrom_override
//!         qpsmtpd ALL = (ALL) NOPASSWD: /usr/local/vpopmail/bin/vchkpw
//!
//!     The Perl plugin of the same name leaves wrong passwords and all failures to the next plugin,
//!     and offers nothing if the programs do not exist; this plugin stops the start then.
//!
//! ARGUMENTS
//!     checkpw PROGRAM   the path of the checkpassword program
//!     true PROGRAM      the path of the program that it runs if the password is right
//!     sudo no           never use sudo; yes by default
//!     timeout SECONDS   time limit for each attempt; 300 by default
//!
//!     auth/auth_checkpassword checkpw /usr/local/vpopmail/bin/vchkpw true /bin/true
//!
//! CONFIG
//!     smtpauth-checkpassword   both paths in one line, read at the start; it is used if there are
//!                              no arguments checkpw and true
//!
//! NOTES
//!     authuser   on the connection: the user
//!
//! PRIVILEGES
//!     Programs that check passwords may run as their owners (set-uid) or by sudo.  So with this
//!     plugin workers may start programs that gain rights of their own, unless config/no_new_privs
//!     is "yes".
//!
//! SEE ALSO
//!     auth/auth_dovecot, auth/auth_vpopmaild
//! ```

use std::fs;
use std::io::{self, ErrorKind, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::auth::back_end::{self, Clear};
use crate::error::{Error, Result};
use crate::hook::{Args, Hooks, Session, Verdict};
use crate::log::Level;
use crate::net::Program;
use crate::state::Note;

/// The user as whom the client authenticated.
pub const AUTHUSER: Note<String> = Note::new("authuser");

const WRONG: &str = "auth_checkpassword - wrong password";

/// Makes standard input descriptor 3, and runs its arguments.
const FROM_3: &str = "exec 3<&0 </dev/null; exec \"$@\"";

/// Where sudo may be.
const SUDO: [&str; 2] = ["/usr/bin/sudo", "/usr/local/bin/sudo"];

/// The user that vpopmail has everywhere.
const VPOPMAIL: u32 = 89;

/// Registers the plugin; see its manual above.
pub fn register(hooks: &mut Hooks, args: &Args) -> Result<()> {
    args.only(&["checkpw", "true", "sudo"])?;
    let (checkpw, r#true) = programs(hooks, args)?;
    let sudo = args.flag("sudo", true)?;
    back_end::register(hooks, WRONG, move |session, clear| {
        let prefix = if sudo { prefix(&checkpw) } else { vec![] };
        let words = prefix.into_iter().chain([checkpw.clone(), r#true.clone()]);
        check(session, clear, words.collect())
    });
    Ok(())
}

/// Both programs: the arguments, or else the line of the file.
fn programs(hooks: &Hooks, args: &Args) -> Result<(String, String)> {
    let (checkpw, r#true) = match (args.named("checkpw"), args.named("true")) {
        (Some(checkpw), Some(r#true)) => (checkpw.to_owned(), r#true.to_owned()),
        (None, None) => {
            let line = hooks.config().value("smtpauth-checkpassword").unwrap_or_default();
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [checkpw, r#true] => (checkpw.to_owned(), r#true.to_owned()),
                [] => return Err(Error::new("arguments missing: checkpw and true")),
                _ => return Err(Error::new("smtpauth-checkpassword: does not name two programs")),
            }
        }
        _ => return Err(Error::new("checkpw and true belong together")),
    };
    for program in [&checkpw, &r#true] {
        let mode = fs::metadata(program).map_or(0, |data| data.permissions().mode());
        if !program.starts_with('/') || mode & 0o111 == 0 {
            return Err(Error::new(format!("not the path of a program: '{program}'")));
        }
    }
    Ok((checkpw, r#true))
}

/// The words of sudo that make `program` work, where it needs them.
fn prefix(program: &str) -> Vec<String> {
    let is_vchkpw = program.ends_with("vchkpw");
    let me = geteuid();
    let is_setuid = fs::metadata(program).is_ok_and(|data| data.permissions().mode() & 0o4000 != 0);
    let sudo = SUDO.into_iter().find(|path| Path::new(path).exists());
    match sudo {
        Some(sudo) if !(me.is_root() || is_setuid || is_vchkpw && me.as_raw() == VPOPMAIL) => {
            // Descriptor 3 stays open, and nobody is asked for a password.
            let user: &[&str] = if is_vchkpw { &["-u", "vpopmail"] } else { &[] };
            [sudo, "-n", "-C4"].iter().chain(user).map(|word| word.to_string()).collect()
        }
        _ => vec![],
    }
}

fn check(session: &mut Session, clear: &Clear<'_>, words: Vec<String>) -> io::Result<Verdict> {
    let (stdin, input) = pipe()?;
    let (output, stderr) = pipe()?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", FROM_3, "sh"]).args(&words);
    command.stdin(stdin).stdout(Stdio::null()).stderr(stderr);
    let mut program = Program::start(command, input, output, session.deadline())?;
    let text = [clear.user.as_bytes(), b"\0", clear.password, b"\0Y123456\0"].concat();
    match program.write_all(&text) {
        // One that does not read everything says why with its status.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    let ended = program.finish()?;
    for line in &ended.lines {
        session.log(Level::Warn, format_args!("it says: {}", clear.discreet(line)));
    }
    // sudo has the same status for its own troubles.
    let by_sudo = words.len() > 2 && ended.lines.iter().any(|line| line.starts_with("sudo: "));
    match ended.status()? {
        0 => {
            session.connection.notes.set(AUTHUSER, clear.user.to_owned());
            session.pass("");
            Ok(Verdict::ok("auth_checkpassword"))
        }
        1 if !by_sudo => {
            session.log(Level::Notice, "fail, wrong password");
            Ok(Verdict::deny(WRONG))
        }
        status => Err(io::Error::other(format!("exit status {status} of {}", words.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::back_end::tests::{failed, has_the_common_behaviour, present};
    use crate::hook::Hook;
    use crate::net::script;
    use crate::testing::Trial;

    /// A checkpassword program: knows one user, and keeps what it reads.
    const PROGRAM: &str = "cat <&3 >${0%/*}/read
        case \"$(tr '\\0' ' ' <${0%/*}/read)\" in
            'ann@example.com a word: Y123456 ') exec \"$@\";;
            busy*) echo no database >&2; exit 111;;
            killed*) kill -9 $$;;
            slow*) exec sleep 600;;
            *) exit 1;;
        esac";

    fn trial(program: &str, more: &str) -> (tempfile::TempDir, Trial) {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "checkpw", program);
        let line = format!(
            "auth/auth_checkpassword checkpw {} true /bin/true sudo no {more}",
            path.display()
        );
        (dir, Trial::new(&line, &[]))
    }

    #[test]
    fn the_exit_status_decides() {
        let (dir, mut trial) = trial(PROGRAM, "");
        for hook in [Hook::AuthPlain, Hook::AuthLogin] {
            let wrong = present(&mut trial, hook, "ann@example.com", "a wor");
            assert_eq!(wrong, Verdict::deny(WRONG));
            assert_eq!(trial.session.connection.notes.get(AUTHUSER), None);
            let right = present(&mut trial, hook, "ann@example.com", "a word:");
            assert_eq!(right, Verdict::ok("auth_checkpassword"));
            let read = fs::read(dir.path().join("read")).unwrap();
            assert_eq!(read, b"ann@example.com\0a word:\0Y123456\0");
            assert_eq!(
                trial.session.connection.notes.get(AUTHUSER),
                Some("ann@example.com".to_owned())
            );
            trial.session.connection.notes.unset(AUTHUSER);
        }
        for (user, why) in [("busy", "exit status 111 of /"), ("killed", "it ended with signal: 9")]
        {
            let verdict = present(&mut trial, Hook::AuthPlain, user, "a word:");
            failed(&trial, &verdict, why);
        }
        assert!(trial.log().contains("it says: no database"), "{}", trial.log());
        assert!(!trial.log().contains("a wor"), "{}", trial.log());
    }

    #[test]
    fn one_that_takes_too_long_is_killed() {
        let (_dir, mut trial) = trial(PROGRAM, "timeout 1");
        let verdict = present(&mut trial, Hook::AuthPlain, "slow", "x");
        failed(&trial, &verdict, "the program takes too long");
    }

    #[test]
    fn one_that_does_not_read_decides_too() {
        for (program, verdict) in [
            ("exec 3<&-; exec $1", Verdict::ok("auth_checkpassword")),
            ("exit 1", Verdict::deny(WRONG)),
        ] {
            let (_dir, mut trial) = trial(program, "");
            let long = "x".repeat(100_000);
            assert_eq!(present(&mut trial, Hook::AuthPlain, "ann", &long), verdict);
        }
    }

    #[test]
    fn a_failure_is_no_wrong_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = script(dir.path(), "gone", "exec /nonexistent/program");
        let file = format!("{} /bin/true", path.display());
        let line = "auth/auth_checkpassword sudo no";
        has_the_common_behaviour(line, &[("smtpauth-checkpassword", &file)], WRONG);
        // What sudo says of itself.
        let path = script(dir.path(), "sudo", "echo sudo: a password is required >&2; exit 1");
        let mut trial = Trial::with(
            |hooks, args| {
                let sudo = args.required(0, "the program")?.to_owned();
                back_end::register(hooks, WRONG, move |session, clear| {
                    check(session, clear, vec![sudo.clone(), "/a".into(), "/b".into()])
                });
                Ok(())
            },
            path.to_str().unwrap(),
            &[],
        );
        let verdict = present(&mut trial, Hook::AuthPlain, "ann", "x");
        failed(&trial, &verdict, "exit status 1 of /");
    }

    #[test]
    fn both_programs_are_there_at_the_start() {
        for (args, file, error) in [
            ("", "", "arguments missing: checkpw and true"),
            ("checkpw /bin/true", "", "checkpw and true belong together"),
            (
                "checkpw /bin/true true /nonexistent/program",
                "",
                "not the path of a program: '/nonexistent/program'",
            ),
            ("checkpw bin/true true /bin/true", "", "not the path of a program: 'bin/true'"),
            ("checkpw /etc/passwd true /bin/true", "", "not the path of a program: '/etc/passwd'"),
            ("", "/bin/true", "smtpauth-checkpassword: does not name two programs"),
            (
                "",
                "/nonexistent/program /bin/true",
                "not the path of a program: '/nonexistent/program'",
            ),
            (
                "path /bin/true",
                "",
                "unknown argument 'path' (known: checkpw, true, sudo, loglevel, reject, \
                 reject_type, timeout, on_error)",
            ),
        ] {
            let line = format!("auth/auth_checkpassword {args}");
            let found = Trial::load(&line, &[("smtpauth-checkpassword", file)]).err().unwrap();
            assert!(found.to_string().ends_with(error), "{found}");
        }
        let file = ("smtpauth-checkpassword", "/bin/false /bin/true");
        let mut trial = Trial::new("auth/auth_checkpassword sudo no", &[file]);
        assert_eq!(present(&mut trial, Hook::AuthLogin, "ann", "x"), Verdict::deny(WRONG));
    }
}
