//! The examples of the documentation of Perl qpsmtpd.
//!
//! They are taken out of the documentation that Debian's package installs, word for word.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};

use super::{PROBE, ask, asks, config, helo, plugin};
use crate::harness::{Config, Model, Server, deb};

const QUEUE: &str = "queue/maildir {work}/Maildir";

/// The blocks of code in a file of the documentation; None where it is not installed.
fn blocks(name: &str) -> Option<Vec<String>> {
    if !deb::need("qpsmtpd") {
        return None;
    }
    let folder = std::path::Path::new("/usr/share/doc/qpsmtpd");
    let files = [folder.join(name), folder.join(format!("{name}.gz"))];
    let file = files.iter().find(|file| file.is_file()).expect("the package has it");
    let output = Command::new("zcat").arg("-f").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut blocks = vec![];
    let mut block = String::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) || (line.is_empty() && !block.is_empty()) {
            block += &format!("{line}\n");
        } else if !block.trim().is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    Some(blocks)
}

/// The one block with this text.
fn block<'a>(blocks: &'a [String], mark: &str) -> &'a str {
    let mut found = blocks.iter().filter(|block| block.contains(mark));
    let block = found.next().unwrap_or_else(|| panic!("no example with {mark}"));
    assert!(found.next().is_none(), "more than one example with {mark}");
    block
}

#[test]
fn the_plugins_of_the_introduction_run() {
    let Some(blocks) = blocks("plugins.pod") else { return };
    let closed = block(&blocks, "temp_disable_connection");
    let config = config(&format!("closed\nrcpt_ok\n{QUEUE}"), &[("closed", closed)]);
    for model in Model::ALL {
        let server = Server::start(&config, model);
        let mut client = server.connect();
        let greeting = client.reply();
        assert_eq!(greeting.lines, ["450 Sorry, server is temporarily unavailable."]);
        drop(client);
        server.stop().unwrap();
    }
    let child = block(&blocks, "# rcpt_ok_child");
    let handlers = block(&blocks, "mail_handler {");
    plugin(&config, "child", child);
    plugin(&config, "handlers", handlers);
    plugin(&config, "rest", &wrapped(&blocks));
    config.write("plugins", &format!("rest\nchild\n{QUEUE}"));
    config.write("my_config", "# comment\none\n\ntwo");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    asks(
        &mut client,
        &[
            ("RCPT TO:<b@example.com>", "250 <b@example.com>, recipient ok"),
            ("RCPT TO:<b@far.test>", "550 Relaying denied (#5.7.1)"),
            ("NOOP lines", "250 one two"),
            ("NOOP log", "250 done"),
        ],
    );
    client.quit();
    server.log().wait_for("(noop) rest: as the manual says");
    server.stop().unwrap();
    // The handlers of this example are left to the reader.
    config.write("plugins", &format!("handlers\nrcpt_ok\n{QUEUE}"));
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    assert_eq!(
        ask(&mut client, "MAIL FROM:<a@example.net>"),
        "451 Internal error - try again later"
    );
    client.quit();
    server.log().wait_for("FATAL PLUGIN ERROR: Unimplemented");
    server.stop().unwrap();
}

/// Single statements of the documentation, each in a method of its own.
fn wrapped(blocks: &[String]) -> String {
    let lines = block(blocks, "qp->config(\"my_config\")");
    let log = block(blocks, "$self->log($loglevel, $logmessage)");
    format!(
        "{PROBE}\nsub do_lines {{ my ($self) = @_; my @lines;\n{lines}; return @lines }}\n\
        sub do_log {{ my ($self) = @_; my ($loglevel, $logmessage) = (LOGWARN, 'as the manual says');\n\
        {log}; return 'done' }}\n"
    )
}

#[test]
fn messages_are_discarded_by_a_note() {
    let Some(blocks) = blocks("advanced.pod") else { return };
    let discard = block(&blocks, "discard_mail");
    let marker = "sub hook_rcpt { my ($self, $t, $to) = @_; $t->notes(discard_mail => 1) if $to->user eq 'drop'; DECLINED }";
    let lines = format!("marker\ndiscard\nrcpt_ok\n{QUEUE}");
    let config = config(&lines, &[("marker", marker), ("discard", discard)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    for (user, mails) in [("drop", 0), ("keep", 1)] {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask(&format!("RCPT TO:<{user}@example.com>"), "250");
        client.ask("DATA", "354");
        let said = ask(&mut client, "Message-Id: <7@x.test>\r\n\r\nx\r\n.");
        assert_eq!(said, "250 Queued! <7@x.test>");
        assert_eq!(config.take_mails().len(), mails);
    }
    client.quit();
    server.stop().unwrap();
}

#[test]
fn relaying_attempts_are_counted() {
    let Some(blocks) = blocks("advanced.pod") else { return };
    let maxrelay = block(&blocks, "_count_relay_max");
    let config = config(&format!("maxrelay 2\n{QUEUE}"), &[("maxrelay", maxrelay)]);
    for model in Model::ALL {
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        asks(
            &mut client,
            &[
                ("RCPT TO:<b@far.test>", "550 Relaying denied (#5.7.1)"),
                ("RCPT TO:<b@example.com>", "250 <b@example.com>, recipient ok"),
                ("RCPT TO:<c@far.test>", "550 Relaying denied (#5.7.1)"),
                ("RCPT TO:<d@far.test>", "550 Too many relaying attempts (#5.7.1)"),
            ],
        );
        client.closed();
        server.stop().unwrap();
    }
}

#[test]
fn results_of_hooks_are_notes() {
    let Some(blocks) = blocks("advanced.pod") else { return };
    let result = block(&blocks, "hook_$hook");
    let asker = format!(
        "{PROBE}\nsub do_result {{ my ($self, $t, $name, $hook) = @_; my $code = {{name => $name}}; return\n{result} }}"
    );
    let deny =
        "sub hook_rcpt { my ($self, $t, $to) = @_; return $to->user eq 'no' ? DENY : DECLINED }";
    let lines = format!("asker\njudge\nrcpt_ok\n{QUEUE}");
    let config = config(&lines, &[("asker", &asker), ("judge", deny)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    asks(
        &mut client,
        &[("NOOP result rcpt_ok rcpt", "250 900"), ("NOOP result judge rcpt", "250 909")],
    );
    client.ask("RCPT TO:<no@example.com>", "550");
    asks(&mut client, &[("NOOP result judge rcpt", "250 901")]);
    client.quit();
    server.stop().unwrap();
}

#[test]
fn auth_config_and_help_are_as_the_manual_says() {
    let (Some(auth), Some(logging), Some(hooks)) =
        (blocks("authentication.pod"), blocks("logging.pod"), blocks("hooks.pod"))
    else {
        return;
    };
    let check = "sub authfunction { my ($self, $t, $mechanism, $user, $clear) = @_;\n\
        return (OK, $user) if $user eq 'ali' && $clear eq 'secret'; return DECLINED }";
    let auth = format!("{}\n{check}", block(&auth, "authfunction\")"));
    let leveled = format!(
        "{}\nsub hook_mail {{ my ($self) = @_; $self->log(LOGDEBUG, 'quite loud'); return DECLINED }}",
        block(&logging, "Bad arguments")
    );
    let provider = format!(
        "my %config = (rcpthosts => ['manual.example']);\n\
        sub hook_config {{ my ($self, $transaction, $value) = @_;\n{}}}\n\
        sub hook_help {{ my ($self) = @_;\n{}}}",
        block(&hooks, "exists $config{$value}"),
        block(&hooks, "respond(502, \"Not implemented.\")"),
    );
    let lines = format!("auth\nleveled loglevel 4\nprovider\nrcpt_ok\n{QUEUE}");
    let plugins = [("auth", &*auth), ("leveled", &*leveled), ("provider", &*provider)];
    let config = config(&lines, &plugins);
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    let hello = client.hello().lines.join("|");
    assert!(
        hello.contains("AUTH") && hello.contains("PLAIN") && hello.contains("LOGIN"),
        "{hello}"
    );
    client.ask("AUTH PLAIN AGFsaQB3cm9uZw==", "535");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@manual.example>", "250");
    client.ask("RCPT TO:<b@example.com>", "550");
    client.ask("RSET", "250");
    client.ask("AUTH PLAIN AGFsaQBzZWNyZXQ=", "235");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    asks(&mut client, &[("HELP", "502 5.0.0 Not implemented.")]);
    client.quit();
    server.log().wait_for("(mail) leveled: quite loud");
    server.stop().unwrap();
}

/// What the queue plugin of the manual needs of Text::Netstring.
const NETSTRING: &str = r#"
package Text::Netstring;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(netstring_encode netstring_decode netstring_verify netstring_read);
sub netstring_encode { my @all = map { length($_) . ":$_," } map { ref $_ ? @$_ : $_ } @_; return wantarray ? @all : join '', @all }
sub netstring_decode { return $_[0] =~ /^\d+:(.*),\z/s ? $1 : '' }
sub netstring_verify { return $_[0] =~ /^(\d+):(.*),\z/s && length $2 == $1 }
sub netstring_read {
    my ($socket) = @_;
    my $length = '';
    read $socket, $length, 1, length $length or return '' until $length =~ /:/;
    read $socket, my $text, $length =~ /(\d+)/ ? $1 + 1 : 0;
    return $length . $text;
}
1;
"#;

/// A QMQP server for so many messages; each gets the next answer.
fn qmqpd(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let take = move |(stream, answer): (TcpStream, &str)| {
        let mut reader = BufReader::new(stream);
        let mut head = vec![];
        reader.read_until(b':', &mut head).unwrap();
        let length: usize = String::from_utf8(head).unwrap().trim_end_matches(':').parse().unwrap();
        let mut text = vec![0; length + 1];
        reader.read_exact(&mut text).unwrap();
        write!(reader.get_mut(), "{}:{answer},", answer.len()).unwrap();
        String::from_utf8(text).unwrap()
    };
    let served = thread::spawn(move || {
        answers.iter().map(|answer| take((listener.accept().unwrap().0, answer))).collect()
    });
    (port, served)
}

/// The walk through a queue plugin: all its steps but the one that is discarded on the way.
#[test]
fn the_queue_plugin_of_the_manual_forwards() {
    let Some(blocks) = blocks("writing.pod") else { return };
    let steps = blocks.iter().filter(|block| !block.contains("my $message "));
    let code: String = steps.map(String::as_str).collect();
    let (port, served) = qmqpd(&["Kgood", "Zwait", "Dnever", "?what"]);
    let lines = format!("rcpt_ok\nforward 127.0.0.1 {port}");
    let config: Config = config(&lines, &[("forward", &code)]);
    fs::create_dir_all(config.path("lib/Text")).unwrap();
    fs::write(config.path("lib/Text/Netstring.pm"), NETSTRING).unwrap();
    let lib = config.path("lib").display().to_string();
    let config = config.env("PERL5LIB", &lib);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    for reply in
        ["250 Queued! good", "452 Deferred: wait", "552 Denied: never", "451 Protocol error"]
    {
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("RCPT TO:<c@example.com>", "250");
        client.ask("DATA", "354");
        asks(&mut client, &[("Subject: x\r\n\r\nbody\r\n..\r\n.", reply)]);
    }
    client.quit();
    server.stop().unwrap();
    for text in served.join().unwrap() {
        assert!(
            text.ends_with(
                "\nSubject: x\n\nbody\n.\n,13:a@example.net,13:b@example.com,13:c@example.com,,"
            ),
            "{text}"
        );
        let (length, rest) = text.split_once(':').unwrap();
        let message = rest.split_at(length.parse().unwrap()).0;
        assert!(message.contains("\nReceived: ") && message.ends_with("body\n.\n"), "{text}");
    }
}
