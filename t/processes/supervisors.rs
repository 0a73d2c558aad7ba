//! supervise and runsv run the `run` script.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Client, Config, Log, Model, Process, TIMEOUT, daemon, deb, poll};

#[test]
fn supervise_runs_the_run_script() {
    if deb::need("daemontools") {
        for model in Model::PARENTS {
            service(model, "supervise", "svc", &["-d"], &["-x"]);
        }
    }
}

#[test]
fn runsv_runs_the_run_script() {
    if deb::need("runit") {
        for model in Model::PARENTS {
            service(model, "runsv", "sv", &["-w", "30", "down"], &["-w", "30", "exit"]);
        }
    }
}

/// Makes the temporary folder a service folder, with `run`, `bin/` and `config/` as `run` looks
/// for them; `down` ends the service, and `exit` its supervisor.
fn service(model: Model, supervisor: &str, control: &str, down: &[&str], exit: &[&str]) {
    let config = Config::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("run");
    fs::copy(script, config.path("run")).unwrap();
    let program = Path::new(model.program());
    let name = program.file_name().unwrap();
    fs::create_dir(config.path("bin")).unwrap();
    symlink(program, config.path("bin").join(name)).unwrap();

    let log = Log::default();
    let (output, pipe) = std::io::pipe().unwrap();
    let mut command = config.command(deb::program(supervisor).expect("was asked for"));
    command.arg(config.work()).stdout(Stdio::from(pipe)).env_remove("QPSMTPD_CONFIG");
    command.env("QPSMTPD_PROGRAM", name);
    command.env("QPSMTPD_OPTIONS", model.arguments(&[]).join(" "));
    let mut supervisor = Process::spawn(command, &log);
    log.follow(output);

    let address = log.wait_until(|text| daemon::addresses(text).first().copied());
    let address = address.unwrap_or_else(|| panic!("it does not listen:\n{}", log.tail()));
    deliver(address, &log);
    assert_eq!(config.mails().len(), 1);
    let mut idle = Client::connect(address, &log);
    idle.hello();

    let run = |arguments: &[&str]| {
        let mut control = Command::new(deb::program(control).expect("was asked for"));
        let output = control.args(arguments).arg(config.work()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    run(down);
    idle.expect("421");
    idle.closed();
    poll(TIMEOUT, || supervisor.children().is_empty().then_some(()))
        .unwrap_or_else(|| panic!("the daemon does not end:\n{}", log.tail()));
    run(exit);
    let status = supervisor.wait().unwrap();
    assert!(status.success(), "{status}:\n{}", log.tail());
    config.nothing_left().unwrap();
}

fn deliver(address: SocketAddr, log: &Log) {
    let mut client = Client::connect(address, log);
    client.hello();
    client.envelope();
    client.ask("Subject: hi\r\n\r\nbody line\r\n.", "250");
    client.quit();
}
