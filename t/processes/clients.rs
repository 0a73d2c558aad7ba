//! swaks and Postfix's smtp-source deliver to both parents.

use std::process::Command;

use crate::harness::{Config, Model, Server, deb};

#[test]
fn swaks_delivers_a_message() {
    if !deb::need("swaks") {
        return;
    }
    for model in Model::PARENTS {
        let config = Config::new();
        let server = Server::start(&config, model);
        super::swaks(server.port());
        super::arrived(&config);
        server.stop().unwrap();
    }
}

#[test]
fn smtp_source_delivers_many_messages_to_prefork() {
    smtp_source(Model::Prefork, 10_000);
}

#[test]
fn smtp_source_delivers_many_messages_to_forkserver() {
    smtp_source(Model::Forkserver, 2_000);
}

/// Ten sessions at a time deliver so many messages of 5000 bytes.
fn smtp_source(model: Model, count: usize) {
    if !deb::need("postfix") {
        return;
    }
    let config = Config::new();
    let server = Server::start(&config, model);
    let mut source = Command::new(deb::program("smtp-source").expect("was asked for"));
    source.args(["-s", "10", "-m", &count.to_string(), "-l", "5000", "-M", "client.test"]);
    source.args(["-f", "a@example.net", "-t", "b@example.com"]);
    let output = source.arg(format!("127.0.0.1:{}", server.port())).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "smtp-source: {}: {complaints}", output.status);
    assert_eq!(config.mails().len(), count);
    server.stop().unwrap();
}
