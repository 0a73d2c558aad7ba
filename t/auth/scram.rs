//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: a client of our own that can also do it wrong, and gsasl.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use base64::prelude::*;
use hmac::{Hmac, KeyInit, Mac};
use qpsmtpd::error::Result;
use qpsmtpd::hook::{Args, DECLINED, DONE, Hooks, OK, Verdict};
use qpsmtpd::testing::Trial;
use sha2::{Digest, Sha256};

use crate::harness::{Client, Config, Log, Model, Server, deb};
use crate::tls;

/// A password in clear, keys of the password "pencil", and a hash of "good pass".
const USERS: &str = "clear@example.com:pa ss\n\
    keys@example.com:{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n\
    hash@example.com:{CRYPT}$5$rounds=1000$saltstring$6wvdZylXmQ/oiIOjW2XM2D8psANzHg3yCV0NCJ4r73D\n";

const PLUGINS: &str = "auth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";

fn config() -> Config {
    Config::new().set("plugins", PLUGINS).set("flat_auth_pw", USERS)
}

/// With a certificate for mail.test.
fn config_with_tls() -> Config {
    let config = tls::config().set("flat_auth_pw", USERS);
    config.set("plugins", &format!("tls certs {{work}}/ssl\n{PLUGINS}"))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// A client that authenticates.
struct Attempt<'a> {
    mechanism: &'a str,
    /// What it says of channel binding.
    header: &'a str,
    /// The octets that it binds to.
    bound: &'a [u8],
    user: &'a str,
    password: &'a str,
}

impl<'a> Attempt<'a> {
    fn new(user: &'a str, password: &'a str) -> Attempt<'a> {
        Attempt { mechanism: "SCRAM-SHA-256", header: "n,,", bound: b"", user, password }
    }

    /// Up to the last reply; before, it is seen that the server knows of the password.
    fn run(&self, ask: &mut dyn FnMut(&str) -> String) -> String {
        let bare = format!("n={},r=client-nonce", self.user);
        let first = BASE64_STANDARD.encode(format!("{}{bare}", self.header));
        let reply = ask(&format!("AUTH {} {first}", self.mechanism));
        let Some(server_first) = challenge(&reply) else { return reply };
        let (nonce, salt, iterations) = parts(&server_first);
        assert!(nonce.starts_with("client-nonce") && nonce.len() > 30, "{nonce}");

        let password = self.password.as_bytes();
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, &salt, iterations);
        let key = mac(&salted, b"Client Key");
        let bound = BASE64_STANDARD.encode([self.header.as_bytes(), self.bound].concat());
        let unproved = format!("c={bound},r={nonce}");
        let messages = format!("{bare},{server_first},{unproved}");
        let signature = mac(&Sha256::digest(&key), messages.as_bytes());
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
        let last = format!("{unproved},p={}", BASE64_STANDARD.encode(proof));
        let reply = ask(&BASE64_STANDARD.encode(last));
        let Some(server_last) = challenge(&reply) else { return reply };

        let signature = mac(&mac(&salted, b"Server Key"), messages.as_bytes());
        assert_eq!(server_last, format!("v={}", BASE64_STANDARD.encode(signature)));
        ask("")
    }
}

/// What stands in a 334; None: it is another reply.
fn challenge(reply: &str) -> Option<String> {
    let text = reply.strip_prefix("334 ")?.trim_end();
    Some(String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap())
}

/// The nonce, the salt and the iterations of the server's first message.
fn parts(server_first: &str) -> (String, Vec<u8>, u32) {
    let mut parts = server_first.split(',');
    let mut part = |name: &str| parts.next().unwrap().strip_prefix(name).unwrap().to_owned();
    let (nonce, salt, iterations) = (part("r="), part("s="), part("i="));
    (nonce, BASE64_STANDARD.decode(salt).unwrap(), iterations.parse().unwrap())
}

/// Says something in the clear; the reply.
fn asking(client: &mut Client) -> impl FnMut(&str) -> String {
    |line| {
        client.say(line);
        client.reply().lines.join("\n")
    }
}

/// The salt and the iterations that a user has, for all to see.
fn shown(server: &Server, user: &str) -> (Vec<u8>, u32) {
    let mut client = server.connect();
    client.hello();
    let first = BASE64_STANDARD.encode(format!("n,,n={user},r=x"));
    let reply = client.ask(&format!("AUTH SCRAM-SHA-256 {first}"), "334");
    let (_, salt, iterations) = parts(&challenge(&reply.lines[0]).unwrap());
    client.ask("*", "501");
    client.quit();
    (salt, iterations)
}

#[test]
fn scram_knows_who_knows_the_password() {
    for model in Model::ALL {
        let config = config();
        let server = Server::start(&config, model);
        for (user, password, knows) in [
            ("clear@example.com", "pa ss", true),
            ("Clear@Example.com", "pa ss", true),
            ("keys@example.com", "pencil", true),
            ("clear@example.com", "pa s", false),
            ("clear@example.com", "", false),
            ("keys@example.com", "pencils", false),
            ("hash@example.com", "good pass", false),
            ("nobody@example.com", "", false),
            ("nobody@example.com", "pa ss", false),
        ] {
            let mut client = server.connect();
            let offers = client.hello().lines.join("\n");
            assert!(offers.ends_with("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"), "{offers}");
            let reply = Attempt::new(user, password).run(&mut asking(&mut client));
            let want = match knows {
                true => format!(
                    "235 2.7.0 SCRAM-SHA-256 authentication successful for {user} - auth_flat_file"
                ),
                false => format!(
                    "535 5.7.8 SCRAM-SHA-256 authentication failed for {user} from 127.0.0.1"
                ),
            };
            assert_eq!(reply, want, "{}", server.log().tail());
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@elsewhere.test>", if knows { "250" } else { "550" });
            if knows {
                client.ask("DATA", "354");
                client.ask("\r\n.", "250");
                let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
                let result = format!("auth=pass (scram-sha-256) smtp.auth={user}");
                assert!(mail.contains(&result) && mail.contains(" with ESMTPA ("), "{mail}");
            }
            client.quit();
        }
        let log = server.log().text();
        for secret in ["pa ss", "pencil", "W22Z", "good pass"] {
            assert!(!log.contains(secret), "{log}");
        }
        server.stop().unwrap();
    }
}

/// The same salt whenever and whichever process is asked, for users that there are and for others.
#[test]
fn scram_does_not_tell_which_users_there_are() {
    let mut seen = vec![];
    let config = config();
    for model in Model::ALL {
        let server = Server::start(&config, model);
        for user in
            ["clear@example.com", "hash@example.com", "nobody@example.com", "keys@example.com"]
        {
            let (salt, iterations) = shown(&server, user);
            assert_eq!((salt.len(), iterations), (16, 4096), "{user}");
            assert_eq!(shown(&server, &user.to_uppercase()), (salt.clone(), iterations), "{user}");
            seen.push(salt);
        }
        server.stop().unwrap();
    }
    assert!(seen[..4] == seen[4..8] && seen[..4] == seen[8..]);
    let mut users = seen[..4].to_vec();
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 4);
    let secret = config.set("scram_secret", "another one");
    let server = Server::start(&secret, Model::Prefork);
    assert_ne!(shown(&server, "nobody@example.com").0, seen[2]);
    assert_eq!(shown(&server, "keys@example.com").0, seen[3]);
    server.stop().unwrap();
}

#[test]
fn scram_can_be_cancelled_and_done_wrong() {
    let config = config();
    let server = Server::start(&config, Model::Prefork);
    // The fifth failure ends a session.
    let fresh = || {
        let mut client = server.connect();
        client.hello();
        client
    };
    let mut client = fresh();
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let first = encoded("n,,n=clear@example.com,r=x");
    let malformed = "501 5.5.4 Invalid authentication string";

    assert_eq!(client.ask("AUTH SCRAM-SHA-256", "334").lines, ["334 "]);
    assert_eq!(client.ask("*", "501").lines, ["501 5.7.0 Authentication canceled"]);
    client.ask("AUTH SCRAM-SHA-256", "334");
    client.ask(&first, "334");
    client.ask("*", "501");
    client.ask("AUTH SCRAM-SHA-256 !!!", "501");
    client = fresh();
    for wrong in ["", "n,,n=u", "p=tls-exporter,,n=u,r=x", "n,,m=1,n=u,r=x"] {
        client.ask("AUTH SCRAM-SHA-256", "334");
        assert_eq!(client.ask(&encoded(wrong), "501").lines, [malformed], "{wrong}");
    }
    client = fresh();
    for wrong in ["", "c=biws,r=x", "c=biws,r=x,p=", "c=biws,r=x,p=AAAA"] {
        client.ask(&format!("AUTH SCRAM-SHA-256 {first}"), "334");
        assert_eq!(client.ask(&encoded(wrong), "501").lines, [malformed], "{wrong}");
    }
    client = fresh();
    let long = "x".repeat(12_300);
    client.ask("AUTH SCRAM-SHA-256", "334");
    client.ask(&long, "500");
    let offered = client.ask("AUTH SCRAM-SHA-256-PLUS", "504");
    assert!(offered.lines[0].ends_with("mechanism: scram-sha-256-plus"), "{offered:?}");

    client = fresh();
    // All of these count as well: another nonce, another header, another identity, no name, a wrong proof.
    let proof = BASE64_STANDARD.encode([0; 32]);
    client.ask(&format!("AUTH SCRAM-SHA-256 {first}"), "334");
    client.ask(&encoded(&format!("c=biws,r=xy,p={proof}")), "535");
    let reply = client.ask(&format!("AUTH SCRAM-SHA-256 {first}"), "334");
    let (nonce, ..) = parts(&challenge(&reply.lines[0]).unwrap());
    client.ask(&encoded(&format!("c=eSws,r={nonce},p={proof}")), "535");
    for other in ["n,a=other,n=clear@example.com,r=x", "n,,n=,r=x"] {
        client.ask(&format!("AUTH SCRAM-SHA-256 {}", encoded(other)), "535");
    }
    let reply = Attempt::new("clear@example.com", "wrong").run(&mut asking(&mut client));
    assert!(reply.starts_with("535 "), "{reply}");
    client.closed();
    server.log().wait_for("client 127.0.0.1 failed AUTH: SCRAM-SHA-256 authentication failed for");
    server.stop().unwrap();
}

#[test]
fn scram_binds_to_the_connection() {
    let config = config_with_tls();
    let server = Server::start(&config, Model::Prefork);
    let (user, password) = ("keys@example.com", "pencil");
    let plus = "SCRAM-SHA-256-PLUS";
    for (mechanism, header, own, code) in [
        (plus, "p=tls-exporter,,", true, "235"),
        (plus, "p=tls-exporter,a=keys@example.com,", true, "235"),
        ("SCRAM-SHA-256", "n,,", false, "235"),
        // Somebody has taken -PLUS out of what we offer.
        ("SCRAM-SHA-256", "y,,", false, "535"),
        // The octets of another connection.
        (plus, "p=tls-exporter,,", false, "535"),
        (plus, "p=tls-unique,,", true, "535"),
        (plus, "n,,", false, "501"),
        (plus, "y,,", false, "501"),
        ("SCRAM-SHA-256", "p=tls-exporter,,", true, "501"),
    ] {
        let stream = tls::connect(&server);
        tls::starttls(&stream, "");
        let mut client = tls::Client::new(stream, &tls::believer(&config), "mail.test");
        let offers = client.ask("EHLO client.test");
        assert!(offers.contains("SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n"), "{offers}");
        let octets = match (own, mechanism == plus) {
            (true, _) => client.channel_binding(),
            (false, true) => vec![1; 32],
            (false, false) => vec![],
        };
        let attempt = Attempt { mechanism, header, bound: &octets, user, password };
        let reply = attempt.run(&mut |line| client.ask(line));
        assert!(reply.starts_with(code), "{mechanism} {header}: {reply}");
        if code == "235" {
            client.deliver();
            let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
            let result = format!("auth=pass ({}) smtp.auth={user}", mechanism.to_lowercase());
            assert!(mail.contains(&result), "{mail}");
        }
    }
    server.log().wait_for("failed AUTH: Authentication invalid, channel binding was offered");
    // Where it was not offered, nobody has taken it out.
    let mut client = server.connect();
    let offers = client.hello().lines.join("\n");
    assert!(!offers.contains("PLUS"), "{offers}");
    let attempt = Attempt { header: "y,,", ..Attempt::new(user, password) };
    assert!(attempt.run(&mut asking(&mut client)).starts_with("235 "));
    client.quit();
    config.write("tls_protocols", "TLSv1.2");
    config.write("auth_mechanisms", "scram-sha-256\nSCRAM-SHA-256-PLUS");
    server.stop().unwrap();

    // Below TLS 1.3 there is nothing to bind to.
    let server = Server::start(&config, Model::Forkserver);
    let stream = tls::connect(&server);
    tls::starttls(&stream, "");
    let mut client = tls::Client::new(stream, &tls::believer(&config), "mail.test");
    let offers = client.ask("EHLO client.test");
    assert!(offers.ends_with("AUTH SCRAM-SHA-256\r\n"), "{offers}");
    assert!(client.ask("AUTH PLAIN AGEAYg==").starts_with("504"));
    client.ask("QUIT");
    server.stop().unwrap();
}

/// A plugin that says what its argument says, of everybody.
fn says(hooks: &mut Hooks, args: &Args) -> Result<()> {
    let what = args.get(0).unwrap_or_default().to_owned();
    hooks.auth(|_, _| OK);
    hooks.auth_scram_sha_256(move |session, scram| match &what[..] {
        "password" => scram.password("right").with_text("welcome"),
        "nothing" => OK,
        "unknown" => DECLINED.with_text("who is that?"),
        "late" => scram.password("right").with_code(DECLINED.code()),
        "deny" => Verdict::deny("not you"),
        "close" => Verdict::deny_disconnect("never again"),
        "done" => {
            session.respond(451, "own words");
            DONE
        }
        _ => Verdict::failure("no database"),
    });
    Ok(())
}

/// An OK counts only with the password, and what else a plugin says comes at the end.
#[test]
fn scram_asks_plugins() {
    for (what, password, want) in [
        (
            "password",
            "right",
            "235 2.7.0 SCRAM-SHA-256 authentication successful for tim - welcome",
        ),
        (
            "password",
            "wrong",
            "535 5.7.8 SCRAM-SHA-256 authentication failed for tim from 192.0.2.1",
        ),
        ("nothing", "", "454 4.7.0 Temporary authentication failure"),
        ("unknown", "", "535 5.7.8 SCRAM-SHA-256 authentication failed for tim from 192.0.2.1"),
        ("late", "right", "535 5.7.8 SCRAM-SHA-256 authentication failed for tim from 192.0.2.1"),
        (
            "deny",
            "",
            "535 5.7.8 SCRAM-SHA-256 authentication failed for tim from 192.0.2.1 - not you",
        ),
        (
            "close",
            "",
            "535 5.7.8 SCRAM-SHA-256 authentication failed for tim from 192.0.2.1 - never again",
        ),
        ("done", "", "451 4.0.0 own words"),
        ("fail", "", "454 4.7.0 Temporary authentication failure"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let mut client = Client::new(TcpStream::connect(address).unwrap(), &Log::default());
            let offers = client.hello().lines.join("\n");
            assert!(offers.ends_with("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"), "{offers}");
            let reply = Attempt::new("tim", password).run(&mut asking(&mut client));
            match what {
                "close" => client.closed(),
                _ => client.quit(),
            }
            reply
        });
        Trial::with(says, what, &[]).serve(listener.accept().unwrap().0);
        assert_eq!(client.join().unwrap(), want, "{what}");
    }
}

#[test]
fn gsasl_authenticates() {
    if !deb::need("gsasl") {
        return;
    }
    for model in Model::PARENTS {
        let config = config_with_tls();
        let server = Server::start(&config, model);
        let port = server.port();
        for (user, password) in [("clear@example.com", "pa ss"), ("keys@example.com", "pencil")] {
            // Without an option it uses TLS, as that is offered, and binds to it where it can.
            for (mechanism, options) in [
                ("SCRAM-SHA-256", &["--no-starttls"][..]),
                ("SCRAM-SHA-256", &["--no-cb"]),
                ("SCRAM-SHA-256-PLUS", &[]),
            ] {
                for (password, code) in [(password, "235 2.7.0"), ("wrong", "535 5.7.8")] {
                    let mut gsasl = Command::new("gsasl");
                    gsasl.args(["--smtp", "--connect", &format!("127.0.0.1:{port}")]).args(options);
                    gsasl.args(["--x509-ca-file=", "--mechanism", mechanism, "--verbose"]);
                    gsasl.args(["--authentication-id", user, "--password", password]);
                    gsasl.args(["--authorization-id", ""]);
                    let done = gsasl.stdin(Stdio::null()).output().unwrap();
                    let said = String::from_utf8_lossy(&done.stdout).into_owned()
                        + &String::from_utf8_lossy(&done.stderr);
                    let want = format!("{code} {mechanism} authentication ");
                    assert!(said.contains(&want), "{model} {options:?} {mechanism} {user}: {said}");
                    assert_eq!(done.status.success(), code.starts_with("235"), "{said}");
                }
            }
        }
        server.stop().unwrap();
    }
}
