//! Three daemons side by side, as units of a service manager: ports 25, 587 and 465 in the manner of
//! SME Server, each with a folder of its own, lists of plugins by client, Perl plugins of the site's
//! own among those of Debian, and another mail server behind them.

mod manager;

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;

use self::manager::{KillMode, Type, Unit};
use crate::harness::client::connect_from;
use crate::harness::config::unprivileged;
use crate::harness::deb::need;
use crate::harness::{Client, Config, Model, Server, free_port};
use crate::tls;

/// How much memory a process may have, in octets.
const MEMORY: u64 = 150_000_000;

/// A line in the log for each message that was queued, and each refusal.
const TERSE: &str = r#"
sub hook_deny {
    my ($self, $transaction, $plugin, $level, $text) = @_;
    return DECLINED if $level == DENY && $plugin eq 'naughty';
    return $self->line($plugin, $level, $text);
}
sub hook_queue { return $_[0]->line('queued', 0, '') }
sub line {
    my ($self, @what) = @_;
    my $transaction = $self->transaction;
    my $from = $transaction && $transaction->sender ? $transaction->sender->format : '-';
    $self->log(LOGNOTICE, join "\t", '`', $self->connection->remote_ip, $from, @what);
    return DECLINED;
}
"#;

/// Which recipients the server behind has.
const USERS: &str = r#"
sub init { my ($self, $qp) = @_; $self->{_users} = {map { lc $_ => 1 } $qp->config('users')} }
sub hook_rcpt {
    my ($self, $transaction, $to) = @_;
    return DECLINED if $self->qp->connection->relay_client || $self->{_users}{ lc $to->user };
    return (DENY, 'no such user here');
}
"#;

const ENVIRONMENT: &str = "# templated\nRUNAS=nobody\nINSTANCES=40\nINSTANCES_PER_IP=\"5\"\n";

/// `-AUTH PLAIN` of ali @example.com with the password sesame.
const ALI: &str = "AUTH PLAIN AGFsaUBleGFtcGxlLmNvbQBzZXNhbWU=";

fn daemon(lists: [&str; 2], behind: &Server<'_>) -> Config {
    let queue = format!("queue/smtp-forward 127.0.0.1 {}", behind.port());
    let config = Config::new()
        .set("plugins", "hosts_allow\npeers\ntls certs {work}/ssl")
        .set("plugin_dirs", "{work}/plugins\n/usr/share/qpsmtpd/plugins")
        .set("logging", "logging/warn LOGINFO")
        .set("tls_before_auth", "1")
        .set("flat_auth_pw", "ali@example.com:sesame")
        .set("users", "b\nc")
        .set("relayclients", "127.0.0.3");
    for folder in ["plugins", "config/peers", "ssl", "run"] {
        fs::create_dir(config.path(folder)).unwrap();
    }
    if let Some(user) = unprivileged() {
        let (user, group) = (user.uid.as_raw(), user.gid.as_raw());
        std::os::unix::fs::chown(config.path("run"), Some(user), Some(group)).unwrap();
    }
    tls::make(&config, "default", "mail.test");
    fs::write(config.path("plugins/terse"), TERSE).unwrap();
    fs::write(config.path("plugins/users"), USERS).unwrap();
    for (name, list) in ["0", "local"].into_iter().zip(lists) {
        config.write(&format!("peers/{name}"), &format!("{list}\nterse\n{queue}"));
    }
    symlink("local", config.path("config/peers/127.0.0.3")).unwrap();
    symlink("0", config.path("config/peers/127.0.0.1")).unwrap();
    config
}

fn unit<'a>(
    config: &'a Config,
    kind: Type,
    kill_mode: KillMode,
    model: Model,
    port: u16,
) -> Unit<'a> {
    let program = model.program();
    let limits = match model {
        Model::Forkserver => "-c $INSTANCES -m $INSTANCES_PER_IP",
        _ => "--children $INSTANCES --max-from-ip $INSTANCES_PER_IP",
    };
    let mut exec_start = format!("{program} {limits} --listen-address 127.0.0.1 --port {port}");
    if unprivileged().is_some() {
        exec_start += " --user $RUNAS";
    }
    if kind == Type::Forking {
        exec_start += &format!(" --detach --pid-file {}", config.path("run/daemon.pid").display());
    }
    Unit { config, kind, kill_mode, environment: ENVIRONMENT, exec_start, memory: MEMORY }
}

/// A message in the clear from 127.0.0.`last`; the last reply to a recipient.
fn send(unit: &manager::Started<'_>, last: u8, to: &str) -> String {
    let stream = connect_from(Ipv4Addr::new(127, 0, 0, last), unit.address());
    let mut client = Client::new(stream, &unit.log);
    client.hello();
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.say(&format!("RCPT TO:<{to}>"));
    let reply = client.reply();
    if reply.lines[0].starts_with("250") {
        client.ask("DATA", "354");
        client.ask("Subject: x\r\n\r\ntext\r\n.", "250");
    }
    client.quit();
    reply.lines[0].clone()
}

/// A message from 127.0.0.1 to any domain, under TLS and with a password.
fn submit(unit: &manager::Started<'_>, config: &Config, by_command: bool) {
    let stream = TcpStream::connect(unit.address()).unwrap();
    if by_command {
        tls::starttls(&stream, "");
    }
    let mut client = tls::Client::new(stream, &tls::believer(config), "mail.test");
    if !by_command {
        assert!(client.reply().starts_with("220"));
    }
    for (line, code) in [
        ("EHLO client.test", "250"),
        ("MAIL FROM:<ali@example.com>", "250"),
        ("RCPT TO:<b@elsewhere.example>", "550"),
        ("RSET", "250"),
        (ALI, "235"),
        ("MAIL FROM:<ali@example.com>", "250"),
        ("RCPT TO:<b@elsewhere.example>", "250"),
        ("DATA", "354"),
        ("Subject: x\r\n\r\ntext\r\n.", "250"),
        ("QUIT", "221"),
    ] {
        let reply = client.ask(line);
        assert!(reply.starts_with(code), "{line}: {reply}\n{}", unit.log.tail());
    }
}

#[test]
fn three_daemons_start_serve_reload_and_stop() {
    if !need("qpsmtpd") {
        return;
    }
    let behind = Config::new().set("plugins", "relay only 1\nqueue/maildir {work}/Maildir");
    let behind = behind.set("relayclients", "127.0.0.0/8");
    let mail_server = Server::start(&behind, Model::Prefork);

    let outside = "count_unrecognized_commands 4\ncheck_relay\nbadmailfrom\nhelo policy lenient\n\
                   auth/auth_flat_file\nusers\nrcpt_ok";
    let known = "relay\nusers\nrcpt_ok";
    let smtp = daemon([outside, known], &mail_server);
    let submission = daemon([outside, known], &mail_server);
    let smtps = daemon([outside, known], &mail_server);
    let port = free_port();
    smtps.write("tls_ports", &port.to_string());

    for (kinds, model) in [
        ([Type::Simple, Type::Forking, Type::Notify], Model::Forkserver),
        ([Type::Notify, Type::Simple, Type::Forking], Model::Prefork),
    ] {
        let modes = [KillMode::ControlGroup, KillMode::Mixed, KillMode::ControlGroup];
        let units = [(&smtp, 0), (&submission, 0), (&smtps, port)];
        let units: Vec<_> =
            (0..3).map(|at| unit(units[at].0, kinds[at], modes[at], model, units[at].1)).collect();
        // The second time round each start has what the first left behind.
        for _ in 0..2 {
            let started: Vec<_> = units.iter().map(Unit::start).collect();
            let [first, second, third] = &started[..] else { unreachable!() };

            assert!(send(first, 1, "b@example.com").starts_with("250"));
            assert!(send(first, 1, "d@example.com").contains("no such user here"));
            assert!(send(first, 1, "b@elsewhere.example").starts_with("550"));
            assert!(send(first, 3, "d@elsewhere.example").starts_with("250"));
            first.log.wait_for("terse: `\t127.0.0.1\t<a@example.net>\tusers\t");
            first.log.wait_for("native plugins are used instead of known Perl files");
            submit(second, &submission, true);
            submit(third, &smtps, false);
            assert_eq!(behind.take_mails().len(), 4);

            for (unit, config) in started.iter().zip([&smtp, &submission, &smtps]) {
                config.write("users", "b\nc\nd");
                unit.reload();
                unit.log.wait_for("the configuration was read again");
            }
            assert!(send(first, 1, "d@example.com").starts_with("250"));
            submit(second, &submission, true);
            submit(third, &smtps, false);
            assert_eq!(behind.take_mails().len(), 3);

            for (unit, config) in started.into_iter().zip([&smtp, &submission, &smtps]) {
                config.write("users", "b\nc");
                unit.stop().unwrap();
            }
        }
    }
    mail_server.stop().unwrap();
}
