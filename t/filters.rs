//! Filters of OpenSMTPD: those of docs/filters.md, those of Debian, and ones that are killed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Client, Config, Model, Server, TIMEOUT, deb, poll, say};

/// The code of docs/filters.md in that language.
fn documented(language: &str) -> String {
    let docs = include_str!("../docs/filters.md");
    let start = format!("```{language}\n");
    let found = docs.split(&start).nth(1).and_then(|rest| rest.split("```").next());
    found.unwrap_or_else(|| panic!("docs/filters.md has no {language}")).to_owned()
}

/// A configuration with these lines in front of the usual plugins.
fn with(config: Config, lines: &str) -> Config {
    config.set("plugins", &format!("{lines}\nrcpt_ok\nqueue/maildir {{work}}/Maildir"))
}

/// Sends a message; the reply.
fn send(client: &mut Client, text: &str) -> String {
    client.envelope();
    client.send_raw(format!("{}\r\n.\r\n", text.replace('\n', "\r\n")).as_bytes());
    client.reply().lines.join("\n")
}

/// The message that was queued, from the field `from` on.
fn queued(config: &Config, from: &str) -> String {
    let mails = config.take_mails();
    let mail = String::from_utf8(mails.concat()).unwrap();
    let at = mail.find(from).unwrap_or_else(|| panic!("no {from} in {mail}"));
    mail[at..].to_owned()
}

#[test]
fn the_shell_filter_of_the_docs() {
    for model in Model::ALL {
        let config = Config::new();
        let filter = config.program("hello", &documented("sh"));
        let config = with(config, &format!("filter {}", filter.display()));
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.expect("220");
        let reply = client.ask("EHLO localhost", "550");
        assert_eq!(reply.lines, ["550 That is me (#5.7.1)"]);
        client.ask("EHLO client.test", "250");
        assert!(send(&mut client, "Subject: x\n\ntext").starts_with("250 "));
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn the_python_filter_of_the_docs() {
    if !deb::need("python3") {
        return;
    }
    for (model, options) in [
        (Model::Inetd, ""),
        (Model::Forkserver, "processes one"),
        (Model::Prefork, "processes one"),
    ] {
        let config = Config::new();
        let filter = config.program("client", &documented("python"));
        let config = with(config, &format!("filter {options} {}", filter.display()));
        let server = Server::start(&config, model);
        for _ in 0..2 {
            let mut client = server.connect();
            client.hello();
            let text = "Subject: x\nX-Odd: \u{fc}|\n\n..\n..dots\nlast";
            assert!(send(&mut client, text).starts_with("250 "), "{}", server.log().tail());
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<no-one@example.com>", "550");
            client.quit();
            let mail = queued(&config, "X-Client: ");
            let (field, rest) = mail.split_once('\n').unwrap();
            assert!(field.starts_with("X-Client: 127.0.0.1:"), "{field}");
            assert!(rest.starts_with("Authentication-Results: "), "{rest}");
            // A dot in front of a line was the client's, for the way.
            let end = "Subject: x\nX-Odd: \u{fc}|\n\n.\n.dots\nlast\n";
            assert!(rest.ends_with(end), "{rest}");
        }
        server.stop().unwrap();
    }
}

#[test]
fn the_go_filter_of_the_docs() {
    let Some(go) = deb::program("go") else {
        say("skipped: needs golang-go, which is not installed for this alone");
        return;
    };
    let config = Config::new();
    let source = config.path("junk.go");
    fs::write(&source, documented("go")).unwrap();
    let filter = config.path("junk");
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&filter).arg(&source).env("GOFLAGS", "-mod=mod");
    build.env("HOME", config.work()).env("GOCACHE", config.path("go-cache"));
    assert!(build.status().unwrap().success());
    let config = with(config, &format!("filter {}", filter.display()));
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    client.ask("MAIL FROM:<a@bad.example>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    client.send_raw(b"Subject: x\r\n\r\n.\r\n");
    client.expect("250");
    client.quit();
    assert!(queued(&config, "X-Spam: ").starts_with("X-Spam: Yes\n"));
    server.stop().unwrap();
}

#[test]
fn debians_dkimsign_signs() {
    let packages = ["opensmtpd-filter-dkimsign", "openssl", "python3-dkim"];
    if !packages.iter().all(|package| deb::need(package)) {
        return;
    }
    for options in ["", "processes one", "protocol 0.5", "protocol 0.6"] {
        let config = Config::new();
        let key = config.path("key.pem");
        let mut openssl = Command::new("openssl");
        openssl.args(["genrsa", "-out"]).arg(&key).arg("2048");
        assert!(openssl.output().unwrap().status.success());
        Command::new("chmod").arg("644").arg(&key).status().unwrap();
        let words = format!("filter-dkimsign -d example.net -s mail -k {}", key.display());
        let config = with(config, &format!("filter {options} {words}"));
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        for number in 0..2 {
            let text = format!(
                "From: a@example.net\nSubject: {number}\n\n.. a dot\n{}\nlast\n\n\n",
                "long ".repeat(100)
            );
            let reply = send(&mut client, &text);
            assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
            let mail = queued(&config, "DKIM-Signature: ").replace('\n', "\r\n");
            assert_eq!(verified(&config, &key, &mail), "True", "{mail}");
            let changed = mail.replace("last", "other");
            assert_eq!(verified(&config, &key, &changed), "False");
        }
        client.quit();
        server.stop().unwrap();
    }
}

/// What dkimpy says of a message, with the key's other half in the domain name system.
fn verified(config: &Config, key: &PathBuf, mail: &str) -> String {
    let file = config.path("signed");
    fs::write(&file, mail).unwrap();
    let script = "import sys, subprocess, base64, dkim\n\
        key = subprocess.run(['openssl', 'rsa', '-pubout', '-outform', 'DER', '-in', sys.argv[1]], \
        capture_output=True).stdout\n\
        record = b'v=DKIM1; k=rsa; p=' + base64.b64encode(key)\n\
        print(dkim.verify(open(sys.argv[2], 'rb').read(), dnsfunc=lambda name, timeout=5: record))\n";
    let mut python = Command::new("/usr/bin/python3");
    let output = python.args(["-c", script]).arg(key).arg(file).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Answers as rspamd does, without asking anybody; what it was asked.
fn rspamd(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        let mut piece = [0; 4096];
        while !is_whole(&text) {
            let count = stream.read(&mut piece).unwrap();
            text += std::str::from_utf8(&piece[..count]).unwrap();
        }
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
        text
    });
    (port, asked)
}

/// Is a request there, with all of its body?
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

#[test]
fn debians_rspamd_filter_asks() {
    if !deb::need("opensmtpd-filter-rspamd") {
        return;
    }
    for (answer, code) in [
        (r#"{"action": "reject", "score": 20, "required_score": 15, "symbols": {}}"#, "550"),
        (r#"{"action": "add header", "score": 9, "required_score": 15, "symbols": {}}"#, "250"),
    ] {
        let (port, asked) = rspamd(answer);
        let words = format!("filter processes one filter-rspamd -url http://127.0.0.1:{port}");
        let config = with(Config::new(), &words);
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.hello();
        let reply = send(&mut client, "Subject: x\n\ntext");
        assert!(reply.starts_with(code), "{reply} {}", server.log().tail());
        let asked = asked.join().unwrap().to_lowercase();
        for field in
            ["from: a@example.net", "rcpt: b@example.com", "ip: 127.0.0.1", "helo: client.test"]
        {
            assert!(asked.contains(field), "no {field} in {asked}");
        }
        assert!(asked.contains("subject: x"), "{asked}");
        if code == "250" {
            assert!(queued(&config, "X-Spam").starts_with("X-Spam: yes\n"));
        }
        client.quit();
        server.stop().unwrap();
    }
}

#[test]
fn debians_senderscore_filter_runs() {
    if !deb::need("opensmtpd-filter-senderscore") {
        return;
    }
    let config = with(Config::new(), "filter filter-senderscore -scoreHeader -junkBelow 50");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    assert!(send(&mut client, "Subject: x\n\ntext").starts_with("250 "));
    client.quit();
    assert!(queued(&config, "Subject: x").ends_with("\n\ntext\n"));
    server.stop().unwrap();
}

/// Says its process id to all that say EHLO, and nothing to `hang`.
const PID: &str = r#"#!/bin/sh
while IFS= read -r line && [ "$line" != "config|ready" ]; do :; done
printf '%s\n' "register|filter|smtp-in|ehlo" "register|ready"
while IFS='|' read -r kind version time subsystem phase session token name; do
    case $name in
    hang) exec sleep 600 ;;
    die) kill -9 $$ ;;
    esac
    echo "filter-result|$session|$token|reject|550 $$"
done
"#;

fn pid(client: &mut Client) -> String {
    client.ask("EHLO client.test", "550").lines[0][4..].to_owned()
}

#[test]
fn a_filter_that_goes_on_without_input_ends_with_its_process() {
    let stays = format!("{PID}trap '' TERM\nwhile :; do sleep 0.05; done\n");
    for model in Model::ALL {
        let config = Config::new();
        let filter = config.program("stays", &stays);
        let config = with(config, &format!("filter {}", filter.display()));
        let server = Server::start(&config, model);
        let mut client = server.connect();
        client.expect("220");
        let own = Pid::from_raw(pid(&mut client).parse().unwrap());
        client.quit();
        // Whom it served does not wait for it.
        server.stop().unwrap();
        let gone = || (kill(own, None) == Err(Errno::ESRCH)).then_some(());
        assert!(poll(TIMEOUT, gone).is_some(), "{model}");
    }
}

#[test]
fn one_filter_is_shared_and_replaced() {
    for model in Model::PARENTS {
        let config = Config::new().set("junk_commands", "0");
        let filter = config.program("pid", PID);
        let config = with(config, &format!("filter processes one timeout 2 {}", filter.display()));
        let server = Server::start(&config, model);
        let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| drop(client.expect("220")));
        let pids: Vec<String> = clients.iter_mut().map(pid).collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        clients.drain(2..).for_each(Client::quit);
        // Killed, stopped, silent, dead: whoever waits is told, and then there is another one.
        let mut last = pids[0].clone();
        for end in [Some(Signal::SIGKILL), Some(Signal::SIGSTOP), None, None] {
            let word = if end.is_none() { "EHLO hang" } else { "EHLO client.test" };
            if let Some(signal) = end {
                kill(Pid::from_raw(last.parse().unwrap()), signal).unwrap();
            }
            clients[0].ask(word, "451");
            let next = poll(TIMEOUT, || {
                clients[1].say("EHLO client.test");
                let reply = clients[1].reply();
                reply.lines[0].strip_prefix("550 ").map(str::to_owned)
            });
            let next = next.unwrap_or_else(|| panic!("no other filter: {}", server.log().tail()));
            assert_ne!(next, last);
            last = next;
        }
        clients[0].ask("EHLO die", "451");
        clients.into_iter().for_each(Client::quit);
        server.stop().unwrap();
    }
}

#[test]
fn the_keeper_is_replaced_and_a_hup_makes_a_new_one() {
    let config = Config::new().set("junk_commands", "0");
    let filter = config.program("pid", PID);
    let config = with(config, &format!("filter processes one {}", filter.display()));
    let mut server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.expect("220");
    let first = pid(&mut client);
    let keeper = keeper_of(&first);
    kill(keeper, Signal::SIGKILL).unwrap();
    // The command that finds the keeper dead is put off, unless its death is seen before.
    client.send_raw(b"EHLO client.test\r\n");
    assert!(["451", "550"].contains(&client.reply().code.as_str()));
    let second = pid(&mut client);
    assert_ne!(second, first);
    server.parent().signal(Signal::SIGHUP);
    server.log().wait_for("the configuration was read again");
    let third = poll(TIMEOUT, || {
        let mut other = server.connect();
        other.expect("220");
        let pid = pid(&mut other);
        other.quit();
        (pid != second).then_some(pid)
    });
    assert!(third.is_some());
    assert_eq!(pid(&mut client), second);
    client.quit();
    server.stop().unwrap();
}

/// One that never stops is found out by the keeper as well.
#[test]
fn a_shared_filter_that_floods_is_made_an_end_of() {
    for (flood, why) in [
        ("exec yes 'filter-result|1|1|proceed'", "it sends too much that nobody asked for"),
        ("exec yes nonsense", "a line of an unknown kind: 'nonsense'"),
        ("exec cat /dev/zero", "a line without an end"),
    ] {
        let config = Config::new();
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' 'register|filter|smtp-in|ehlo' 'register|ready'\n\
             yes complaint | head -n 100000 >&2\n{flood}\n"
        );
        let filter = config.program("flood", &text);
        let config = with(config, &format!("filter processes one {}", filter.display()));
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        client.expect("220");
        client.ask("EHLO client.test", "451");
        server.log().wait_for(why);
        client.quit();
        server.stop().unwrap();
    }
}

fn keeper_of(pid: &str) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words = stat.rsplit_once(')').unwrap().1;
    Pid::from_raw(words.split_whitespace().nth(1).unwrap().parse().unwrap())
}

/// Much goes through, from several clients at once, and comes back octet for octet.
#[test]
fn large_messages_through_one_filter_at_once() {
    if !deb::need("python3") {
        return;
    }
    let config = Config::new().set("databytes", "0");
    let echo = documented("python");
    let filter = config.program("client", &echo);
    let config = with(config, &format!("filter processes one {}", filter.display()));
    let server = Server::start(&config, Model::Forkserver);
    let text = |number: usize| {
        let line = format!("{number} {}\n", "octets, ".repeat(9).trim_end());
        format!("Subject: {number}\n\n{}", line.repeat(30_000))
    };
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (server, text) = (&server, &text);
            scope.spawn(move || {
                let mut client = server.connect();
                client.hello();
                let reply = send(&mut client, text(number).trim_end());
                assert!(reply.starts_with("250 "), "{reply} {}", server.log().tail());
                client.quit();
            });
        }
    });
    let mails = config.take_mails();
    for number in 0..3 {
        let want = text(number).into_bytes();
        assert!(mails.iter().any(|mail| mail.ends_with(&want)), "{number}");
    }
    server.stop().unwrap();
}
