//! Debian packages with the programs of other people.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{User, geteuid};

/// Each package with the programs, or files, that the tests use of it.
const PACKAGES: &[(&str, &[&str])] = &[
    ("swaks", &["swaks"]),
    ("postfix", &["smtp-source", "smtp-sink"]),
    ("ucspi-tcp", &["tcpserver"]),
    ("xinetd", &["xinetd"]),
    ("daemontools", &["supervise", "svc"]),
    ("runit", &["runsv", "sv"]),
    ("mailfront", &["smtpfront-qmail", "mailfront"]),
    ("dovecot-lmtpd", &["dovecot", "lmtp"]),
    ("dovecot-imapd", &["dovecot", "imap-login"]),
    ("slapd", &["slapd", "slapadd"]),
    ("postgresql", &["initdb", "postgres", "psql"]),
    ("mariadb-server", &["mariadbd", "mariadb-install-db", "mariadb"]),
    ("p0f", &["p0f"]),
    ("pwauth", &["pwauth"]),
    ("clamav-daemon", &["clamd"]),
    ("spamd", &["spamd"]),
    ("rspamd", &["rspamd"]),
    ("spamc", &["spamc"]),
    ("opendkim", &["opendkim"]),
    ("opendmarc", &["opendmarc"]),
    ("clamav-milter", &["clamav-milter"]),
    ("spamass-milter", &["spamass-milter"]),
    ("python3-milter", &["python3", "/usr/lib/python3/dist-packages/Milter/__init__.py"]),
    ("checkpw", &["checkpw"]),
    ("fail2ban", &["fail2ban-regex", "fail2ban-client"]),
    ("openssl", &["openssl"]),
    ("bsdutils", &["script"]),
    ("prometheus", &["promtool"]),
    ("chromium", &["chromium"]),
    // Every Debian has the program; this package has its library.
    ("perl", &["perl", "prove"]),
    ("python3", &["python3"]),
    ("gsasl", &["gsasl"]),
    ("msmtp", &["msmtp"]),
    ("dnsmasq-base", &["dnsmasq"]),
    ("unbound", &["unbound"]),
    ("python3-authres", &["/usr/lib/python3/dist-packages/authres/__init__.py"]),
    ("publicsuffix", &["/usr/share/publicsuffix/public_suffix_list.dat"]),
    ("python3-dkim", &["/usr/lib/python3/dist-packages/dkim/__init__.py"]),
    ("opensmtpd-filter-dkimsign", &["/usr/libexec/opensmtpd/filter-dkimsign"]),
    ("opensmtpd-filter-rspamd", &["/usr/libexec/opensmtpd/filter-rspamd"]),
    ("opensmtpd-filter-senderscore", &["/usr/libexec/opensmtpd/filter-senderscore"]),
    ("python3-nacl", &["/usr/lib/python3/dist-packages/nacl/__init__.py"]),
    ("libopendkim11", &["/usr/lib/x86_64-linux-gnu/libopendkim.so.11"]),
    ("redis-server", &["redis-server", "redis-cli"]),
    ("strace", &["strace"]),
    ("groff-base", &["groff"]),
    ("systemd", &["systemd-analyze"]),
    ("libfaketime", &["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"]),
    ("qpsmtpd", &["/usr/share/doc/qpsmtpd/writing.pod.gz"]),
    ("libio-socket-ssl-perl", &["/usr/share/perl5/IO/Socket/SSL.pm"]),
    ("qpsmtpd", &["/usr/share/perl5/Qpsmtpd.pm"]),
    ("libdanga-socket-perl", &["/usr/share/perl5/Danga/Socket.pm"]),
    ("libgeo-ip-perl", &["/usr/share/doc/libgeo-ip-perl/copyright"]),
    ("libmail-dkim-perl", &["/usr/share/perl5/Mail/DKIM.pm"]),
    ("libmail-dmarc-perl", &["/usr/share/perl5/Mail/DMARC.pm"]),
    ("libnet-ip-perl", &["/usr/share/perl5/Net/IP.pm"]),
    ("libnet-ldap-perl", &["/usr/share/perl5/Net/LDAP.pm"]),
    ("libwww-perl", &["/usr/share/perl5/LWP.pm"]),
];

/// Where programs are, beside $PATH, which may lack the folders of the administrator.
const FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/dovecot"];

/// How long somebody else may install packages at the same time.
const LOCKED: Duration = Duration::from_secs(600);

/// Makes sure of a package. Root installs it, and the test fails if that does not work; for
/// anybody else the answer may be no, and a line says that the test is skipped.
pub(crate) fn need(package: &str) -> bool {
    let is_root = geteuid().is_root();
    // A package that another test installs at this moment has its programs, and not all of its files.
    let settled = is_root.then(|| lock(FlockArg::LockShared));
    if installed(package) {
        return true;
    }
    drop(settled);
    if !is_root {
        super::say(&format!("skipped: needs {package}"));
        return false;
    }
    install(package);
    assert!(installed(package), "{package} is installed and its programs are not there");
    true
}

/// Unpacks a package that cannot be installed where another one of its kind is, with the libraries
/// that it needs and a system account `user`. Returns its root folder; `None` is as in [`need`].
pub(crate) fn unpacked(package: &str, user: &str) -> Option<PathBuf> {
    if !geteuid().is_root() {
        super::say(&format!("skipped: needs {package}, unpacked by root"));
        return None;
    }
    let _lock = lock(FlockArg::LockExclusive);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    if !root.is_dir() {
        let folder = tempfile::tempdir().unwrap();
        let download = || apt_get(Some(folder.path()), &["download", package]);
        assert!(download() || (update() && download()), "cannot download {package}");
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let depends = output(Command::new("dpkg-deb").arg("-f").arg(&file).arg("Depends"));
        let names = depends.split(',').filter_map(|one| one.split_whitespace().next());
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(names.filter(|name| name.starts_with("lib")));
        let installed = apt_get(None, &install) || (update() && apt_get(None, &install));
        assert!(installed, "cannot install {install:?}");
        // What is there under its name is whole.
        let new = root.with_extension("new");
        fs::remove_dir_all(&new).ok();
        output(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&new));
        output(Command::new("chmod").args(["-R", "u-s,g-s"]).arg(&new));
        fs::rename(&new, &root).unwrap();
    }
    if User::from_name(user).unwrap().is_none() {
        let options = ["--system", "--user-group", "--no-create-home"];
        output(Command::new("useradd").args(options).arg(user));
    }
    Some(root)
}

/// An account with a password; dropped, it is gone.
pub(crate) struct Account(String);

/// Makes an account with a name of its own that has `name` in it; root can.
pub(crate) fn account(name: &str, password: &str) -> Account {
    need("openssl");
    let _lock = lock(FlockArg::LockExclusive);
    let user = format!("qpsmtpd-t-{name}-{}", std::process::id());
    let hash = output(Command::new("openssl").args(["passwd", "-6", password]));
    let options = ["--no-create-home", "--user-group", "--password", hash.trim()];
    output(Command::new("useradd").args(options).arg(&user));
    Account(user)
}

impl Account {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _lock = lock(FlockArg::LockExclusive);
        Command::new("userdel").arg(&self.0).status().ok();
    }
}

/// The path of a program.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    let folders = folders.chain(postgresql());
    folders.map(|folder| folder.join(name)).find(|file| Path::is_file(file))
}

/// The folder of PostgreSQL's programs, which has its version in its name.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| entry.ok());
    versions.map(|version| version.path().join("bin")).max()
}

fn installed(package: &str) -> bool {
    let (_, programs) = PACKAGES.iter().find(|(name, _)| *name == package).expect("in the table");
    programs.iter().all(|name| program(name).is_some())
}

/// Installs a package, one test at a time; fetches the list of packages if it is not known.
fn install(package: &str) {
    let _lock = lock(FlockArg::LockExclusive);
    let get = ["install", "-y", "--no-install-recommends", package];
    let done = installed(package) || apt_get(None, &get) || (update() && apt_get(None, &get));
    assert!(done, "cannot install {package}, which this test needs");
}

/// Held exclusively by the one test that may change what is installed.
fn lock(kind: FlockArg) -> Flock<File> {
    let lock = Path::new("/tmp/qpsmtpd-t-apt.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock).unwrap();
    Flock::lock(lock, kind).map_err(|(_, error)| error).unwrap()
}

/// Fetches the list of packages, once.
fn update() -> bool {
    static UPDATED: OnceLock<bool> = OnceLock::new();
    *UPDATED.get_or_init(|| apt_get(None, &["update"]))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", command.get_program());
    String::from_utf8(output.stdout).unwrap()
}

/// Runs apt-get, again while somebody else does: it waits for some of its locks only.
fn apt_get(folder: Option<&Path>, arguments: &[&str]) -> bool {
    let _policy = Policy::new();
    let mut command = Command::new("apt-get");
    command.current_dir(folder.unwrap_or(Path::new("/")));
    command.args(["-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]);
    command.args(arguments).envs([("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C")]);
    let run = || {
        let output = command.output().unwrap_or_else(|error| panic!("cannot run apt-get: {error}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (!said.contains("Could not get lock")).then_some((output.status.success(), said))
    };
    let (done, said) = super::poll(LOCKED, run).expect("somebody else keeps apt-get's locks");
    if !done {
        super::say(&said);
    }
    done
}

/// While it lives, packages do not start their services: the tests start servers of their own.
struct Policy;

/// What asks whether a service may be started; no when this file has an answer of 101.
const POLICY: &str = "/usr/sbin/policy-rc.d";

impl Policy {
    fn new() -> Option<Policy> {
        // Whoever kills the tests leaves a file that says yes.
        let text = format!("#!/bin/sh\n[ ! -e /proc/{} ] || exit 101\n", std::process::id());
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(POLICY).ok()?;
        file.write_all(text.as_bytes()).ok().map(|()| Policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        fs::remove_file(POLICY).ok();
    }
}
