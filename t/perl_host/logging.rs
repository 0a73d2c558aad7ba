//! Logging plugins in Perl.

use std::fs;

use super::{config, helo};
use crate::harness::{Model, Server};

const LOGGER: &str = r#"
sub register {
    my ($self, $qp, @args) = @_;
    $self->{_prefix} = $args[0];
}
sub hook_logging {
    my ($self, $transaction, $trace, $hook, $plugin, @log) = @_;
    return DECLINED if defined $plugin && $plugin eq $self->plugin_name;
    $self->log(LOGINFO, 'a logger does not log itself');
    open my $file, '>>', '{work}/Maildir/log' or return DECLINED;
    printf {$file} "%s %s %s %s %s\n", $self->{_prefix}, $trace, map({ defined $_ ? $_ : '-' } $hook, $plugin), "@log";
    return DECLINED;
}
"#;
const TALKER: &str = r#"
sub hook_mail { my ($self) = @_; $self->log(LOGNOTICE, 'two', 'words'); $self->qp->log(LOGWARN, 'by the server'); DECLINED }
"#;

#[test]
fn perl_plugins_log_for_all() {
    let lines = "talker\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("logging/own", LOGGER), ("talker", TALKER)]);
    let config = config.set("logging", "logging/own mark\nlogging/warn LOGINFO");
    for model in Model::ALL {
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.envelope();
        client.ask("Subject: x\r\n\r\n.", "250");
        client.quit();
        server.log().wait_for("(mail) talker: two words");
        server.stop().unwrap();
        let log = fs::read_to_string(config.path("Maildir/log")).unwrap();
        fs::remove_file(config.path("Maildir/log")).unwrap();
        for line in [
            "mark 5 mail talker two words",
            "mark 4 mail talker by the server",
            "mark 6 rcpt rcpt_ok pass, example.com in rcpthosts as example.com",
            "mark 6 - - dispatching HELO client.test",
        ] {
            assert!(log.lines().any(|found| found == line), "{line}: {log}");
        }
        assert!(!log.contains("does not log itself"), "{log}");
    }
}

/// Not every line waits for a handler that does not come back.
#[test]
fn a_logger_that_hangs_is_left_alone() {
    let hangs = "sub hook_logging { return DECLINED unless $_[5] =~ /dispatching/; \
                 open my $file, '>>', '{work}/Maildir/calls'; print {$file} 'x'; close $file; \
                 sleep 1000 }";
    let lines = "rcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("logging/hangs", hangs)]);
    let config = config.set("logging", "logging/hangs\nlogging/warn LOGINFO");
    let server = Server::start(&config, Model::Prefork);
    for _ in 0..3 {
        let mut client = server.connect();
        helo(&mut client);
        for _ in 0..10 {
            client.ask("NOOP", "250");
        }
        client.quit();
    }
    server.stop().unwrap();
    let calls = fs::read_to_string(config.path("Maildir/calls")).unwrap();
    // Of more than thirty; processes may find out at the same time.
    assert!((1..10).contains(&calls.len()), "{calls}");
}

/// Shows all lines of one plugin, and of the others those of a level.  Its own warnings are lines,
/// too, which it is not asked about.
const PICKY: &str = r#"
use warnings;
use Qpsmtpd::Constants;
sub register {
    my ($self, $qp, $plugin, $level) = @_;
    @$self{qw(plugin level)} = ($plugin, Qpsmtpd::Constants::log_level($level || 'LOGWARN'));
}
sub hook_logging {
    my ($self, $transaction, $trace, $hook, $plugin, @log) = @_;
    return OK if $plugin ne $self->{plugin} and $trace > $self->{level};
    return DECLINED;
}
"#;
const CHATTY: &str = r#"
sub hook_mail { my ($self) = @_; $self->log(LOGDEBUG, 'details'); return DECLINED }
sub hook_rcpt { my ($self) = @_; $self->log(LOGDEBUG, 'more details'); return DECLINED }
"#;

#[test]
fn perl_plugins_drop_log_lines() {
    let lines = "chatty\nother\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let plugins = [("logging/picky", PICKY), ("chatty", CHATTY), ("other", CHATTY)];
    let config = config(lines, &plugins);
    let config = config.set("logging", "logging/picky chatty LOGNOTICE\nlogging/warn LOGDEBUG");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.envelope();
    client.ask("Subject: x\r\n\r\n.", "250");
    client.quit();
    server.log().wait_for("(rcpt) chatty: more details");
    let log = server.log().text();
    assert!(log.contains("(mail) chatty: details"), "{log}");
    assert!(!log.contains("other: details") && !log.contains("dispatching"), "{log}");
    server.stop().unwrap();
}
