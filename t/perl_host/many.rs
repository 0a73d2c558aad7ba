//! Many messages.

use super::{config, helo};
use crate::harness::{Config, Log, Model, Server};

const COUNT: &str = r#"
sub hook_rcpt { my ($self, $t, $to) = @_; $t->notes(asked => ($t->notes('asked') || 0) + 1); return DECLINED }
sub hook_queue { my ($self) = @_; $self->connection->notes(queued => ($self->connection->notes('queued') || 0) + 1); return DECLINED }
"#;
const MARK: &str = r#"
sub hook_data_post {
    my ($self, $t) = @_;
    my @to = $t->recipients;
    $t->header->add('X-Asked', $t->notes('asked') . ' of ' . @to);
    $t->header->add('X-Queued', $self->connection->notes('queued') || 0);
    return DECLINED;
}
"#;
const READ: &str = r#"
sub hook_data_post {
    my ($self, $t) = @_;
    my $lines = 0;
    $t->body_resetpos;
    $lines++ while defined $t->body_getline;
    my $dir = $self->temp_dir;
    $t->header->add('X-Lines', $lines);
    return -d $dir ? DECLINED : DENY;
}
"#;

/// Changes the first recipient when the message has come, without a word to anybody.
const FIRST: &str = r#"
sub hook_data_post { my ($self, $t) = @_; ($t->recipients)[0]->{_user} = 'changed'; return DECLINED }
"#;

/// Clients at the same time, sessions of each, messages of a session.
const LOAD: (usize, usize, usize) = (4, 8, 10);

#[test]
fn many_messages_pass_through_three_perl_plugins() {
    let lines = "count\nmark\nread\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("count", COUNT), ("mark", MARK), ("read", READ)]);
    let config = config.set("logging", "logging/warn LOGWARN");
    let server = Server::start(&config, Model::Prefork);
    let address = server.addresses(1)[0];
    let (clients, sessions, messages) = LOAD;
    std::thread::scope(|scope| {
        for client in 0..clients {
            let log = server.log().clone();
            scope.spawn(move || {
                (0..sessions).for_each(|one| session(address, &log, client * sessions + one))
            });
        }
    });
    let mails = config.take_mails();
    assert_eq!(mails.len(), clients * sessions * messages);
    for mail in mails {
        let text = String::from_utf8(mail).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name}: {text}")).parse::<usize>()
        };
        // Each message says what it has to be like.
        let number = field("Subject").unwrap();
        assert_eq!(field("X-Lines").unwrap(), 2 + number % 7, "{text}");
        assert_eq!(field("X-Queued").unwrap(), number % messages, "{text}");
        let asked = 1 + number % 3;
        assert!(text.contains(&format!("\nX-Asked: {asked} of {asked}\n")), "{text}");
    }
    nothing_open(&config);
    server.stop().unwrap();
}

/// One more recipient costs little, however many there are already.
#[test]
fn a_message_may_have_thousands_of_recipients() {
    const ALL: usize = 5000;
    let lines = "count\nfirst\nmark\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("count", COUNT), ("first", FIRST), ("mark", MARK)]);
    let config = config.set("logging", "logging/warn LOGWARN").set("max_recipients", "0");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    for hundred in 0..ALL / 100 {
        let lines =
            (0..100).map(|one| format!("RCPT TO:<u{}@example.com>\r\n", hundred * 100 + one));
        client.send_raw(lines.collect::<String>().as_bytes());
        (0..100).for_each(|_| drop(client.expect("250")));
    }
    let used = seconds_used(&config);
    assert!(used < 12, "{used} s of processor time");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\ntext\r\n.", "250");
    client.quit();
    let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
    assert!(mail.contains(&format!("\nX-Asked: {ALL} of {ALL}\n")), "{mail}");
    assert!(mail.contains("\nDelivered-To: changed@example.com\n"));
    assert_eq!(mail.matches("\nDelivered-To: u").count(), ALL - 1);
    server.stop().unwrap();
}

fn session(address: std::net::SocketAddr, log: &Log, number: usize) {
    let mut client = crate::harness::Client::connect(address, log);
    helo(&mut client);
    let messages = LOAD.2;
    for number in (number * messages..).take(messages) {
        client.ask("MAIL FROM:<a@example.net>", "250");
        for user in 0..=number % 3 {
            client.ask(&format!("RCPT TO:<u{user}@example.com>"), "250");
        }
        client.ask("DATA", "354");
        let lines = "a line\r\n".repeat(1 + number % 7);
        client.ask(&format!("Subject: {number}\r\n\r\n{lines}."), "250");
    }
    client.quit();
}

/// The processor time that all processes have used.
fn seconds_used(config: &Config) -> i64 {
    let ticks = |pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<i64> =
            stat.rsplit_once(") ")?.1.split(' ').filter_map(|field| field.parse().ok()).collect();
        // utime and stime, behind the state, which is no number.
        Some(fields.get(10)? + fields.get(11)?)
    };
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    config.processes().into_iter().filter_map(ticks).sum::<i64>() / second
}

/// No process has a file of the spool open that is gone.
fn nothing_open(config: &Config) {
    for pid in config.processes() {
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for target in open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()) {
            assert!(!target.starts_with(config.path("spool")), "{pid} has {target:?}");
        }
    }
}
