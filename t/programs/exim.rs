//! queue/exim-bsmtp with Exim, which Debian does not install beside another mail server.
//!
//! Exim has to be run by a user that it trusts, and here that is root: the session is in this
//! process, not in a daemon, which would give up root.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::unistd::User;
use qpsmtpd::testing::Trial;

use super::{is_below_added_lines, large, send, tricky};
use crate::harness::{Client, Config, Log, deb};

/// The account that Debian's Exim works as.
const USER: &str = "Debian-exim";

/// The largest message in octets.
const LARGEST: usize = 2_000_000;

/// Exim with a configuration and a spool of its own, in the folder of the test.
struct Exim {
    config: Config,
    /// A program that is Exim with this configuration.
    path: PathBuf,
}

impl Exim {
    fn new() -> Option<Exim> {
        let root = deb::unpacked("exim4-daemon-light", USER)?;
        let config = Config::new();
        fs::set_permissions(config.work(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = User::from_name(USER).unwrap().expect("was made");
        for name in ["exim-spool", "exim-log"] {
            fs::create_dir(config.path(name)).unwrap();
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(config.path(name), Some(uid), Some(gid)).unwrap();
        }
        let exim = root.join("usr/sbin/exim4");
        let exim = exim.display();
        let settings = config.path("exim.conf");
        fs::write(&settings, exim_conf(config.work(), &exim.to_string())).unwrap();
        let settings = settings.display();
        let text = format!("#!/bin/sh\nexec {exim} -C {settings} \"$@\"\n");
        let path = config.program("rsmtp", &text);
        Some(Exim { config, path })
    }

    /// A client of a session that hands messages to Exim.
    fn client(&self) -> (Client, thread::JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let plugins = format!("rcpt_ok\nqueue/exim-bsmtp exim_path {}", self.path.display());
        let session = thread::spawn(move || {
            Trial::new(&plugins, &[("rcpthosts", "example.com"), ("me", "mail.test")])
                .serve(socket);
        });
        (Client::new(stream, &Log::default()), session)
    }

    /// The only message in the spool as Exim shows it, its envelope as it is stored; both are gone
    /// then.
    fn take(&self) -> (Vec<u8>, String) {
        let input = self.config.path("exim-spool/input");
        let files = fs::read_dir(&input).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = files.collect();
        assert_eq!(files.len(), 2, "{files:?}");
        let is_header = |file: &&PathBuf| file.to_string_lossy().ends_with("-H");
        let header = files.iter().find(is_header).unwrap();
        let envelope = String::from_utf8_lossy(&fs::read(header).unwrap()).into_owned();
        let id = header.file_name().unwrap().to_str().unwrap().strip_suffix("-H").unwrap();
        let shown = Command::new(&self.path).args(["-Mvc", id]).output().unwrap();
        assert!(shown.status.success());
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        (shown.stdout, envelope)
    }

    fn is_empty(&self) -> bool {
        let mut input = fs::read_dir(self.config.path("exim-spool/input")).unwrap();
        input.next().is_none()
    }
}

fn exim_conf(work: &Path, exim: &str) -> String {
    let work = work.display();
    format!(
        "primary_hostname = mx.test\n\
        exim_path = {exim}\n\
        spool_directory = {work}/exim-spool\n\
        log_file_path = {work}/exim-log/%slog\n\
        keep_environment =\n\
        queue_only = true\n\
        message_logs = false\n\
        recipients_max = 3\n\
        message_size_limit = {LARGEST}\n\
        acl_not_smtp = check\n\
        begin acl\n\
        check:\n\
        deny message = 5.7.9 we do not want this\n\
        condition = ${{if match{{$h_subject:}}{{^bad}}}}\n\
        defer message = 4.7.9 come back later\n\
        condition = ${{if match{{$h_subject:}}{{^later}}}}\n\
        accept\n"
    )
}

#[test]
fn messages_are_in_the_spool_octet_by_octet() {
    let Some(exim) = Exim::new() else { return };
    let (mut client, session) = exim.client();
    client.hello();
    for (message, from) in [
        (tricky("one"), "<a@example.net>"),
        (tricky("two"), "<>"),
        (large(500_000), "<\"x y\"@example.net>"),
    ] {
        let to = ["<b@example.com>", "<\"c d\"@example.com>"];
        let reply = send(&mut client, from, &to, &message);
        assert_eq!(reply.lines, ["250 2.0.0 Queued!"]);
        let (found, envelope) = exim.take();
        is_below_added_lines(&found, &message);
        assert_eq!(envelope.lines().nth(2), Some(from));
        assert!(envelope.contains("\n2\nb@example.com\n\"c d\"@example.com\n"), "{envelope}");
    }
    client.quit();
    session.join().unwrap();
}

#[test]
fn refusals_are_passed_on() {
    let Some(exim) = Exim::new() else { return };
    let (mut client, session) = exim.client();
    client.hello();
    let one: &[_] = &["<b@example.com>"];
    let four: &[_] = &["<b@example.com>", "<c@example.com>", "<d@example.com>", "<e@example.com>"];
    for (message, to, want) in [
        (tricky("bad"), one, "550 5.7.9 we do not want this"),
        (tricky("later"), one, "450 4.7.9 come back later"),
        (tricky("many"), four, "452 4.0.0 too many recipients"),
        (large(LARGEST + 1000), one, "552 5.0.0 Message size exceeds maximum permitted"),
    ] {
        let reply = send(&mut client, "<a@example.net>", to, &message);
        assert_eq!(reply.lines, [want]);
        assert!(exim.is_empty(), "{want}");
    }
    let reply = send(&mut client, "<a@example.net>", one, &tricky("good"));
    assert_eq!(reply.lines, ["250 2.0.0 Queued!"]);
    assert!(!exim.is_empty());
    client.quit();
    session.join().unwrap();
}

#[test]
fn an_exim_that_does_not_work_is_for_later() {
    let Some(exim) = Exim::new() else { return };
    fs::write(exim.config.path("exim.conf"), "no_such_option = 1\n").unwrap();
    let (mut client, session) = exim.client();
    client.hello();
    let reply = send(&mut client, "<a@example.net>", &["<b@example.com>"], &tricky("one"));
    assert_eq!(reply.lines, ["451 4.3.0 Internal error enqueuing mail"]);
    client.quit();
    session.join().unwrap();
}
