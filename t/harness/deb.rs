//! Debian packages with the programs of other people.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;

/// Each package with the programs, or files, that the tests use of it.
const PACKAGES: &[(&str, &[&str])] = &[
    ("swaks", &["swaks"]),
    ("postfix", &["smtp-source"]),
    ("ucspi-tcp", &["tcpserver"]),
    ("xinetd", &["xinetd"]),
    ("daemontools", &["supervise", "svc"]),
    ("runit", &["runsv", "sv"]),
    ("openssl", &["openssl"]),
    ("python3", &["python3"]),
    ("libio-socket-ssl-perl", &["/usr/share/perl5/IO/Socket/SSL.pm"]),
];

/// Where programs are, beside $PATH, which may lack the folders of the administrator.
const FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Makes sure of a package. Root installs it, and the test fails if that does not work; for
/// anybody else the answer may be no, and a line says that the test is skipped.
pub(crate) fn need(package: &str) -> bool {
    if installed(package) {
        return true;
    }
    if !geteuid().is_root() {
        super::say(&format!("skipped: needs {package}"));
        return false;
    }
    install(package);
    assert!(installed(package), "{package} is installed and its programs are not there");
    true
}

/// The path of a program.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| Path::is_file(file))
}

fn installed(package: &str) -> bool {
    let (_, programs) = PACKAGES.iter().find(|(name, _)| *name == package).expect("in the table");
    programs.iter().all(|name| program(name).is_some())
}

/// Installs a package, one test at a time; fetches the list of packages if it is not known.
fn install(package: &str) {
    static UPDATED: OnceLock<bool> = OnceLock::new();
    let lock = std::env::temp_dir().join("qpsmtpd-t-apt.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let get = ["install", "-y", "--no-install-recommends", package];
    let done = installed(package)
        || apt_get(&get)
        || (*UPDATED.get_or_init(|| apt_get(&["update"])) && apt_get(&get));
    assert!(done, "cannot install {package}, which this test needs");
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=120"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    let output = command.output().unwrap_or_else(|error| panic!("cannot run apt-get: {error}"));
    if !output.status.success() {
        super::say(&String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}
