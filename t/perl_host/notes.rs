//! Notes of every kind, between Perl and native plugins.

use super::{PROBE, ask, asks, config};
use crate::harness::{Model, Server};

const SETTER: &str = r#"
my %values = (
    text => "a b", zero => 0, empty => '', nothing => undef, list => [1, [2, undef]],
    map => {a => {b => 'c'}, d => []}, utf8 => "gr\x{fc}n \x{263a}", code => sub { "called @_" },
    object => bless({size => 4}, 'Some::Class'), mixed => {kept => 1, code => sub { 1 }},
);
sub do_set {
    my ($self, $transaction, $where) = @_;
    my $owner = $where eq 'connection' ? $self->connection : $transaction;
    $owner->notes($_, $values{$_}) for keys %values;
    return 'set';
}
sub do_note { my ($self, $transaction, $name, $value) = @_; $self->connection->notes($name, $value) }
sub do_mark { my ($self, $transaction, $name, $value) = @_; $transaction->notes($name, $value) }
sub do_end { kill KILL => $$ }
"#;

const READER: &str = r#"
sub do_show {
    my ($self, $transaction, $where, @names) = @_;
    my $owner = $where eq 'connection' ? $self->connection : $transaction;
    return map { shown($owner->notes($_)) } @names;
}
sub do_call { $_[0]->connection->notes('code')->($_[0]->connection->notes('object')->{size}) }
sub do_remove { delete $_[0]->connection->{_notes}{$_[2]}; 'gone' }
"#;

fn notes(more: &str) -> crate::harness::Config {
    let lines = format!("setter\nreader\n{more}\nrcpt_ok\nqueue/maildir {{work}}/Maildir");
    config(&lines, &[("setter", &[PROBE, SETTER].concat()), ("reader", &[PROBE, READER].concat())])
}

/// In one process plugins share whatever they like; a process that comes in the place of one that
/// was killed knows what the worker knows: all that is data.
#[test]
fn notes_are_shared_and_data_outlives_the_perl_process() {
    let config = notes("");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    super::helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    for owner in ["connection", "transaction"] {
        asks(&mut client, &[(&format!("NOOP set {owner}"), "250 set")]);
    }
    asks(&mut client, &[("NOOP call", "250 called 4")]);
    let objects = "NOOP show connection object";
    asks(&mut client, &[(objects, r#"250 bless( {"size" => 4}, 'Some::Class' )"#)]);
    let data = "text zero empty nothing list map";
    let shown = r#"250 "a b" 0 "" undef [1,[2,undef]] {"a" => {"b" => "c"},"d" => []}"#;
    for owner in ["connection", "transaction"] {
        asks(&mut client, &[(&format!("NOOP show {owner} {data}"), shown)]);
    }
    assert_eq!(ask(&mut client, "NOOP end"), "451 Internal error - try again later");
    for owner in ["connection", "transaction"] {
        asks(&mut client, &[(&format!("NOOP show {owner} {data}"), shown)]);
    }
    asks(
        &mut client,
        &[
            ("NOOP show connection object code", "250 undef undef"),
            ("NOOP show connection mixed", r#"250 {"code" => undef,"kept" => 1}"#),
            ("NOOP show transaction utf8", r#"250 "gr\303\274n \342\230\272""#),
        ],
    );
    client.quit();
    server.stop().unwrap();
}

#[test]
fn notes_can_be_taken_back() {
    let config = notes("");
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    super::helo(&mut client);
    asks(
        &mut client,
        &[
            ("NOOP note seen 1", "250 1"),
            ("NOOP remove seen", "250 gone"),
            ("NOOP show connection seen", "250 undef"),
            ("NOOP note seen 2", "250 2"),
            ("NOOP note seen", "250 undef"),
            ("NOOP end", "451 Internal error - try again later"),
            ("NOOP show connection seen", "250 undef"),
        ],
    );
    client.quit();
    server.stop().unwrap();
}

/// One worker serves one session after another: nothing is left of the one before.
#[test]
fn notes_end_with_their_session_and_transaction() {
    let config = notes("");
    let one = ["--children", "1", "--idle-children", "1"];
    let server = Server::start_with(&config, Model::Prefork, &one);
    for _ in 0..3 {
        let mut client = server.connect();
        super::helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        asks(
            &mut client,
            &[
                ("NOOP show connection mine object", "250 undef undef"),
                ("NOOP show transaction mine object", "250 undef undef"),
                ("NOOP set connection", "250 set"),
                ("NOOP set transaction", "250 set"),
                ("NOOP note mine 1", "250 1"),
                ("NOOP mark mine 2", "250 2"),
                ("NOOP show transaction mine", "250 2"),
                ("RSET", "250 OK"),
                (
                    "MAIL FROM:<a@example.net>",
                    "250 <a@example.net>, sender OK - how exciting to get mail from you!",
                ),
                ("NOOP show transaction mine object", "250 undef undef"),
                ("NOOP show connection mine", "250 1"),
            ],
        );
        client.quit();
    }
    server.stop().unwrap();
}

/// What a Perl plugin notes, native plugins read, and the other way round.
#[test]
fn notes_go_between_perl_and_native_plugins() {
    let config = notes("queue/discard note drop_it\ncount_unrecognized_commands 4\nnaughty");
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    super::helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    asks(&mut client, &[("NOOP mark drop_it 1", "250 1")]);
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\n.", "250");
    assert!(config.mails().is_empty());
    client.ask("ODD", "500");
    client.ask("ODDER", "500");
    asks(&mut client, &[("NOOP show connection unrec_cmd_count", "250 2")]);
    asks(&mut client, &[("NOOP note naughty nonono", "250 nonono")]);
    client.ask("MAIL FROM:<a@example.net>", "250");
    let refused = ask(&mut client, "RCPT TO:<b@example.com>");
    assert!(refused.contains("nonono"), "{refused}");
    drop(client);
    server.stop().unwrap();
}

const WARDEN: &str = r#"
sub hook_data_post {
    my ($self, $transaction) = @_;
    my $subject = $transaction->header->get('Subject');
    $transaction->notes(quarantine => 'warden: odd') if $subject =~ /odd/;
    $transaction->notes(quarantine => undef) if $subject =~ /pardon/;
    return OK;
}
sub hook_queue {
    my ($self, $transaction) = @_;
    $transaction->header->replace('X-Seen', $transaction->notes('quarantine') || 'nothing');
    return DECLINED;
}
"#;

/// The note is the quarantine: the core writes the field, and native queues go by it.
#[test]
fn perl_plugins_put_messages_in_quarantine_and_see_it() {
    let plugins = "warden\nrcpt_ok\nqueue/maildir {work}/Maildir quarantine {work}/Apart";
    let config = config(plugins, &[("warden", WARDEN)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    super::helo(&mut client);
    for subject in ["odd", "fine", "odd but pardoned"] {
        client.envelope();
        let message = format!("Subject: {subject}\r\nx-quarantine: forged\r\n\r\n.");
        client.ask(&message, "250");
    }
    client.quit();
    server.stop().unwrap();
    let taken = |folder: &str| {
        let mut texts: Vec<String> = std::fs::read_dir(config.path(folder))
            .unwrap()
            .map(|mail| std::fs::read_to_string(mail.unwrap().path()).unwrap())
            .collect();
        texts.sort_by_key(String::len);
        texts
    };
    let apart = taken("Apart/new");
    assert_eq!(apart.len(), 1);
    assert!(apart[0].contains("\nX-Quarantine: warden: odd\n"), "{}", apart[0]);
    assert!(apart[0].contains("\nX-Seen: warden: odd\n"), "{}", apart[0]);
    let usual = taken("Maildir/new");
    assert_eq!(usual.len(), 2);
    for mail in apart.iter().chain(&usual) {
        assert!(!mail.contains("forged"), "{mail}");
    }
    for mail in usual {
        assert!(!mail.contains("X-Quarantine") && mail.contains("X-Seen: nothing"), "{mail}");
    }
}
