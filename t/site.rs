//! A site's own crate with its plugins: examples/site.

use std::path::Path;

use crate::harness::{Config, Model, Server, cargo};

#[test]
fn a_site_has_plugins_in_a_crate_of_its_own() {
    cargo(&["test", "--package", "site"]);
    cargo(&["build", "--package", "site"]);
    let program = Path::new(Model::Prefork.program()).with_file_name("site");
    let config = Config::new()
        .set("plugins", "former-staff\nrcpt_ok\nqueue/maildir {work}/Maildir")
        .set("former_staff", "ann@example.com Ann has left");

    let mut manual = config.command(&program);
    let manual = manual.args(["--help-plugin", "former_staff"]).output().unwrap();
    assert!(String::from_utf8(manual.stdout).unwrap().starts_with("NAME\n    former_staff - "));
    let list = config.command(&program).arg("--help-plugin").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let has = |name: &str| list.lines().any(|line| line.starts_with(&format!("{name}  ")));
    assert!(has("rcpt_ok") && has("former_staff"), "{list}");

    let mut command = config.command(&program);
    command.args(Model::Prefork.arguments(&[]));
    let server = Server::start_command(&config, Model::Prefork, command);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    let refused = client.ask("RCPT TO:<ann@example.com>", "550");
    assert!(refused.lines[0].contains("Ann has left"), "{:?}", refused.lines);
    client.ask("RCPT TO:<bob@example.com>", "250");
    client.quit();
    server.stop().unwrap();
}
