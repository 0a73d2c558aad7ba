//! Handlers of Perl plugins that follow one another, which Perl runs in one call.

use std::fs;

use super::{asks, config, helo};
use crate::harness::{Config, Model, Server, TIMEOUT, poll};

const QUEUE: &str = "rcpt_ok\nqueue/maildir {work}/Maildir";
const FAILED: &str = "451 Internal error - try again later";

/// What each does at RCPT is in the local part: `second.dies`.
const STEP: &str = r#"
sub register { my ($self, $qp, $name) = @_; $self->{name} = $name }
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    my $name = $self->{name};
    $self->log(LOGWARN, "$name sees", join ' ', map { $_ || '-' } $recipient->user, $transaction->notes('last'));
    $transaction->notes(last => $name);
    my ($who, $what) = $recipient->user =~ /^(\w+)\.(\w+)$/ or return DECLINED;
    return DECLINED unless $who eq $name;
    die "I die\n" if $what eq 'dies';
    sleep 1000 if $what eq 'sleeps';
    exit 0 if $what eq 'ends';
    return (DENY, "no, says $name") if $what eq 'denies';
    return (DECLINED, "hm, says $name") if $what eq 'hesitates';
    return if $what eq 'forgets';
    $self->qp->respond(250, 'answered'), return DONE if $what eq 'answers';
    $recipient->user('other') if $what eq 'renames';
    $self->qp->config('broken') if $what eq 'asks';
    $self->qp->disconnect, return DECLINED if $what eq 'leaves';
    return DECLINED;
}
"#;

fn three(settings: [&str; 3]) -> Config {
    let lines = ["first", "second", "third"].iter().zip(settings);
    let lines: String = lines.map(|(name, more)| format!("{name} {name} {more}\n")).collect();
    let plugins = [("first", STEP), ("second", STEP), ("third", STEP)];
    // With LOGDEBUG each answer is a line of its own, and so each handler is called on its own.
    config(&format!("{lines}{QUEUE}"), &plugins).set("loglevel", "LOGINFO")
}

/// What the plugins have logged of RCPT, without the session's id.
fn seen(log: &str) -> Vec<String> {
    let rcpt = log.lines().filter_map(|line| Some(line.split_once("(rcpt) ")?.1.to_owned()));
    rcpt.filter(|line| !line.starts_with("rcpt_ok")).collect()
}

fn sees(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}

#[test]
fn each_handler_says_its_own_and_the_first_that_decides_is_the_last() {
    let config = three([""; 3]);
    for model in Model::ALL {
        for (user, reply, lines) in [
            (
                "plain",
                "250 <plain@example.com>, recipient ok",
                &[
                    "first: first sees plain -",
                    "second: second sees plain first",
                    "third: third sees plain second",
                ][..],
            ),
            (
                "second.denies",
                "550 no, says second",
                &["first: first sees second.denies -", "second: second sees second.denies first"],
            ),
            (
                "first.dies",
                FAILED,
                &["first: first sees first.dies -", "first: FATAL PLUGIN ERROR: I die"],
            ),
            (
                "second.ends",
                FAILED,
                &[
                    "first: first sees second.ends -",
                    "second: second sees second.ends first",
                    "second: FATAL PLUGIN ERROR: the Perl process died",
                ],
            ),
            (
                "second.answers",
                "250 answered",
                &["first: first sees second.answers -", "second: second sees second.answers first"],
            ),
            (
                "first.renames",
                "250 <other@example.com>, recipient ok",
                &[
                    "first: first sees first.renames -",
                    "second: second sees other first",
                    "third: third sees other second",
                ],
            ),
            (
                "second.forgets",
                "250 <second.forgets@example.com>, recipient ok",
                &[
                    "first: first sees second.forgets -",
                    "second: second sees second.forgets first",
                    "second: returned undef",
                    "third: third sees second.forgets second",
                ],
            ),
        ] {
            let server = Server::start(&config, model);
            let mut client = server.connect();
            helo(&mut client);
            let rcpt = format!("RCPT TO:<{user}@example.com>");
            asks(
                &mut client,
                &[
                    (
                        "MAIL FROM:<a@example.net>",
                        "250 <a@example.net>, sender OK - how exciting to get mail from you!",
                    ),
                    (&rcpt, reply),
                ],
            );
            let log = server
                .log()
                .wait_until(|log| (seen(log).len() >= lines.len()).then(|| log.to_owned()));
            assert_eq!(seen(&log.expect("the lines")), sees(lines), "{model} {user}");
            client.quit();
            server.stop().unwrap();
        }
    }
}

/// Who takes too long is who is blamed, and what others did before holds.
#[test]
fn the_handler_that_hangs_is_the_one_that_fails() {
    for (second, reply) in [
        ("timeout 1", FAILED),
        ("timeout 1 on_error ignore", "250 <second.sleeps@example.com>, recipient ok"),
    ] {
        let config = three(["timeout 100", second, ""]);
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        asks(&mut client, &[("RCPT TO:<second.sleeps@example.com>", reply)]);
        let mut lines = vec![
            "first: first sees second.sleeps -",
            "second: second sees second.sleeps first",
            "second: FATAL PLUGIN ERROR: the Perl plugin took too long",
        ];
        if second.contains("ignore") {
            lines.push("third: third sees second.sleeps first");
        }
        let all =
            server.log().wait_until(|log| (seen(log).len() == lines.len()).then(|| log.to_owned()));
        assert_eq!(seen(&all.expect("the lines")), sees(&lines));
        client.quit();
        server.stop().unwrap();
    }
}

/// A handler whose look-up has failed has not declined, whatever it says; nobody else is asked.
#[test]
fn a_look_up_that_fails_ends_the_run() {
    let config = three([""; 3]).set("broken", "$include nowhere");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    asks(&mut client, &[("RCPT TO:<first.asks@example.com>", FAILED)]);
    client.quit();
    let log = server.log().text();
    assert!(!log.contains("second sees"), "{log}");
    server.stop().unwrap();
}

/// Only Perl logs: lines of the core, of native and of Perl plugins are in the order in which they
/// were said, and none is missing at the end.
#[test]
fn loggers_in_perl_get_all_lines_in_order() {
    let logger = r#"
sub register { my ($self, $qp, $level) = @_; $self->{_level} = log_level($level) }
sub hook_logging {
    my ($self, $transaction, $trace, $hook, $plugin, @log) = @_;
    return DECLINED if $trace > $self->{_level};
    open my $file, '>>', '{work}/Maildir/log' or return DECLINED;
    print {$file} join(' ', map({ defined $_ ? $_ : '-' } $hook, $plugin), @log), "\n";
    return DECLINED;
}
"#;
    for model in Model::ALL {
        let config = three([""; 3]).set("logging", "logging/own LOGINFO");
        super::plugin(&config, "logging/own", logger);
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<plain@example.com>", "250");
        client.ask("RCPT TO:<w\u{e4}hrend@example.com>", "501");
        client.quit();
        server.stop().unwrap();
        let log = fs::read_to_string(config.path("Maildir/log")).unwrap();
        fs::remove_file(config.path("Maildir/log")).unwrap();
        let from = log.lines().skip_while(|line| !line.contains("connect from"));
        let lines: Vec<&str> = from.take_while(|line| !line.contains("disconnect from")).collect();
        let wanted = [
            "- - connect from 127.0.0.1",
            "- - dispatching HELO client.test",
            "- - dispatching MAIL FROM:<a@example.net>",
            "- - dispatching RCPT TO:<plain@example.com>",
            "rcpt first first sees plain -",
            "rcpt second second sees plain first",
            "rcpt third third sees plain second",
            "rcpt rcpt_ok pass, example.com in rcpthosts as example.com",
            "- - 250 <plain@example.com>, recipient ok",
            "- - dispatching QUIT",
        ];
        let mut at = 0;
        for line in wanted {
            let found = lines[at..].iter().position(|found| *found == line);
            at += found.unwrap_or_else(|| panic!("{model}: no {line} after {at}: {log}")) + 1;
        }
        assert!(log.contains("disconnect from 127.0.0.1"), "{model}: {log}");
        assert!(!log.contains("returned DECLINED"), "{log}");
    }
}

/// A logger that hangs while a Perl handler says something keeps it waiting once.
#[test]
fn a_logger_that_hangs_does_not_make_handlers_fail() {
    let logger = r#"
sub hook_logging {
    return DECLINED unless $_[5] =~ /second sees/;
    open my $file, '>>', '{work}/Maildir/calls'; print {$file} 'x'; close $file;
    sleep 1000;
}
"#;
    let config = three(["timeout 100"; 3]).set("logging", "logging/hangs");
    super::plugin(&config, "logging/hangs", logger);
    let arguments = ["--children", "1", "--idle-children", "1"];
    let server = Server::start_with(&config, Model::Prefork, &arguments);
    for _ in 0..3 {
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        client.ask("RCPT TO:<plain@example.com>", "250");
        client.quit();
    }
    server.stop().unwrap();
    assert_eq!(fs::read_to_string(config.path("Maildir/calls")).unwrap(), "x");
}

/// Perl processes that have nothing to destroy end without looking for it.
#[test]
fn what_plugins_do_at_the_end_of_a_process_is_done() {
    let plain = r#"
my $file;
sub hook_connect {
    open $file, '>>', '{work}/Maildir/log' or return DENY;
    print {$file} 'printed ';
    return DECLINED;
}
END { print {$file} 'ended ' if $file }
"#;
    let guarded = r#"
package Own::Guard; sub DESTROY { print {$_[0]{file}} 'destroyed ' } package Qpsmtpd::Plugin::ends;
my $guard;
sub hook_quit { $guard = bless {file => $file}, 'Own::Guard'; return DECLINED }
"#;
    for (text, done) in [
        (plain.to_owned(), "printed ended "),
        ([plain, guarded].concat(), "printed ended destroyed "),
    ] {
        let config = config("ends\nrcpt_ok", &[("ends", &text)]);
        let server = Server::start(&config, Model::Forkserver);
        let mut client = server.connect();
        helo(&mut client);
        client.quit();
        let log = config.path("Maildir/log");
        let written =
            poll(TIMEOUT, || fs::read_to_string(&log).ok().filter(|text| text.len() >= done.len()));
        assert_eq!(written.as_deref(), Some(done));
        server.stop().unwrap();
    }
}
