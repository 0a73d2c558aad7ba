//! Configuration that cannot be read turns nothing off.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, TIMEOUT, poll};

/// The code of the reply to RCPT.
fn rcpt(server: &Server<'_>) -> String {
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.say("RCPT TO:<b@example.com>");
    let code = client.reply().code;
    client.quit();
    code
}

/// Asks until the log has a line, by when the change has been seen.
fn rcpt_until(server: &Server<'_>, line: &str) {
    let seen = poll(TIMEOUT, || {
        assert_eq!(rcpt(server), "250", "{line}");
        server.log().text().contains(line).then_some(())
    });
    seen.unwrap_or_else(|| panic!("no '{line}' in\n{}", server.log().tail()));
    for _ in 0..5 {
        assert_eq!(rcpt(server), "250", "{line}");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_list_that_is_lost_stays_as_it_was() {
    for model in Model::PARENTS {
        let config = Config::new();
        let file = config.path("config/rcpthosts");
        let mut server = Server::start(&config, model);
        assert_eq!(rcpt(&server), "250");

        fs::remove_file(&file).unwrap();
        rcpt_until(&server, "rcpthosts: gone; its contents stay in use until the next HUP");
        fs::create_dir(&file).unwrap();
        rcpt_until(&server, "rcpthosts: a folder, not a file");
        server.parent().signal(Signal::SIGHUP);
        rcpt_until(&server, "the new configuration is broken, the old one stays: ");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "example.com\n").unwrap();
        mode(&file, 0o000);
        rcpt_until(&server, "rcpthosts: Permission denied");

        mode(&file, 0o644);
        fs::write(&file, "example.net\n").unwrap();
        let changed = poll(TIMEOUT, || (rcpt(&server) == "550").then_some(()));
        assert!(changed.is_some(), "{model}: {}", server.log().tail());
        server.stop().unwrap();
    }
}

/// Nor may it look like one without files.
#[test]
fn a_folder_that_cannot_be_read_at_a_hup_stays_as_it_was() {
    for model in Model::PARENTS {
        let config = Config::new();
        let folder = config.path("config");
        let mut server = Server::start(&config, model);
        assert_eq!(rcpt(&server), "250");
        mode(&folder, 0o000);
        server.parent().signal(Signal::SIGHUP);
        let why = "the new configuration is broken, the old one stays: QPSMTPD_CONFIG is";
        rcpt_until(&server, &format!("{why} {}: Permission denied", folder.display()));
        mode(&folder, 0o755);
        server.stop().unwrap();
    }
}

/// What an editor leaves for a moment, or a full disk for longer, takes no plugin away.
#[test]
fn a_list_of_plugins_that_is_empty_at_a_hup_stays_as_it_was() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        assert_eq!(rcpt(&server), "250");
        config.write("plugins", "# nothing yet");
        server.parent().signal(Signal::SIGHUP);
        rcpt_until(&server, "the new configuration is broken, the old one stays: ");
        rcpt_until(&server, "config/plugins: no plugin in it");
        server.stop().unwrap();
    }
    // Where there never was one, it may stay so.
    let config = Config::new().set("plugins", "");
    let mut server = Server::start(&config, Model::Prefork);
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("the configuration was read again");
    assert_eq!(rcpt(&server), "450");
    server.stop().unwrap();
}

/// A check sees it where a start does.
#[test]
fn a_spool_for_everybody_to_write_in_is_refused_with_its_line() {
    for model in Model::PARENTS {
        let config = Config::new().set("spool_perms", "# all\n0777");
        let config = config.set("spool_dir", "{work}/new-spool");
        let line = "config/spool_perms:2: spool_perms is '0777', not permissions in octal";
        let (is_good, _, said) = check(&config, model);
        assert!(!is_good && said.contains(line), "{model}: {said}");
        let said = Server::try_start(&config, model, &[]).err().unwrap();
        assert!(said.contains(line), "{model}: {said}");
    }
}

/// Whoever makes the folder, root or its user, and whatever the umask is.
#[test]
fn a_new_spool_has_the_permissions_of_the_setting() {
    let config = Config::new().set("spool_perms", "0770").set("spool_dir", "{work}/new-spool");
    let server = Server::start(&config, Model::Prefork);
    let found = fs::metadata(config.path("new-spool")).unwrap().permissions().mode();
    assert_eq!(found & 0o7777, 0o770);
    assert!(!server.log().text().contains("Permissions on spool_dir"), "{}", server.log().tail());
    server.stop().unwrap();
}

/// At a HUP a file that is not there is one that is not wanted.
#[test]
fn a_list_that_is_gone_at_a_hup_is_empty() {
    let config = Config::new();
    let mut server = Server::start(&config, Model::Prefork);
    assert_eq!(rcpt(&server), "250");
    fs::remove_file(config.path("config/rcpthosts")).unwrap();
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("the configuration was read again");
    let changed = poll(TIMEOUT, || (rcpt(&server) == "550").then_some(()));
    assert!(changed.is_some(), "{}", server.log().tail());
    server.stop().unwrap();
}

/// Where there never was a good list, nobody is refused for good: there is no session.
#[test]
fn a_list_that_cannot_be_read_at_the_start_is_an_error() {
    for model in Model::ALL {
        let config = Config::new();
        let file = config.path("config/rcpthosts");
        let refused = |why: &str| {
            let mut command = match model {
                Model::Inetd => config.command(model.program()),
                _ => Server::command(&config, model, &[]),
            };
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{model}: {said}");
            assert!(output.stdout.is_empty(), "{model}");
            assert!(said.contains(why), "{model}: {said}");
        };
        fs::write(&file, "$include elsewhere\n").unwrap();
        refused("rcpthosts:1: $include elsewhere: no such file");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        refused("rcpthosts: a folder, not a file");
    }
}

/// The last good value counts, in sessions that begin later, too.
#[test]
fn a_limit_stays_when_its_file_is_spoilt() {
    for model in Model::PARENTS {
        let config = Config::new().set("databytes", "10000 # ten thousand");
        let mut server = Server::start(&config, model);
        let offers = |server: &Server<'_>| {
            let mut client = server.connect();
            let offers = client.hello().lines.join("\n");
            client.quit();
            offers
        };
        assert!(offers(&server).contains("SIZE 10000"));
        config.write("databytes", "10M");
        let why = "databytes:1: databytes is '10M', not a number; the last value stays";
        let seen = poll(TIMEOUT, || {
            assert!(offers(&server).contains("SIZE 10000"));
            server.log().text().contains(why).then_some(())
        });
        assert!(seen.is_some(), "{model}: {}", server.log().tail());
        // The parent says it; no worker does.
        (0..5).for_each(|_| assert!(offers(&server).contains("SIZE 10000")));
        assert_eq!(server.log().text().matches(why).count(), 1, "{model}");
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("the new configuration is broken, the old one stays: ");
        assert!(offers(&server).contains("SIZE 10000"));
        server.stop().unwrap();
    }
}

/// What `--check` says: whether it is content, and both outputs.
fn check(config: &Config, model: Model) -> (bool, String, String) {
    let mut command = match model {
        Model::Inetd => config.command(model.program()),
        _ => Server::command(config, model, &[]),
    };
    let output = command.arg("--check").output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_check_names_everything_that_is_wrong_at_once() {
    let config = Config::new()
        .set("plugins", "hosts_allow\nno_such_plugin\nrcpt_ok\nnaughty timeout x\nqueue/discard")
        .set("hosts_allow", "192.0.2.1 DENY\nsomewhere DENY")
        .set("databytes", "10M")
        .set("rcpthosts", "\u{feff}example.com")
        .set("rcpthost", "example.net")
        .set("time-out", "10")
        .set("spool_dir", "/dev/null/spool");
    for model in Model::ALL {
        let (is_good, _, said) = check(&config, model);
        assert!(!is_good, "{model}");
        for line in [
            "hosts_allow:2: ",
            "plugins:2: unknown plugin 'no_such_plugin'",
            "plugins:4: naughty: argument timeout has the value 'x'",
            "databytes:1: databytes is '10M', not a number",
            "rcpthosts: begins with a byte order mark, which is left out",
            "rcpthost: nothing reads this file; did you mean 'rcpthosts'?",
            "time-out: nothing reads this file; did you mean 'timeout'?",
            "cannot make spool_dir /dev/null/spool: Not a directory",
        ] {
            assert_eq!(said.matches(line).count(), 1, "{model}: {line}\n{said}");
        }
        assert_eq!(said.lines().count(), 8, "{model}: {said}");
    }
}

/// A start would do something with all of this; a check looks only.
#[test]
fn a_check_writes_nothing_and_warns_on_standard_error() {
    let config = Config::new()
        .set("logging", "logging/file {work}/log")
        .set("spool_dir", "{work}/new-spool")
        .set("plugin_dirs", "{work}/perl")
        .set("plugins", "who\nqueue/maildir {work}/new-maildir");
    fs::create_dir(config.path("perl")).unwrap();
    let who =
        "sub register { my $self = shift; $self->log(LOGWARN, \"loaded by user $<\"); }\n1;\n";
    fs::write(config.path("perl/who"), who).unwrap();
    for path in ["perl", "perl/who"] {
        mode(&config.path(path), 0o755);
    }
    let before = entries(config.work());
    for model in Model::PARENTS {
        let (is_good, told, said) = check(&config, model);
        assert!(is_good, "{model}: {said}");
        let folder = config.path("config");
        assert!(
            told.contains(&format!("the configuration is in {}\n", folder.display())),
            "{told}"
        );
        assert!(told.contains("who queue/maildir"), "{told}");
        let user = unprivileged().map_or_else(geteuid, |user| user.uid);
        assert!(said.contains(&format!("loaded by user {user}")), "{model}: {said}");
        assert!(said.contains("no plugin decides about recipients"), "{model}: {said}");
    }
    assert_eq!(entries(config.work()), before);
}

/// All files and folders below a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(entries(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// Another folder must not be taken in silence.
#[test]
fn a_folder_that_is_not_there_is_refused() {
    for model in Model::ALL {
        let config = Config::new();
        let program = |arguments: &[&str]| {
            let mut command = config.command(model.program());
            command.env("QPSMTPD_CONFIG", config.path("elsewhere")).args(arguments);
            let output = command.output().unwrap();
            assert!(!output.status.success(), "{model} {arguments:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let wanted = format!("QPSMTPD_CONFIG is {}: ", config.path("elsewhere").display());
        for arguments in [&["--check"][..], &["--show-config"], &[]] {
            let said = program(arguments);
            assert!(said.contains(&wanted), "{model} {arguments:?}: {said}");
        }
        let help = config.command(model.program()).arg("--help").output().unwrap();
        assert!(String::from_utf8(help.stdout).unwrap().contains("QPSMTPD_CONFIG"));
    }
}

#[test]
fn a_start_names_the_folder_in_use() {
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start(&config, model);
        let folder = config.path("config");
        let log = server.log().text();
        assert!(log.contains(&format!("configuration in {}\n", folder.display())), "{log}");
        server.stop().unwrap();
    }
}
