//! What root does before it becomes the account, and what sessions have of root's afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, TIMEOUT, poll, say};

/// A folder of root's that everybody may look into, with a file that nobody else may read.
fn roots() -> Option<TempDir> {
    if !geteuid().is_root() {
        say("skipped: only root becomes somebody else");
        return None;
    }
    let dir = tempfile::Builder::new().prefix("qpsmtpd-t-root-").tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("secret"), "root:of-all-passwords").unwrap();
    fs::set_permissions(dir.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
    Some(dir)
}

/// Nothing but the secret is there, and it is as it was.
fn untouched(roots: &Path) {
    let names: Vec<PathBuf> =
        fs::read_dir(roots).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [roots.join("secret")]);
    assert_eq!(fs::metadata(roots).unwrap().uid(), 0);
    let secret = fs::metadata(&names[0]).unwrap();
    assert_eq!((secret.uid(), secret.mode() & 0o7777), (0, 0o600));
    assert_eq!(fs::read(&names[0]).unwrap(), b"root:of-all-passwords");
}

/// What a program says that root starts, and that refuses.
fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The account has put a link to a folder of root's in the place of its own.
#[test]
fn root_goes_through_no_link_of_the_account() {
    let Some(roots) = roots() else { return };
    for model in Model::PARENTS {
        let config = Config::new();
        symlink(roots.path(), config.path("link")).unwrap();
        let path = |name: &str| config.path("link").join(name).display().to_string();
        let (socket, pid) = (path("lmtp"), path("pid"));
        let refused = |more: &[&str], what: &str| {
            let said = refusal(Server::command(&config, model, more));
            assert!(said.contains(what) && said.contains("ermission denied"), "{model}: {said}");
            untouched(roots.path());
        };
        refused(&model.listen(&socket), &socket);
        refused(&["--pid-file", &pid], &pid);
        config.write("spool_dir", &path("spool"));
        refused(&[], &path("spool"));
        let mut command = config.command(model.program());
        command.arg("--make-certificate").arg(config.path("link/ssl"));
        let said = refusal(command);
        assert!(said.contains("ermission denied"), "{said}");
        untouched(roots.path());
    }
}

/// The account has put a link to a file of root's where a setting or the pid file is looked for.
#[test]
fn root_reads_and_writes_no_file_that_the_account_names() {
    let Some(roots) = roots() else { return };
    for model in Model::PARENTS {
        let config = Config::new();
        let secret = roots.path().join("secret");
        for name in ["spool_dir", "me"] {
            fs::remove_file(config.path("config").join(name)).unwrap();
            symlink(&secret, config.path("config").join(name)).unwrap();
        }
        let said = match Server::try_start(&config, model, &[]) {
            Ok(server) => server.log().text(),
            Err(said) => said,
        };
        assert!(!said.contains("passwords"), "{said}");
        let mut command = config.command(model.program());
        command.arg("--make-certificate").arg(config.path("ssl"));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(!said.contains("passwords"), "{said}");

        let config = Config::new();
        symlink(&secret, config.path("pid")).unwrap();
        let pid = config.path("pid").display().to_string();
        refusal(Server::command(&config, model, &["--pid-file", &pid]));
        fs::remove_file(&pid).unwrap();
        // Where the system allows it, a second name of the file.
        fs::hard_link(&secret, &pid).unwrap();
        refusal(Server::command(&config, model, &["--pid-file", &pid]));
        fs::remove_file(&pid).unwrap();
        untouched(roots.path());
    }
}

/// In folders of root's own things are made as ever, and belong to the account where they have to.
#[test]
fn root_prepares_what_the_account_needs() {
    let Some(roots) = roots() else { return };
    let account = unprivileged().unwrap();
    for model in Model::PARENTS {
        let config = Config::new();
        for folder in [roots.path().join(model.to_string()), config.path("own")] {
            fs::create_dir(&folder).unwrap();
            let is_roots = folder.starts_with(roots.path());
            if !is_roots {
                chown(&folder, Some(account.uid.as_raw()), None).unwrap();
            }
            let [socket, pid, spool] =
                ["lmtp", "pid", "a/spool"].map(|name| folder.join(name).display().to_string());
            config.write("spool_dir", &spool);
            let arguments = [&model.listen(&socket)[..], &["--pid-file", &pid]].concat();
            let mut more = arguments.clone();
            more.extend(model.listen("127.0.0.1:0"));
            let server = Server::start_with(&config, model, &more);
            let found = fs::metadata(&socket).unwrap();
            assert_eq!(found.mode() & 0o777, 0o666, "{model}");
            let found = fs::metadata(&spool).unwrap();
            assert_eq!((found.uid(), found.mode() & 0o777), (account.uid.as_raw(), 0o700));
            assert_eq!(fs::metadata(&pid).unwrap().uid() == 0, is_roots, "{model}");
            server.stop().unwrap();
        }
        let folder = roots.path().join(format!("ssl-{model}"));
        let mut command = config.command(model.program());
        command.arg("--make-certificate").arg(&folder);
        assert!(command.output().unwrap().status.success());
        let key = fs::metadata(folder.join("qpsmtpd-server.key")).unwrap();
        assert_eq!(key.mode() & 0o777, 0o600);
        assert_ne!(key.uid(), 0);
    }
}

/// A program in the place of qmail-queue that writes down what it has been given.
fn nosy(config: &Config) -> PathBuf {
    let path = config.path("nosy");
    let script = "#!/bin/sh\ncat >/dev/null\ncat <&1 >/dev/null\n\
        env >seen-environment\nls -l /proc/self/fd >seen-files\n\
        grep -E 'NoNewPrivs|CapBnd|SigBlk' /proc/self/status >seen-status\n\
        ulimit -c >seen-core\numask >seen-umask\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whoever starts the daemon: descriptors, variables, core dumps and the like are not for sessions
/// and for what they start.
#[test]
fn sessions_have_nothing_of_the_starters() {
    for model in Model::PARENTS {
        let config = Config::new().set("keep_environment", "STAYS*");
        config.write("plugins", &format!("rcpt_ok\nqueue/qmail-queue {}", nosy(&config).display()));
        let mut command = config.command("/bin/sh");
        let script = "umask 0; exec 7<\"$0\" 9<\"$0\"; exec \"$@\"";
        command.args(["-c", script]).arg(config.path("config/me")).arg(model.program());
        command.env("SECRET_OF_THE_STARTER", "x").env("LD_LIBRARY_PATH", "/nowhere");
        command.env("STAYS_HERE", "y").env("LC_ALL", "C").env("NOTIFY_SOCKET", "/nowhere");
        command.env("HOME", "/root").env("USER", "somebody").env("LOGNAME", "somebody");
        command.args(model.arguments(&[]));
        let server = Server::start_command(&config, model, command);
        let mut client = server.connect();
        client.hello();
        client.envelope();
        client.ask("Subject: hi\r\n\r\nbody\r\n.", "250");
        let seen = |what: &str| fs::read_to_string(config.path(&format!("seen-{what}"))).unwrap();

        let environment = seen("environment");
        let has = |name: &str| environment.lines().any(|line| line.starts_with(name));
        for name in ["SECRET_OF", "LD_", "NOTIFY_SOCKET", "CARGO", "HOME=/root", "USER=somebody"] {
            assert!(!has(name), "{environment}");
        }
        for name in ["PATH=", "STAYS_HERE=y", "LC_ALL=C", "QPSMTPD_CONFIG=", "HOME=/"] {
            assert!(has(name), "{model}: {name}: {environment}");
        }
        if let Some(user) = unprivileged() {
            assert!(has(&format!("USER={}", user.name)), "{environment}");
            assert!(has(&format!("LOGNAME={}", user.name)), "{environment}");
        }
        let open: Vec<_> = seen("files")
            .lines()
            .filter_map(|line| line.rsplit_once(" -> ").map(|(_, target)| target.to_owned()))
            .collect();
        assert!(!open.iter().any(|target| target.ends_with("/me")), "{model}: {open:?}");
        assert_eq!(open.len(), 4, "{model}: 0, 1, 2 and the listed folder: {open:?}");
        assert_eq!(seen("core").trim(), "0");
        assert_eq!(seen("umask").trim(), "0022");
        assert!(seen("status").contains("SigBlk:\t0000000000000000"), "{}", seen("status"));
        // qmail-queue is one of the programs that need the rights of their owner.
        assert!(seen("status").contains("NoNewPrivs:\t0"), "{}", seen("status"));
        client.quit();
        server.stop().unwrap();
    }
}

/// A line of /proc/PID/status.
pub(crate) fn status(pid: Pid, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

/// Workers and what they start get no new rights, unless a plugin or the setting wants it.
#[test]
fn rights_are_given_up_unless_somebody_needs_them() {
    let queue = "queue/maildir {work}/Maildir";
    let qmail = "queue/qmail-queue /bin/false";
    for model in Model::PARENTS {
        for (plugins, setting, confined) in [
            (queue, None, true),
            (qmail, None, false),
            (qmail, Some("yes"), true),
            (queue, Some("no"), false),
        ] {
            let config = Config::new().set("plugins", &format!("rcpt_ok\n{plugins}"));
            if let Some(setting) = setting {
                config.write("no_new_privs", setting);
            }
            let mut server = Server::start(&config, model);
            let mut client = server.connect();
            client.hello();
            for pid in server.parent().children() {
                let flag = if confined { "1" } else { "0" };
                // A process that was made just now is at it still.
                let is_so = || {
                    let bounds = status(pid, "CapBnd").trim_matches('0').is_empty();
                    let bounds = bounds == confined || !geteuid().is_root();
                    (bounds && status(pid, "NoNewPrivs") == flag).then_some(())
                };
                assert!(poll(TIMEOUT, is_so).is_some(), "{model} {plugins} {setting:?}");
                if geteuid().is_root() {
                    // Its memory and descriptors are root's to look at.
                    let owner = fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid();
                    assert_eq!(owner, 0);
                    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
                    for file in open.filter_map(|file| fs::read_link(file.ok()?.path()).ok()) {
                        assert!(!file.ends_with("pid"), "{model}: {}", file.display());
                    }
                }
            }
            client.quit();
            server.stop().unwrap();
        }
    }
    let config = Config::new().set("no_new_privs", "perhaps");
    let said = Server::try_start(&config, Model::Prefork, &[]).err().unwrap();
    assert!(said.contains("no_new_privs is 'perhaps'"), "{said}");
}

/// Perl plugins may start whatever they like, so Perl keeps the rights to do so, and workers do not.
#[test]
fn perl_processes_keep_their_rights_unless_told_otherwise() {
    for (setting, workers, perl) in [("auto", "1", "0"), ("yes", "1", "1"), ("no", "0", "0")] {
        let config = Config::new().set("no_new_privs", setting);
        config.write("plugins", "talk\nrcpt_ok\nqueue/maildir {work}/Maildir");
        fs::create_dir(config.path("plugins")).unwrap();
        let talk = "sub hook_noop { return (DENY, \"here is $$\") }\n1;\n";
        fs::write(config.path("plugins/talk"), talk).unwrap();
        let mut server = Server::start(&config, Model::Forkserver);
        let mut client = server.connect();
        client.hello();
        let said = client.ask("NOOP", "500").lines.join("");
        let pid = said.rsplit_once("here is ").unwrap().1.trim().parse().unwrap();
        assert_eq!(status(Pid::from_raw(pid), "NoNewPrivs"), perl, "{setting}");
        let mut flags = vec![];
        for pid in server.parent().children() {
            flags.push(status(pid, "NoNewPrivs"));
        }
        flags.sort();
        let mut wanted = [workers, perl];
        wanted.sort_unstable();
        assert_eq!(flags, wanted, "{setting}: of a worker and of Perl");
        client.quit();
        server.stop().unwrap();
    }
}
