//! A site with plugins of its own, as distributions make of qpsmtpd: a logging plugin that writes
//! one line for each message or refusal, plugins chosen by a plugin for each client, configuration
//! in pieces, AUTH by a Perl plugin, all of them among native plugins.

use std::fs;
use std::net::Ipv4Addr;

use super::{asks, config};
use crate::harness::{Client, Config, Log, Model, Server, deb};
use crate::processes::superservers::tcpserver;

/// One line, fields separated by `|`: address, name, hello, sender, recipients, who decided, with
/// what, the text.
const LINES: &str = r#"
sub register {
    my ($self, $qp, @args) = @_;
    $self->{_mark} = $args[0] || '';
}
sub hook_logging { return DECLINED }
sub hook_deny {
    my ($self, $transaction, $plugin, $code, $text) = @_;
    return DECLINED unless $plugin =~ /^\w/;
    $self->write_line($plugin, $code, $text);
    $transaction->notes(line_written => 1);
    return DECLINED;
}
sub hook_reset_transaction {
    my ($self, $transaction) = @_;
    return DECLINED if !$transaction->sender || $transaction->notes('line_written');
    my $queued = ($transaction->notes('queue::maildir')->{hook_queue}{return} || 0) == OK;
    $self->write_line($queued ? ('queued', OK, 'queued') : ('-', DECLINED, 'nothing'));
    return DECLINED;
}
sub write_line {
    my ($self, $plugin, $code, $text) = @_;
    my ($c, $t) = ($self->connection, $self->transaction);
    my @fields = ($c->remote_ip, $c->remote_host, $c->hello_host, $t->sender, join(',', $t->recipients),
        $plugin, $code, $text, $self->qp->connection->relay_client ? 'relay' : 'no relay', $self->auth_user);
    no warnings 'uninitialized';
    tr/|\n/  / for @fields;
    $self->log(LOGNOTICE, $self->{_mark} . join "|", @fields);
}
"#;

/// Configuration that depends on the client: the file `peers/ADDRESS`, or `peers/0`.
const PEERS: &str = r#"
sub hook_config {
    my ($self, $transaction, $name) = @_;
    return DECLINED if $name ne 'peer_rules';
    my $ip = $self->connection->remote_ip || return DECLINED;
    my ($file) = grep { -f } map { "{work}/config/peers/$_" } $ip, 0;
    open my $rules, '<', $file or return DECLINED;
    chomp(my @lines = <$rules>);
    return (OK, grep { /^[^#]/ } @lines);
}
sub hook_connect {
    my ($self) = @_;
    my %rule = map { split ' ', $_, 2 } $self->qp->config('peer_rules');
    $self->connection->notes(rule => \%rule);
    $self->connection->relay_client(1) if $rule{relay};
    return (DENY, $rule{refuse}) if $rule{refuse};
    return DECLINED;
}
"#;

const FILTER: &str = r#"
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    my $rule = $self->connection->notes('rule') || {};
    return DECLINED if !$rule->{block} || $recipient->user ne $rule->{block};
    return Qpsmtpd::DSN->no_such_user;
}
sub hook_data_post {
    my ($self, $transaction) = @_;
    my $header = $transaction->header;
    $header->add('X-Filtered', scalar($transaction->recipients) . ' recipients');
    $transaction->body_resetpos;
    while (defined(my $line = $transaction->body_getline)) {
        return (DENY, 'Virus found') if $line =~ /EVIL/;
    }
    return DECLINED;
}
use Qpsmtpd::DSN;
"#;

const AUTH: &str = r#"
use Qpsmtpd::Auth;
my %password = (ali => 'secret');
sub register { my ($self) = @_; $self->register_hook("auth-$_", 'check') for qw(plain login cram-md5) }
sub check {
    my ($self, $transaction, $mechanism, $user, $clear, $hash, $ticket) = @_;
    return DECLINED unless $password{$user};
    return Qpsmtpd::Auth::validate_password($self, src_clear => $password{$user}, attempt_clear => $clear,
        attempt_hash => $hash, ticket => $ticket, method => $mechanism, deny => DENY);
}
"#;

fn site() -> Config {
    let plugins =
        [("logging/lines", LINES), ("peers", PEERS), ("filter", FILTER), ("auth/site", AUTH)];
    let config = config("$include plugins.d", &plugins);
    for folder in ["config/plugins.d", "config/peers"] {
        fs::create_dir(config.path(folder)).unwrap();
    }
    for (name, text) in [
        ("plugins.d/10-early", "peers\ncount_unrecognized_commands 4\nbadmailfrom"),
        ("plugins.d/20-auth", "auth/site"),
        ("plugins.d/30-rest", "filter\nrcpt_ok\nqueue/maildir {work}/Maildir"),
        ("peers/0", "# the others\nblock nobody"),
        ("peers/127.0.0.1", "block somebody"),
        ("peers/127.0.0.2", "refuse Go away"),
        ("peers/127.0.0.3", "relay 1"),
        ("badmailfrom", "spammer@example.net"),
        ("logging", "logging/lines >\nlogging/warn LOGNOTICE"),
    ] {
        config.write(name, text);
    }
    config
}

/// The fields of the last line in the log; those that tests do not fix are left out.
fn line(log: &Log, mark: &str) -> String {
    let last = |text: &str| {
        let line = text.lines().rev().find(|line| line.contains(mark))?;
        Some(line.split_once('>')?.1.to_owned())
    };
    log.wait_until(last).unwrap_or_else(|| panic!("no line with {mark}:\n{}", log.tail()))
}

fn session(client: &mut Client, log: &Log) {
    client.hello();
    asks(
        client,
        &[(
            "MAIL FROM:<spammer@example.net>",
            "550 5.7.1 Your envelope sender is in my badmailfrom list",
        )],
    );
    line(log, "badmailfrom|901|Your envelope");
    asks(
        client,
        &[
            (
                "MAIL FROM:<a@example.net>",
                "250 2.1.0 <a@example.net>, sender OK - how exciting to get mail from you!",
            ),
            ("RCPT TO:<somebody@example.com>", "550 5.1.1 No such user"),
            ("RCPT TO:<b@far.test>", "550 5.7.1 Relaying denied"),
        ],
    );
    line(log, "filter|901");
    line(log, "rcpt_ok|901|Relaying denied");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("DATA", "354");
    asks(client, &[("Subject: x\r\n\r\nEVIL\r\n.", "552 5.7.1 Virus found")]);
    line(log, "|<b@example.com>|filter|901|Virus found");
    asks(
        client,
        &[(
            "AUTH PLAIN AGFsaQBzZWNyZXQ=",
            "235 2.7.0 PLAIN authentication successful for ali - site",
        )],
    );
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@far.test>", "250");
    client.ask("RCPT TO:<c@far.test>", "250");
    client.ask("DATA", "354");
    client.ask("Subject: y\r\n\r\nfine\r\n.", "250");
    let told = line(log, "queued|900");
    assert!(
        told.ends_with(
            "|client.test|<a@example.net>|<b@far.test>,<c@far.test>|queued|900|queued|relay|ali"
        ),
        "{told}"
    );
    client.ask("QUIT", "221");
    client.closed();
}

#[test]
fn the_site_runs_under_forkserver_and_prefork() {
    for model in Model::PARENTS {
        let config = site();
        let server = Server::start(&config, model);
        session(&mut server.connect(), server.log());
        let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
        assert!(mail.contains("\nX-Filtered: 2 recipients\n"), "{mail}");
        let mut refused = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(refused.expect("550").lines, ["550 Go away"]);
        line(server.log(), "peers|901|Go away");
        let mut relay = server.connect_from(Ipv4Addr::new(127, 0, 0, 3));
        relay.hello();
        relay.ask("MAIL FROM:<a@example.net>", "250");
        relay.ask("RCPT TO:<b@far.test>", "250");
        relay.quit();
        server.stop().unwrap();
    }
}

#[test]
fn the_site_runs_under_tcpserver() {
    if !deb::need("ucspi-tcp") {
        return;
    }
    let (config, log) = (site(), Log::default());
    let (port, tcpserver) = tcpserver(&config, &log);
    session(&mut Client::connect((Ipv4Addr::LOCALHOST, port).into(), &log), &log);
    assert_eq!(config.take_mails().len(), 1);
    drop(tcpserver);
    config.nothing_left().unwrap();
}
