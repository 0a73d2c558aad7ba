//! Plugins that die, end, return nonsense, print.

use super::{ask, asks, config, helo};
use crate::harness::{Model, Server};

/// What a plugin does at RCPT is in the local part.
const ODD: &str = r#"
package Qpsmtpd::Plugin::Odd::Text { use overload '""' => sub { die "no text\n" } }
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    my $what = $recipient->user;
    die "I am dead\n" if $what eq 'dies';
    die { code => 7 } if $what eq 'object';
    die bless {}, 'Qpsmtpd::Plugin::Odd::Text' if $what eq 'mute';
    $self->qp->respond(250, 'well done'), die 'not so well' if $what eq 'speaks';
    exit 0 if $what eq 'ends';
    POSIX::_exit(1) if $what eq 'leaves';
    return if $what eq 'empty';
    return undef if $what eq 'undef';
    return 'DENY' if $what eq 'word';
    return 4711 if $what eq 'number';
    return (DENY, undef) if $what eq 'notext';
    return (DENY, 'one', 'two') if $what eq 'two';
    return (DENY, bless {}, 'Qpsmtpd::Plugin::Odd::Text') if $what eq 'tells';
    return (OK, [1], {}) if $what eq 'refs';
    return $self->no_such_method if $what eq 'method';
    return (DENY, "a\r\nb\0c\r\n250 smuggled") if $what eq 'ends.lines';
    return DECLINED;
}
sub hook_connect { return DECLINED, undef }
sub hook_helo { return }
sub hook_mail { my ($self) = @_; warn 'look here'; print "print me\n"; print STDERR "on stderr\n"; return DECLINED }
"#;

#[test]
fn perl_plugins_that_fail_are_temporary_failures() {
    let config = config("odd\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("odd", ODD)]);
    for model in Model::ALL {
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        let failed = "451 Internal error - try again later";
        for (user, reply) in [
            ("dies", failed),
            ("object", failed),
            ("mute", failed),
            ("speaks", failed),
            ("ends", failed),
            ("leaves", failed),
            ("empty", "250 <empty@example.com>, recipient ok"),
            ("undef", "250 <undef@example.com>, recipient ok"),
            ("word", "250 <word@example.com>, recipient ok"),
            ("number", "250 <number@example.com>, recipient ok"),
            ("notext", "550 relaying denied"),
            ("two", "550-one|550 two"),
            ("tells", failed),
            ("refs", "250 <refs@example.com>, recipient ok"),
            ("method", failed),
            ("ends.lines", "550-a|550-b?c|550 250 smuggled"),
            ("fine", "250 <fine@example.com>, recipient ok"),
        ] {
            asks(&mut client, &[(&format!("RCPT TO:<{user}@example.com>"), reply)]);
        }
        client.quit();
        for line in [
            "(rcpt) odd: FATAL PLUGIN ERROR: I am dead",
            "(rcpt) odd: FATAL PLUGIN ERROR: died without a word",
            "(rcpt) odd: FATAL PLUGIN ERROR: the Perl process died",
            "(rcpt) odd: returned 4711, which is not a return code",
            "(rcpt) odd: returned undef",
            "(mail) odd: look here",
            "print me",
            "on stderr",
        ] {
            server.log().wait_for(line);
        }
        server.stop().unwrap();
    }
}

#[test]
fn perl_plugins_that_fail_can_be_ignored() {
    let lines = "odd on_error ignore\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("odd", ODD)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    for user in ["dies", "ends", "leaves", "method"] {
        let reply = ask(&mut client, &format!("RCPT TO:<{user}@example.com>"));
        assert_eq!(reply, format!("250 <{user}@example.com>, recipient ok"));
    }
    client.quit();
    server.stop().unwrap();
}

/// A plugin may do what it likes with its own descriptors: the client only gets replies.
#[test]
fn standard_output_is_not_the_client() {
    const LOUD: &str = r#"
sub hook_mail { $| = 1; print "250 smuggled\r\n" for 1 .. 100; syswrite STDOUT, "\0\xff\r\n"; return DECLINED }
sub hook_rcpt {
    my ($self, $t, $recipient) = @_;
    if ($recipient->user eq 'closes') { require POSIX; POSIX::close($_) for 0 .. 50 }
    close STDOUT; close STDERR; close STDIN;
    return DECLINED;
}
"#;
    let config = config("loud\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("loud", LOUD)]);
    for model in Model::ALL {
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        asks(
            &mut client,
            &[
                ("RCPT TO:<a@example.com>", "250 <a@example.com>, recipient ok"),
                ("RCPT TO:<closes@example.com>", "451 Internal error - try again later"),
                ("RCPT TO:<b@example.com>", "250 <b@example.com>, recipient ok"),
            ],
        );
        client.ask("DATA", "354");
        client.ask("Subject: x\r\n\r\n.", "250");
        client.quit();
        server.stop().unwrap();
    }
}

/// An alarm that dies while it asks the worker something, which it does nearly all the time.
const ALARMED: &str = r#"
use Time::HiRes ();
sub hook_rcpt {
    my ($self) = @_;
    my $rounds = 0;
    for (1 .. 20) {
        eval {
            local $SIG{ALRM} = sub { die "enough\n" };
            Time::HiRes::alarm(0.005);
            while (1) { $self->qp->config_dir('me'); $self->log(LOGDEBUG, 'on and on') }
        };
        die $@ if $@ ne "enough\n";
        $rounds++;
    }
    return (DENY, "$rounds rounds at " . $self->qp->config('me'));
}
"#;

#[test]
fn a_perl_plugins_alarm_tears_no_frame_apart() {
    let config = config("alarmed", &[("alarmed", ALARMED)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    for _ in 0..3 {
        let said = ask(&mut client, "RCPT TO:<b@example.com>");
        assert_eq!(said, "550 20 rounds at mail.test", "{}", server.log().tail());
    }
    client.quit();
    server.stop().unwrap();
}
