//! What Perl qpsmtpd remembers in its files is taken over.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Log, Model, Process, deb};

/// Debian's file; it calls a method that is not there, and wants one of three kinds of files.
const PLUGIN: &str = "/usr/share/qpsmtpd/plugins/greylisting";
const KINDS: &str = "qw(DB_File GDBM_File NDBM_File)";

/// A session in which each sender of `senders` gets the answer `code` at MAIL.
pub(crate) fn session(mut command: Command, senders: &[&str], code: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = listener.accept().unwrap().0;
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command.stdout(Stdio::from(OwnedFd::from(socket)));
    let log = Log::default();
    let mut process = Process::spawn(command, &log);
    let mut client = Client::new(stream, &log);
    client.hello();
    for sender in senders {
        let reply = client.ask(&format!("MAIL FROM:{sender}"), code);
        let is_text = reply.lines[0].ends_with("This mail is temporarily denied");
        assert_eq!(is_text, code == "450", "{:?}", reply.lines);
    }
    client.quit();
    process.wait().unwrap();
}

/// Perl qpsmtpd.
pub(crate) fn original(config: &Config) -> Command {
    let mut command = config.command("perl");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("t/perl/dialogue.pl");
    command.arg(driver).arg(config.path("qpsmtpd"));
    command
}

fn ours(config: &Config) -> Command {
    let mut command = config.command(Model::Inetd.program());
    command.args(unprivileged().map(|user| format!("--user={}", user.name)));
    command
}

fn tool(config: &Config, words: &[&str]) -> Output {
    ours(config).arg("--store").args(words).output().unwrap()
}

fn text(output: Output) -> String {
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Files that Perl qpsmtpd has written, of each kind that it can.
#[test]
fn databases_of_perl_qpsmtpd_are_taken_over() {
    if !["qpsmtpd", "libnet-ip-perl", "perl"].iter().all(|package| deb::need(package)) {
        return;
    }
    // The plugin cannot use ODBM_File, which opens no file twice.
    for kind in ["DB_File", "GDBM_File", "NDBM_File", "SDBM_File"] {
        let config = Config::new()
            .set("plugins", "greylisting db_dir {work}/db sender 1\nrcpt_ok")
            .set("plugin_dirs", "{work}/perl\n/usr/share/qpsmtpd/plugins")
            .set("store", "lmdb {work}/store 64M")
            .env("TCPREMOTEIP", "192.0.2.1")
            .env("TCPREMOTEHOST", "client.example")
            .env("TCPLOCALIP", "192.0.2.25")
            .env("TCPLOCALPORT", "25")
            .env("TCPREMOTEPORT", "4711")
            .env("PROTO", "TCP");
        fs::create_dir(config.path("perl")).unwrap();
        fs::create_dir(config.path("db")).unwrap();
        let plugin = fs::read_to_string(PLUGIN).unwrap();
        assert!(plugin.contains(KINDS));
        let plugin =
            plugin.replace(KINDS, &format!("qw({kind})")) + "\nsub is_p0f_match { return 1 }\n";
        fs::write(config.path("perl/greylisting"), plugin).unwrap();
        let senders = ["<a@example.net>", "<a@example.net>", "<>"];
        session(original(&config), &senders, "450");
        for entry in fs::read_dir(config.path("db")).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
        }

        config.write("plugin_dirs", "");
        config.write("plugins", "greylisting sender 1 black_timeout 0\nrcpt_ok\nqueue/discard");
        let file = config.path("db/greylist.dbm");
        let import = ["import", "greylisting", file.to_str().unwrap()];
        let wanted = "2 entries imported, 0 existed already, 0 were expired or not understood\n";
        assert_eq!(text(tool(&config, &import)), wanted, "{kind}");
        let list = text(tool(&config, &["list", "greylisting"]));
        let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
        assert_eq!(
            [lines[0][0], lines[1][0]],
            ["192.0.2.1 <>", "192.0.2.1 <a@example.net>"],
            "{list}"
        );
        assert!(lines[0][2].ends_with(":1:0:0") && lines[1][2].ends_with(":1:1:0"), "{list}");
        let explained =
            text(tool(&config, &["explain", "greylisting", "192.0.2.1 <a@example.net>"]));
        assert!(explained.contains("not known yet, tries: 2, the first "), "{explained}");
        // It is there already, and perhaps newer.
        let again = "0 entries imported, 2 existed already, 0 were expired or not understood\n";
        assert_eq!(text(tool(&config, &import)), again, "{kind}");
        // The client has waited long enough, and does not start over.
        session(ours(&config), &["<a@example.net>"], "250");
    }
}

#[test]
fn what_cannot_be_taken_over_is_named() {
    if !deb::need("perl") {
        return;
    }
    let config = Config::new()
        .set("plugins", "greylisting\nrcpt_ok\nqueue/discard")
        .set("store", "lmdb {work}/store 64M");
    let fails = |name: &str, file: &str, why: &str| {
        let path = config.path(file);
        let output = tool(&config, &["import", name, path.to_str().unwrap()]);
        assert!(!output.status.success(), "{file}");
        let said = text(output);
        assert!(said.contains(why), "{file}: {said}");
    };
    let damaged = [&[0; 12][..], &0x061561u32.to_le_bytes(), &[7; 9000]].concat();
    for (file, octets) in [("text", &b"192.0.2.1\n"[..]), ("empty", b""), ("damaged", &damaged)] {
        fs::write(config.path(file), octets).unwrap();
    }
    fails("greylisting", "nothing", "/nothing: no such file");
    fails("greylisting", "text", "/text: neither a Berkeley DB, nor one of GDBM, NDBM or SDBM");
    fails("greylisting", "empty", "/empty: neither a Berkeley DB");
    fails("greylisting", "damaged", "/damaged: DB_File: ");
    fails("other", "text", "no plugin has 'import other'");
}
