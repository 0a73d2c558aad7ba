//! Starting and refusing to start: broken configuration, privileges, systemd, titles, limits of the
//! system.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::harness::daemon::addresses;
use crate::harness::{Client, Config, Log, Model, Process, Server, TIMEOUT, poll};

/// What each program says, and that it ends with an error, when the configuration is broken.
fn refused(config: &Config) -> Vec<String> {
    let refusal = |model: Model| {
        let output = Server::command(config, model, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{model}");
        assert!(output.stdout.is_empty(), "{model}: standard output is the client's");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default().to_owned();
        last.strip_prefix(&format!("{}: ", program(model))).unwrap_or(&last).to_owned()
    };
    Model::PARENTS.into_iter().map(refusal).collect()
}

fn program(model: Model) -> &'static str {
    model.program().rsplit('/').next().unwrap()
}

#[test]
fn a_broken_configuration_is_one_line_with_file_and_line() {
    for (file, text, error) in [
        ("plugins", "rcpt_ok\n\nno_such_plugin", "plugins:3: unknown plugin 'no_such_plugin'"),
        ("plugins", "rcpt_ok\nnaughty timeout x", "plugins:2: naughty: argument timeout has the"),
        ("plugins", "$include nowhere", "plugins:1: "),
        ("logging", "logging/warn LOUD", "logging:1: logging/warn: "),
        ("spool_perms", "rwx", "spool_perms:1: spool_perms is 'rwx', not permissions"),
        ("databytes", "# ten\n10 MB", "databytes:2: databytes is '10 MB', not a number"),
        ("spool_dir", "/dev/null/spool", "cannot make"),
    ] {
        let config = Config::new().set(file, text);
        for said in refused(&config) {
            let path = config.path("config").join("");
            let said = said.replace(&*path.to_string_lossy(), "");
            assert!(said.starts_with(error), "{file}: {text}: {said}");
        }
    }
}

#[test]
fn no_plugins_file_is_an_error_that_helps() {
    let config = Config::new();
    fs::remove_file(config.path("config/plugins")).unwrap();
    for said in refused(&config) {
        assert!(said.contains("plugins") && said.contains("QPSMTPD_CONFIG"), "{said}");
    }
}

/// Scripts wait for these lines, wherever the log goes.
#[test]
fn standard_error_has_each_address_once() {
    for (logging, loglevel) in [
        ("", "4"),
        ("", "6"),
        ("logging/warn LOGINFO", "4"),
        ("logging/warn LOGERROR", "6"),
        ("logging/file loglevel LOGINFO {work}/log", "6"),
        ("logging/file loglevel LOGINFO {work}/log\nlogging/warn LOGINFO", "6"),
    ] {
        let config = Config::new().set("logging", logging).set("loglevel", loglevel);
        let listen = ["--listen-address", "127.0.0.1:0", "--listen-address", "127.0.0.2:0"];
        let server = Server::start_with(&config, Model::Prefork, &listen);
        let lines = server.addresses(2).into_iter().map(|at| format!("listening on {at}\n"));
        let (lines, log) = (lines.collect::<Vec<_>>(), server.log().clone());
        server.stop().unwrap();
        for line in lines {
            assert_eq!(log.text().matches(&line).count(), 1, "{logging} {loglevel}");
            if logging.contains("logging/file") {
                assert!(fs::read_to_string(config.path("log")).unwrap().contains(&line));
            }
        }
    }
}

#[test]
fn the_sample_configuration_is_good() {
    let config = Config::new();
    // Sessions' users need not be able to reach the sources.
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, config.path("config").join(file.file_name().unwrap())).unwrap();
    }
    let mut command = Server::command(&config, Model::Prefork, &["--check"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("rcpt_ok") && said.contains("queue/maildir"), "{said}");
}

/// What is in effect is shown with its place; a value that is none stops `--check`.
#[test]
fn settings_are_shown_and_checked() {
    let config = Config::new().set("databytes", "1000 # few").set("scram_secret", "hunter2");
    let run = |config: &Config, model: Model, arguments: &[&str]| {
        let output = config.command(model.program()).args(arguments).output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let folder = config.path("config");
    let place = |name: &str| folder.join(name).display().to_string();
    for model in Model::ALL {
        let (is_good, shown, said) = run(&config, model, &["--show-config"]);
        assert!(is_good, "{model}: {said}");
        let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("databytes ").ends_with(&format!("# {}:1", place("databytes"))), "{shown}");
        assert!(line("size_threshold ").starts_with("size_threshold = 65536 "), "{shown}");
        assert!(line("size_threshold ").ends_with(" # default"), "{shown}");
        assert!(line("scram_secret ").starts_with("scram_secret = (set)"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let (_, set, _) = run(&config, model, &["--show-config", "-n"]);
        assert!(set.contains("databytes = 1000"), "{set}");
        assert!(!set.contains("size_threshold") && !set.contains("# default"), "{set}");
    }
    let config = config.set("databytes", "10M").set("tls_before_auth", "perhaps");
    for model in Model::ALL {
        for option in ["--check", "--show-config"] {
            let (is_good, _, said) = run(&config, model, &[option]);
            assert!(!is_good, "{model}");
            let why = format!("{}:1: databytes is '10M', not a number", place("databytes"));
            assert!(said.contains(&why), "{model} {option}: {said}");
        }
    }
}

#[test]
fn programs_say_who_they_are() {
    for model in Model::ALL {
        let version = Command::new(model.program()).arg("--version").output().unwrap();
        let said = String::from_utf8(version.stdout).unwrap();
        assert_eq!(said, format!("{} {}\n", program(model), env!("CARGO_PKG_VERSION")));
        let help = Command::new(model.program()).arg("--help").output().unwrap();
        assert!(String::from_utf8(help.stdout).unwrap().contains("--help-plugin"));
        let manual = Command::new(model.program()).args(["--help-plugin", "rcpt_ok"]).output();
        let manual = String::from_utf8(manual.unwrap().stdout).unwrap();
        assert!(manual.starts_with("NAME\n    rcpt_ok - "), "{manual}");
    }
}

/// Root's daemon and its sessions run as the account, for good; `~` is that account's.
#[test]
fn root_becomes_an_account() {
    if !geteuid().is_root() {
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start_with(&config, model, &["--user", "nobody"]);
        let mut client = server.connect();
        client.hello();
        for pid in server.parent().children().into_iter().chain([server.parent().pid()]) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let ids = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name)).unwrap();
                line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(ids("Uid:"), vec![nobody.uid.to_string(); 4], "{model}");
            assert_eq!(ids("Gid:"), vec![nobody.gid.to_string(); 4], "{model}");
            assert_eq!(ids("CapEff:"), ["0000000000000000"], "{model}");
        }
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn root_stays_root_only_when_told_to() {
    if !geteuid().is_root() {
        return;
    }
    let config = Config::new();
    let mut server = Server::start_with(&config, Model::Prefork, &["--user", "root"]);
    let pid = server.parent().pid();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0);
    server.stop().unwrap();
    let config = Config::new();
    let mut command = config.command(Model::Prefork.program());
    command.args(["--listen-address", "127.0.0.1:0", "--user", "no-such-user"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown user 'no-such-user'"));
}

#[test]
fn titles_show_peer_and_state() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        let mut client = server.connect();
        client.hello();
        client.envelope();
        let name = program(model);
        let wanted = format!("{name}: 127.0.0.1 DATA");
        let children = server.parent().children();
        let shown = poll(TIMEOUT, || children.iter().find(|pid| title(**pid) == wanted));
        let titles: Vec<String> = children.iter().map(|pid| title(*pid)).collect();
        assert!(shown.is_some(), "{model}: {titles:?}");
        let parent = title(server.parent().pid());
        assert!(parent.starts_with(&format!("{name}: parent, 1 busy")), "{parent}");
        client.send_raw(b"\r\n.\r\n");
        client.expect("250");
        client.quit();
        server.stop().unwrap();
    }
}

fn title(pid: nix::unistd::Pid) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()
}

/// systemd's socket activation, and that readiness is told.
#[test]
fn systemd_passes_the_socket_and_learns_when_we_are_ready() {
    for model in Model::PARENTS {
        let config = Config::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let notify = config.path("notify");
        let told = UnixDatagram::bind(&notify).unwrap();
        fs::set_permissions(&notify, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        told.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut command = config.command("/bin/sh");
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
        command.args(["-c", script, "sh", model.program()]);
        if geteuid().is_root() {
            command.args(["--user", "nobody"]);
        }
        command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::from(OwnedFd::from(listener)));
        let log = Log::default();
        let mut parent = Process::spawn(command, &log);
        let mut text = [0; 200];
        let count = told.recv(&mut text).unwrap_or_else(|_| panic!("{}", log.tail()));
        assert!(String::from_utf8_lossy(&text[..count]).contains("READY=1"));
        let mut client = Client::connect(address, &log);
        client.hello();
        client.quit();
        parent.signal(Signal::SIGTERM);
        assert!(parent.wait().unwrap().success());
    }
}

/// With few descriptors the parent cannot have as many children, or accept as many clients, as it
/// should; it goes on with those it has, without spinning, and recovers.
#[test]
fn running_out_of_descriptors_is_survived() {
    // A parent that forks keeps no descriptor for a client.
    let model = Model::Prefork;
    let config = Config::new();
    let mut command = config.command("/bin/sh");
    let limit = "ulimit -n 20; exec \"$@\"";
    command.args(["-c", limit, "sh", model.program()]);
    let many = model.limits("100", "0");
    command.args(model.arguments(&many));
    let log = Log::default();
    let mut parent = Process::spawn(command, &log);
    let address = log.wait_until(|text| addresses(text).first().copied());
    let address = address.unwrap_or_else(|| panic!("{}", log.tail()));
    let clients: Vec<_> = (0..30).map(|_| Client::connect(address, &log)).collect();
    log.wait_until(|text| {
        (text.contains("cannot accept") || text.contains("cannot make a process")).then_some(())
    })
    .unwrap_or_else(|| panic!("{model}: nothing ran out:\n{}", log.tail()));
    drop(clients);
    recovers(&mut parent, address, &log);
    let complaints = log.text().matches("next try in").count();
    assert!(complaints < 100, "{model}: {complaints} complaints");
}

/// When the kernel gives us no more processes, clients wait or are told to come back.
#[test]
fn a_refused_fork_is_survived() {
    if !geteuid().is_root() {
        return;
    }
    for model in Model::PARENTS {
        // An account of the test's own, so that nobody else's processes count.
        let uid = format!("{}", 60000 + std::process::id() % 5000 + model as u32);
        let config = Config::new();
        let owner: u32 = uid.parse().unwrap();
        for path in [".", "spool", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"] {
            std::os::unix::fs::chown(config.path(path), Some(owner), Some(owner)).unwrap();
        }
        // The account may not be let into the folder where the program was built.
        let copy = config.install(program(model), model.program().as_ref());
        let mut command = config.command("setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        command.args(["prlimit", "--nproc=4"]).arg(&copy);
        command.args(model.listen("127.0.0.1:0")).args(model.limits("10", "0"));
        let log = Log::default();
        let mut parent = Process::spawn(command, &log);
        let address = log.wait_until(|text| addresses(text).first().copied());
        let address = address.unwrap_or_else(|| panic!("{}", log.tail()));
        let clients: Vec<_> = (0..8).map(|_| Client::connect(address, &log)).collect();
        log.wait_for("cannot make a process");
        drop(clients);
        recovers(&mut parent, address, &log);
    }
}

/// A server that ran out of something serves again, and ends well.
fn recovers(parent: &mut Process, address: SocketAddr, log: &Log) {
    let served = poll(TIMEOUT, || {
        let mut client = Client::connect(address, log);
        let greeted = matches!(client.try_reply(), Ok(Some(reply)) if reply.code == "220");
        greeted.then(|| client.ask("QUIT", "221"))
    });
    assert!(served.is_some(), "{}", log.tail());
    parent.signal(Signal::SIGTERM);
    assert!(parent.wait().unwrap().success(), "{}", log.tail());
}
