//! Configuration that cannot be read turns nothing off.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{Config, Model, PATIENCE, Server, poll};

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
    let seen = poll(PATIENCE, || {
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
        rcpt_until(&server, "rcpthosts: gone; what it said stays until the next HUP");
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
        let changed = poll(PATIENCE, || (rcpt(&server) == "550").then_some(()));
        assert!(changed.is_some(), "{model}: {}", server.log().tail());
        server.stop().unwrap();
    }
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
    let changed = poll(PATIENCE, || (rcpt(&server) == "550").then_some(()));
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
        let seen = poll(PATIENCE, || {
            assert!(offers(&server).contains("SIZE 10000"));
            server.log().text().contains(why).then_some(())
        });
        assert!(seen.is_some(), "{model}: {}", server.log().tail());
        server.parent().signal(Signal::SIGHUP);
        server.log().wait_for("the new configuration is broken, the old one stays: ");
        assert!(offers(&server).contains("SIZE 10000"));
        server.stop().unwrap();
    }
}
