//! rcpt_verify with Dovecot, and with qpsmtpd itself.

use nix::sys::signal::Signal;

use super::lmtp::{dovecot, needed};
use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server};

/// A configuration that asks with `plugin`; the plugin's manual says before which one it stands.
fn asking(plugin: &str) -> Config {
    let config = Config::new();
    config.write("plugins", &format!("rcpt_verify {plugin}\nrcpt_ok\nqueue/discard"));
    config
}

/// The first lines of the replies to these recipients, in a session of its own.
fn replies(server: &Server, users: &[&str]) -> Vec<String> {
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    let reply = |user: &&str| {
        client.say(&format!("RCPT TO:<{user}@example.com>"));
        client.reply().lines.remove(0)
    };
    let replies = users.iter().map(reply).collect();
    client.quit();
    replies
}

/// What `--store` says.
fn store(config: &Config, words: &[&str]) -> String {
    let mut tool = config.command(env!("CARGO_BIN_EXE_qpsmtpd"));
    tool.arg("--store").args(words);
    tool.args(unprivileged().map(|user| format!("--user={}", user.name)));
    let output = tool.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors
}

const NOBODY: &str = "550 5.1.1 No such user";

#[test]
fn dovecot_says_who_is_there() {
    if !needed() {
        return;
    }
    let keep = Config::new();
    let (dovecot, port) = dovecot(&keep, "");
    for servers in [format!("127.0.0.1:{port}"), keep.path("lmtp").display().to_string()] {
        let config = asking(&format!("lmtp {servers}"));
        let server = Server::start(&config, Model::Prefork);
        for _ in 0..2 {
            let found = replies(&server, &["b", "nobody", "C"]);
            assert_eq!(found[0], "250 2.1.5 <b@example.com>, recipient ok");
            assert_eq!(found[1], NOBODY);
            assert_eq!(found[2], "250 2.1.5 <C@example.com>, recipient ok");
        }
        // Who is remembered is known while it is away.
        dovecot.signal(Signal::SIGSTOP);
        assert_eq!(replies(&server, &["b", "nobody"])[1], NOBODY);
        dovecot.signal(Signal::SIGCONT);
        let kept = store(&config, &["explain", "rcpt_verify", "nobody@example.com"]);
        assert!(kept.contains("nobody@example.com: unknown: 550 5.1.1 "), "{kept}");
        store(&config, &["clear", "rcpt_verify", "nobody@example.com"]);
        let kept = store(&config, &["explain", "rcpt_verify", "nobody@example.com"]);
        assert!(kept.contains("there is no entry 'nobody@example.com'"), "{kept}");
        server.stop().unwrap();
    }
}

/// qpsmtpd behind qpsmtpd, under TLS that nobody verifies, and killed in the end.
#[test]
fn a_server_that_is_killed_refuses_nobody_for_good() {
    let behind = Config::new()
        .set("plugins", "rcpt_map domain example.com file map default DENY=No_such_user_(#5.1.1)\nqueue/discard")
        .set("map", "b@example.com OK");
    for model in Model::PARENTS {
        let server = Server::start(&behind, model);
        let first = asking(&format!("smtp 127.0.0.1:{}", server.port()));
        let front = Server::start(&first, Model::Prefork);
        assert_eq!(
            replies(&front, &["b", "nobody"]),
            ["250 2.1.5 <b@example.com>, recipient ok", NOBODY,]
        );
        server.stop().unwrap();
        for _ in 0..2 {
            let found = replies(&front, &["b", "nobody", "another"]);
            assert_eq!(found[0], "250 2.1.5 <b@example.com>, recipient ok");
            assert_eq!(found[1], NOBODY);
            assert!(found[2].starts_with("45"), "{found:?}");
        }
        front.stop().unwrap();
    }
}

/// Dictionary attacks from many sessions at once: the server behind hears of few.
#[test]
fn guesses_do_not_fall_upon_the_server() {
    let behind = Config::new().set(
        "plugins",
        "rcpt_map domain example.com file map default DENY=No_such_user_(#5.1.1)\nqueue/discard",
    );
    behind.write("map", "b@example.com OK");
    let server = Server::start(&behind, Model::Prefork);
    let port = server.port();
    let config = asking(&format!("smtp 127.0.0.1:{port} probes 5/1h probes_by_client unlimited"));
    let front = Server::start(&config, Model::Prefork);
    let guess = |number: usize| {
        let users: Vec<String> = (0..10).map(|guess| format!("u{number}x{guess}")).collect();
        replies(&front, &users.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let guesses: Vec<_> = (0..4).map(|number| scope.spawn(move || guess(number))).collect();
        guesses.into_iter().flat_map(|guesses| guesses.join().unwrap()).collect()
    });
    let count = |reply: &str| found.iter().filter(|found| found.starts_with(reply)).count();
    let later = "450 4.4.5 recipients cannot be verified now, try again later";
    assert_eq!((count(NOBODY), count(later)), (5, 35), "{}", front.log().text());
    assert_eq!(server.log().text().matches(" RCPT TO:").count(), 5);
    front.stop().unwrap();
    server.stop().unwrap();
}
