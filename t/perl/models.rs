//! Perl plugins where a parent process forks: what is asked there, and who plugins run as.

use std::fs;

use crate::harness::config::unprivileged;
use crate::harness::{Config, Model, Server, TIMEOUT, poll};

/// Reads what it is given as a checkpassword program does, and lets one password pass.
const CHECKPASSWORD: &str = "#!/bin/sh
case $(cat <&3 | tr '\\0' ' ') in 'good@example.com good_pass '*) exec \"$@\";; esac
exit 1
";

/// Keeps the message, the envelope and who it runs as.
const QUEUE: &str = "#!/bin/sh
exec 3<&1
cat > $0.message
cat <&3 | tr '\\0' '\\n' > $0.envelope
id -u > $0.user
";

#[test]
fn perl_plugins_work_in_every_model() {
    if !super::perl_qpsmtpd() {
        return;
    }
    for model in Model::ALL {
        let config = Config::new().set("plugin_dirs", super::PLUGINS).set("perl_plugins", "always");
        let check = config.program("check", CHECKPASSWORD).display().to_string();
        let queue = config.program("Maildir/queue", QUEUE).display().to_string();
        let config = config.set("hosts_allow", "127.0.0.2 DENY go away").set(
            "plugins",
            &format!(
                "hosts_allow\nconnection_time\nauth/auth_checkpassword checkpw {check} true /bin/true\n\
                 headers\nrcpt_ok\nqueue/qmail-queue {queue}"
            ),
        );
        let server = Server::start(&config, model);
        // Several times: a process of the prefork model serves one client after another.
        for _ in 0..3 {
            let mut client = server.connect();
            client.hello();
            // good@example.com, wrong and good_pass.
            client.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20Ad3Jvbmc=", "535");
            client.ask("AUTH PLAIN AGdvb2RAZXhhbXBsZS5jb20AZ29vZF9wYXNz", "235");
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@elsewhere.test>", "250");
            client.ask("DATA", "354");
            client.send_raw(b"From: a@example.net\r\n\r\n..dot\r\n.\r\n");
            client.expect("250");
            client.quit();
            let message = fs::read_to_string(format!("{queue}.message")).unwrap();
            assert!(message.ends_with("\nFrom: a@example.net\n\n.dot\n"), "{model}: {message}");
            let envelope = fs::read_to_string(format!("{queue}.envelope")).unwrap();
            assert_eq!(envelope, "Fa@example.net\nTb@elsewhere.test\n\n");
            // Plugins run as the user of the sessions.
            let user = poll(TIMEOUT, || {
                fs::read_to_string(format!("{queue}.user")).ok().filter(|text| !text.is_empty())
            });
            if let (Some(nobody), true) = (unprivileged(), model != Model::Inetd) {
                assert_eq!(user.unwrap().trim(), nobody.uid.to_string(), "{model}");
            }
        }
        if Model::PARENTS.contains(&model) {
            let mut client = server.connect_from([127, 0, 0, 2].into());
            let reply = client.expect("550");
            assert!(reply.lines[0].ends_with("go away"), "{model}: {reply:?}");
            client.closed();
        }
        server.log().wait_for("(post-connection) connection_time: ");
        server.stop().unwrap();
    }
}
