//! While no name server answers: nobody is held up, and nobody is refused for good.

use std::fs;

use super::servers::NameServer;
use crate::harness::{Config, Model, Server, deb};

/// The rows of the table in docs/dns.md: the line of config/plugins, and the reply.
fn rows() -> Vec<(String, String)> {
    let docs = include_str!("../../docs/dns.md");
    let (_, table) = docs.split_once("| plugin |").expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

const MESSAGE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; d=example.net; s=x; h=from;\r\n\
    \tbh=AAAA; b=AAAA\r\nFrom: a@example.net\r\n\r\nhttp://www.example.org/\r\n.\r\n";

/// What a stranger hears of its message, the replies that are good not counted.
fn refusals(server: &Server<'_>) -> Vec<String> {
    let mut client = server.connect();
    let mut refusals = vec![];
    let mut stages = vec![
        "PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n",
        "EHLO mx.example.net\r\n",
        "MAIL FROM:<a@example.net>\r\n",
        "RCPT TO:<b@example.com>\r\n",
        "DATA\r\n",
        MESSAGE,
    ];
    stages.reverse();
    while let Some(stage) = stages.pop() {
        client.send_raw(stage.as_bytes());
        let reply = client.reply();
        if !reply.code.starts_with(['2', '3']) {
            // The code, the enhanced code, and what the table has.
            let text = reply.lines[0].splitn(3, ' ').nth(2).unwrap();
            refusals.push(format!("{} {text}", reply.code));
            break;
        }
    }
    client.quit();
    refusals
}

fn config(plugin: &str, servers: &str) -> Config {
    Config::new()
        .set("plugins", &format!("{plugin}\nrcpt_ok\nqueue/discard"))
        .set("proxy_from", "127.0.0.1")
        .set("dnsbl_zones", "list.test")
        .set("rhsbl_zones", "list.test")
        .set("uribl_zones", "list.test")
        .set("whitelist_zones", "list.test")
        .set("dns_servers", servers)
        .set("dns_timeout", "1")
}

#[test]
fn docs_dns_md_says_what_is_refused_while_dns_is_down() {
    let rows = rows();
    let public = deb::need("publicsuffix");
    let silent = NameServer::silent();
    std::thread::scope(|scope| {
        for (line, reply) in rows.iter().filter(|(line, _)| public || !line.starts_with("uribl")) {
            let servers = silent.address.to_string();
            scope.spawn(move || {
                let config = config(line, &servers);
                let server = Server::start(&config, Model::Prefork);
                let wanted: Vec<&str> = match reply.as_str() {
                    "none" => vec![],
                    reply => vec![reply.trim_matches('`')],
                };
                assert_eq!(refusals(&server), wanted, "{line}");
                server.stop().unwrap();
            });
        }
    });
    let heard = silent.heard();
    let asked = |question: &str| heard.iter().any(|heard| heard == question);
    for question in
        ["A 7.2.0.192.list.test", "TXT x._domainkey.example.net", "TXT _dmarc.example.net"]
    {
        assert!(asked(question), "{question}: {heard:?}");
    }
    let names: Vec<&str> =
        rows.iter().filter_map(|(line, _)| line.split_whitespace().next()).collect();
    for plugin in qpsmtpd::plugins::PLUGINS.iter().filter(|row| row.source.contains(".dns()")) {
        assert!(names.contains(&plugin.name), "docs/dns.md lacks {}", plugin.name);
    }
}

/// The policy is known, and only whether this message fits it is not.
#[test]
fn forged_or_not_is_asked_again_later() {
    let table = "_dmarc.example.net TXT v=DMARC1; p=reject\nx.test TXT x";
    let server = NameServer::new(move |asked| {
        let table = qpsmtpd::dns::Table::new(table);
        match asked.question.name().starts_with("_dmarc") {
            true => vec![asked.of_table(&table)],
            false => vec![],
        }
    });
    let config = config("dmarc", &server.address.to_string());
    let daemon = Server::start(&config, Model::Forkserver);
    assert_eq!(refusals(&daemon), ["452 DMARC could not be checked, try again later"]);
    daemon.stop().unwrap();
}

#[test]
fn the_greeting_does_not_wait_for_a_name_server_that_is_dead() {
    for model in Model::PARENTS {
        let silent = NameServer::silent();
        let config = Config::new()
            .set("dns_servers", &silent.address.to_string())
            .set("dns_timeout", "1")
            .set("proxy_from", "127.0.0.1");
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.send_raw(b"PROXY TCP4 192.0.2.7 192.0.2.25 40000 25\r\n");
        client.hello();
        let heard = silent.heard();
        assert!(heard.contains(&"PTR 7.2.0.192.in-addr.arpa".to_owned()), "{heard:?}");
        client.quit();
        server.stop().unwrap();
    }
}

/// The lists are asked while clients are served; the process that asks ends with the parent.
#[test]
fn a_start_says_which_lists_do_not_answer_and_waits_for_none() {
    for model in Model::PARENTS {
        let names = NameServer::new(|asked| {
            let table = qpsmtpd::dns::Table::new(
                "test.good.test A 127.0.0.2\ntest.all.test A 127.0.0.2\n\
                 invalid.all.test A 127.0.0.2",
            );
            let is_silent = asked.question.name().ends_with("silent.test");
            if is_silent { vec![] } else { vec![asked.of_table(&table)] }
        });
        let config = Config::new()
            .set("plugins", "rhsbl\nrcpt_ok\nqueue/maildir {work}/Maildir")
            .set("rhsbl_zones", "good.test\nall.test\nnone.test")
            .set("dns_servers", &names.address.to_string())
            .set("dns_timeout", "3600");
        let mut server = Server::start(&config, model);
        server.log().wait_for("the list all.test has an entry for the name INVALID");
        server.log().wait_for("the list none.test has no entry for the name TEST");
        assert!(!server.log().text().contains("good.test"), "{}", server.log().tail());
        // Now one says nothing, for longer than the test takes.
        config.write("rhsbl_zones", "silent.test");
        server.parent().signal(nix::sys::signal::Signal::SIGHUP);
        server.log().wait_for("was read again");
        let asked = || names.heard().iter().any(|name| name.ends_with("silent.test")).then_some(());
        crate::harness::poll(crate::harness::TIMEOUT, asked).expect("the list is asked");
        let mut client = server.connect();
        client.hello();
        client.quit();
        server.stop().unwrap();
    }
}

/// The front door is loaded as it stands, with the lists that it names.
#[test]
fn the_front_door_is_good() {
    if !deb::need("publicsuffix") {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/front-door");
    let config = Config::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, config.path("config").join(path.file_name().unwrap())).unwrap();
    }
    let silent = NameServer::silent();
    config.write("dns_servers", &silent.address.to_string());
    config.write("dns_timeout", "1");
    let check = Server::command(&config, Model::Prefork, &["--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success(), "{said}");
    // The lists cannot be asked, which is a warning.
    assert!(said.contains("zen.spamhaus.org cannot be asked"), "{said}");
    // Whoever cannot be looked up is deferred, not refused.
    let config = config.set("spool_dir", "{work}/spool");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "450");
    client.quit();
    server.stop().unwrap();
}
