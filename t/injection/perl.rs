//! Perl plugins that say hostile things.

use std::fs;

use super::*;
use crate::harness::{Client, Config, Model, Server, deb};

/// Says what comes with the command, in hexadecimal, in every way that there is.
const PLUGIN: &str = r#"
use strict;
use warnings;
use Qpsmtpd::Constants;

my $text = '';

sub hook_noop {
    my ($self, $transaction, @words) = @_;
    $text = pack 'H*', $words[-1];
    $self->log(LOGNOTICE, "said: $text");
    $self->connection->notes('said', $text);
    $self->log(LOGCRIT, 'the note: ' . $self->connection->notes('said'));
    warn "a warning: $text";
    $self->connection->hello_host($text);
    $self->connection->remote_host($text);
    $self->qp->respond(250, $text);
    return DONE;
}

sub hook_vrfy { return OK, $text }

sub hook_help { return DENY, $text, $text }

sub hook_unrecognized_command { die "dead: $text" }

sub hook_rcpt { return OK, $text }

sub hook_data_post {
    my ($self, $transaction) = @_;
    my $header = $transaction->header;
    $header->add('X-Added', $text);
    $header->add('X-Top', $text, 0);
    $header->replace('Subject', $text);
    return DECLINED;
}
"#;

/// All that is said after one command; the reply has to have this code.
fn said(client: &mut Client, line: &str, code: &str) {
    let reply = client.ask(line, code);
    let text: String = reply.lines.iter().map(|line| format!("{line}\r\n")).collect();
    check_replies(&text);
}

#[test]
fn nothing_that_a_perl_plugin_says_breaks_out() {
    if !deb::need("perl") {
        return;
    }
    let config = Config::new()
        .set("plugin_dirs", "{work}/perl")
        .set("plugins", "hostile\nqueue/maildir {work}/Maildir");
    fs::create_dir(config.path("perl")).unwrap();
    fs::write(config.path("perl/hostile"), PLUGIN).unwrap();
    let server = Server::start(&config, Model::Prefork);
    for text in HOSTILE {
        let mut client = server.connect();
        client.hello();
        let octets: String = text.bytes().map(|octet| format!("{octet:02x}")).collect();
        said(&mut client, &format!("NOOP {octets}"), "250");
        said(&mut client, "VRFY x", "250");
        said(&mut client, "HELP", "500");
        said(&mut client, "FOO", "451");
        said(&mut client, "MAIL FROM:<a@example.net>", "250");
        said(&mut client, "RCPT TO:<b@example.com>", "250");
        said(&mut client, "DATA", "354");
        client.send_raw(b"Subject: x\r\nX-Own: y\r\n\r\ntext\r\n.\r\n");
        client.expect("250");
        said(&mut client, "EHLO again", "250");
        client.quit();
        let mails = config.take_mails();
        assert_eq!(mails.len(), 1);
        let mail = String::from_utf8(mails[0].clone()).unwrap();
        assert!(mail.ends_with("\n\ntext\n"), "{mail:?}");
        let own = ["Return-Path", "Delivered-To", "X-Top", "Authentication-Results", "Received"];
        let names = field_names(&mail, "\n");
        assert_eq!(names[..5], own, "{mail:?}");
        assert_eq!(names[5..], ["Subject", "X-Own", "X-Added"], "{mail:?}");
    }
    server.log().wait_for("disconnect from");
    let log = server.log().text();
    for what in ["said: a\\nb", "the note: a\\nb", "a warning: a\\nb", "dead: a\\nb"] {
        assert!(log.contains(what), "{what}: {log}");
    }
    check_log(&log);
    server.stop().unwrap();
}
