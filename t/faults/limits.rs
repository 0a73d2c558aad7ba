//! No more descriptors, no more processes, no larger files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::deliver;
use crate::harness::config::unprivileged;
use crate::harness::{Client, Config, Model, Server, TIMEOUT, deb, poll};

fn set_limit(pid: nix::unistd::Pid, limit: &str) {
    let pid = pid.to_string();
    // Root in a container may not do it to others, but the account may do it to itself.
    let mut command = match unprivileged() {
        Some(user) => {
            let mut command = Command::new("setpriv");
            let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
            command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "prlimit"]);
            command
        }
        None => Command::new("prlimit"),
    };
    assert!(command.args(["--pid", &pid, limit]).status().unwrap().success());
}

/// Somebody is served again, once those of `waiting` who are not served have heard so.
fn is_over(server: &Server<'_>, mut waiting: Vec<Client>) {
    waiting.retain_mut(|client| client.try_reply().unwrap().is_some_and(|r| r.code == "220"));
    let served = || {
        let mut client = server.connect();
        client.try_reply().ok()??.code.eq("220").then_some(client)
    };
    let last = poll(TIMEOUT, served).unwrap_or_else(|| panic!("{}", server.log().tail()));
    last.quit();
}

/// The soft limit only, so that it can be raised again.
#[test]
fn no_descriptors_left() {
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        let mut first = server.connect();
        first.hello();
        let pid = server.parent().pid();
        let free =
            (0..).find(|fd| !Path::new(&format!("/proc/{pid}/fd/{fd}")).is_symlink()).unwrap();
        set_limit(pid, &format!("--nofile={free}:"));
        let others: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        let said = |log: &str| {
            (log.contains("cannot accept") || log.contains("cannot make a process")).then_some(())
        };
        assert!(server.log().wait_until(said).is_some(), "{}", server.log().tail());
        assert_eq!(deliver(&mut first, "in progress", 1000), "250");
        set_limit(pid, "--nofile=1024:");
        is_over(&server, others);
        first.quit();
        server.stop().unwrap();
    }
}

/// The account may have no more processes: the kernel refuses fork.
#[test]
fn no_processes_left() {
    if unprivileged().is_none() {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new();
        let mut server = Server::start(&config, model);
        let pid = server.parent().pid();
        set_limit(pid, "--nproc=1:");
        // Those that prefork has already go on.
        let clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
        server.log().wait_for("cannot make a process");
        set_limit(pid, "--nproc=10000:");
        is_over(&server, clients);
        server.stop().unwrap();
    }
}

/// A file may not grow further (`ulimit -f`): neither the log nor a message ends a process.
#[test]
fn no_larger_files() {
    for model in Model::PARENTS {
        let config = Config::new().set("databytes", "1000000").set("size_threshold", "1000").set(
            "logging",
            "logging/warn LOGINFO\nlogging/file loglevel LOGDEBUG {work}/store/log",
        );
        fs::create_dir_all(config.path("store")).unwrap();
        fs::set_permissions(config.path("store"), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = config.command("prlimit");
        command.arg("--fsize=20000").arg(model.program()).args(model.arguments(&[]));
        let server = Server::start_command(&config, model, command);
        let mut client = server.connect();
        client.hello();
        assert_eq!(deliver(&mut client, "too large", 100_000), "451");
        let log = || fs::metadata(config.path("store/log")).unwrap().len();
        let mut delivered = 0;
        while log() < 20_000 {
            assert_eq!(deliver(&mut client, "small", 500), "250");
            delivered += 1;
        }
        assert_eq!(deliver(&mut client, "without a log", 500), "250");
        client.quit();
        assert_eq!(config.take_mails().len(), delivered + 1);
        server.stop().unwrap();
    }
}

/// What that signal means to programs that are run is not the daemon's to say.
#[test]
fn programs_have_the_usual_limit_of_files() {
    for model in Model::ALL {
        let config = Config::new();
        let status = "#!/bin/sh\ngrep SigIgn /proc/self/status\n";
        let path = config.program("status", status).display().to_string();
        let config = config.set("plugins", &format!("quit_fortune {path}\nrcpt_ok\nqueue/discard"));
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.expect("220");
        client.ask("HELO client.example", "250");
        client.say("QUIT");
        let reply = client.expect("221");
        let ignored = reply.lines.iter().find_map(|line| line.split("SigIgn:").nth(1)).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        let signal = nix::sys::signal::Signal::SIGXFSZ as u64;
        assert_eq!(ignored >> (signal - 1) & 1, 0, "{ignored:x}");
        server.stop().unwrap();
    }
}

/// The whole system has no descriptors left, three times; strace makes the kernel say so.
#[test]
fn the_system_has_no_descriptors_left() {
    if !deb::need("strace") {
        return;
    }
    let config = Config::new();
    let mut command = config.command("strace");
    command.args(["-f", "-qq", "-e", "trace=accept4", "-o", "/dev/null"]);
    command.args(["-e", "inject=accept4:error=ENFILE:when=1..3"]);
    command.arg(Model::Prefork.program()).args(Model::Prefork.arguments(&[]));
    let server = Server::start_command(&config, Model::Prefork, command);
    let mut client = server.connect();
    client.hello();
    server.log().wait_for("cannot accept: Too many open files in system");
    assert_eq!(deliver(&mut client, "after all", 1000), "250");
    client.quit();
}
