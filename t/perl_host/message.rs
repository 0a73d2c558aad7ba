//! The connection, the envelope, the message.

use std::fs;

use super::{PROBE, asks, config, helo};
use crate::harness::{Model, Server};

const ENVELOPE: &str = r#"
use Qpsmtpd::Address;
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    my $user = $recipient->user;
    $transaction->add_recipient(Qpsmtpd::Address->new('<copy@example.com>')) if $user eq 'adds';
    $transaction->remove_recipient(Qpsmtpd::Address->new('<first@example.com>')) if $user eq 'removes';
    $transaction->set_recipients(Qpsmtpd::Address->new('<only@example.com>')) if $user eq 'replaces';
    $recipient->user('changed') if $user eq 'changes';
    $recipient->host('example.com') if $recipient->host eq 'elsewhere.test';
    $recipient->notes('seen', ($recipient->notes('seen') || 0) + 1);
    return DECLINED;
}
sub hook_mail {
    my ($self, $transaction, $sender) = @_;
    $sender->user('mended') if $sender->user eq 'broken';
    return DECLINED;
}
sub do_envelope { my ($self, $t) = @_; return ($t->sender, $t->recipients) }
sub do_sender { my ($self, $t, $to) = @_; $t->sender(Qpsmtpd::Address->new($to)); 'set' }
sub do_notes { my ($self, $t) = @_; map { $_->notes('seen') } $t->recipients }
sub do_end { kill KILL => $$ }
"#;

/// What a Perl plugin does to the envelope holds in the worker: the Perl process that comes after
/// one that was killed is told of it.
#[test]
fn perl_plugins_change_the_envelope() {
    let envelope = [PROBE, ENVELOPE].concat();
    let config =
        config("envelope\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("envelope", &envelope)]);
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    helo(&mut client);
    let dead = "451 Internal error - try again later";
    let exciting =
        |path: &str| format!("250 {path}, sender OK - how exciting to get mail from you!");
    let rcpt = |user: &str| {
        (format!("RCPT TO:<{user}@example.com>"), format!("250 <{user}@example.com>, recipient ok"))
    };
    asks(&mut client, &[("MAIL FROM:<broken@example.net>", &exciting("<mended@example.net>"))]);
    for user in ["first", "second", "adds", "removes"] {
        let (line, reply) = rcpt(user);
        asks(&mut client, &[(&line, &reply)]);
    }
    asks(
        &mut client,
        &[
            ("RCPT TO:<changes@example.com>", "250 <changed@example.com>, recipient ok"),
            ("RCPT TO:<x@elsewhere.test>", "250 <x@example.com>, recipient ok"),
            ("NOOP notes", "250 1 undef 1 1 1 1"),
        ],
    );
    let all = "250 <mended@example.net> <second@example.com> <copy@example.com> <adds@example.com> \
        <removes@example.com> <changed@example.com> <x@example.com>";
    asks(&mut client, &[("NOOP envelope", all), ("NOOP end", dead), ("NOOP envelope", all)]);
    asks(&mut client, &[("NOOP sender <other@example.net>", "250 set"), ("NOOP end", dead)]);
    let (line, reply) = rcpt("replaces");
    asks(
        &mut client,
        &[
            (&line, &reply),
            ("NOOP end", dead),
            ("NOOP envelope", "250 <other@example.net> <only@example.com> <replaces@example.com>"),
        ],
    );
    client.quit();
    server.stop().unwrap();
}

const CONNECTION: &str = r#"
sub do_get { my ($self, $t, @names) = @_; return map { $self->connection->$_ } @names }
sub do_put { my ($self, $t, $name, $value) = @_; $self->connection->$name($value) }
sub do_end { kill KILL => $$ }
"#;

#[test]
fn perl_plugins_change_the_connection() {
    let text = [PROBE, CONNECTION].concat();
    let config =
        config("connection\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("connection", &text)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    let dead = ("NOOP end", "451 4.3.0 Internal error - try again later");
    asks(
        &mut client,
        &[
            (
                "NOOP get remote_ip local_ip hello hello_host relay_client",
                "250 127.0.0.1 127.0.0.1 helo client.test undef",
            ),
            (
                "MAIL FROM:<a@example.net>",
                "250 <a@example.net>, sender OK - how exciting to get mail from you!",
            ),
            ("RCPT TO:<b@far.test>", "550 Relaying denied (#5.7.1)"),
            ("NOOP put relay_client 1", "250 1"),
            ("RCPT TO:<b@far.test>", "250 <b@far.test>, recipient ok"),
            ("NOOP put relay_client 0", "250 0"),
            ("RCPT TO:<b@far.test>", "550 Relaying denied (#5.7.1)"),
            ("NOOP put remote_ip 192.0.2.7", "250 192.0.2.7"),
            ("NOOP put remote_host far.test", "250 far.test"),
            ("NOOP put hello_host me.test", "250 me.test"),
            ("NOOP put hello ehlo", "250 2.0.0 ehlo"),
            dead,
            (
                "NOOP get remote_ip remote_host hello hello_host",
                "250 2.0.0 192.0.2.7 far.test ehlo me.test",
            ),
            ("RCPT TO:<b@example.com>", "250 2.1.5 <b@example.com>, recipient ok"),
        ],
    );
    drop(client);
    server.stop().unwrap();
}

const EDITOR: &str = r#"
sub hook_data_post {
    my ($self, $transaction) = @_;
    my $header = $transaction->header;
    $header->add('X-Last', 'last');
    $header->add('X-First', 'first', 0);
    $header->add('X-Second', 'second', 1);
    $header->replace('Subject', 'changed');
    $header->delete('X-Gone');
    $header->replace('X-Twice', 'two', 1);
    $self->connection->notes(subject => $header->get('Subject'));
    return DECLINED;
}
"#;

#[test]
fn perl_plugins_edit_the_header() {
    let config = config("editor\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("editor", EDITOR)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.envelope();
    let message = "Subject:  as\r\n\tsent\r\nX-Gone: 1\r\nX-Twice: 1\r\nX-Gone: 2\r\nX-Twice: 2\r\nKept:as it\r\n  was\r\n\r\nbody\r\n.";
    client.ask(message, "250");
    client.quit();
    server.stop().unwrap();
    let mail = String::from_utf8(config.mails().remove(0)).unwrap();
    let (before, after) = mail.split_once(" by mail.test").unwrap();
    let after = after.split_once('\n').unwrap().1;
    let top = "Return-Path: <a@example.net>\nDelivered-To: b@example.com\nX-First: first\nX-Second: second\n\
        Authentication-Results: mail.test; auth=none\nReceived: from localhost (HELO client.test) (127.0.0.1)\n";
    let rest =
        "Subject: changed\nX-Twice: 1\nX-Twice: two\nKept:as it\n  was\nX-Last: last\n\nbody\n";
    assert_eq!((before, after), (top, rest));
}

const READER: &str = r#"
sub hook_data_post {
    my ($self, $t) = @_;
    my @seen;
    my $see = sub { push @seen, map { my $line = $_; $line =~ s/\n/~/g; $line } @_ };
    $see->(scalar $t->body_getline, scalar $t->body_getline);
    $t->body_resetpos;
    $see->(scalar $t->body_getline);
    $see->($t->body_as_string);
    my $fh = $t->body_fh;
    $t->body_resetpos;
    $see->(join '', <$fh>);
    open my $file, '<', $t->body_filename or die "body_filename: $!";
    $see->(join '', <$file>);
    $see->($t->data_size, $t->body_size, $t->body_length);
    my ($own, $dir) = ($self->temp_file, $self->temp_dir);
    open my $out, '>', $own or die "temp_file: $!";
    print {$out} 'x';
    close $out;
    open my $inner, '>', "$dir/inner" or die "temp_dir: $!";
    $self->connection->notes(temporary => [$own, $dir, $t->body_filename]);
    $see->(-s $own, (stat $dir)[2] & 07777, index($own, $self->spool_dir));
    $t->body_write("a footer\n") if $t->notes('footer');
    $see->($t->data_size, $t->body_as_string) if $t->notes('footer');
    open my $trace, '>>', '{work}/Maildir/seen' or die "seen: $!";
    print {$trace} map { "$_\n" } @seen;
    return DECLINED;
}
sub do_footer { $_[1]->notes(footer => 1) }
sub do_left { my ($self) = @_; return scalar grep { -e } @{ $self->connection->notes('temporary') } }
"#;

#[test]
fn perl_plugins_read_the_message_and_add_to_it() {
    let text = [PROBE, READER].concat();
    let config = config("reader\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("reader", &text)]);
    for threshold in ["0", "5"] {
        config.write("size_threshold", threshold);
        let server = Server::start(&config, Model::Prefork);
        let mut client = server.connect();
        helo(&mut client);
        for footer in [false, true] {
            client.ask("MAIL FROM:<a@example.net>", "250");
            client.ask("RCPT TO:<b@example.com>", "250");
            if footer {
                asks(&mut client, &[("NOOP footer", "250 1")]);
            }
            client.ask("DATA", "354");
            client.ask("Subject: x\r\nTo: y\r\n\r\n..dot\r\n\r\nlast\r\n.", "250");
            asks(&mut client, &[("NOOP left", "250 0")]);
            let mut mails = config.take_mails();
            let mail = String::from_utf8(mails.remove(0)).unwrap();
            let end = if footer { "\n\n.dot\n\nlast\na footer\n" } else { "\n\n.dot\n\nlast\n" };
            assert!(mail.ends_with(end), "{mail}");
            let seen = fs::read_to_string(config.path("Maildir/seen")).unwrap();
            fs::remove_file(config.path("Maildir/seen")).unwrap();
            let body = "~.dot~~last~";
            let mut want = vec![
                "~",
                ".dot~",
                "~",
                body,
                body,
                "Subject: x~To: y~~.dot~~last~",
                "29",
                "29",
                "12",
                "1",
                "448",
                "0",
            ];
            if footer {
                want.extend(["38", "~.dot~~last~a footer~"]);
            }
            assert_eq!(seen.lines().collect::<Vec<_>>(), want);
        }
        client.quit();
        server.stop().unwrap();
    }
}

/// Reads the message in front of the filter and behind it.
const LOOKS: &str = r#"
sub hook_data_post {
    my ($self, $t) = @_;
    my $subject = $t->header->get('Subject');
    chomp $subject;
    open my $trace, '>>', '{work}/Maildir/seen' or die "seen: $!";
    print {$trace} join(' ', $subject, grep { /\w/ } map { s/\s//gr } split /\n/, $t->body_as_string), "\n";
    return DECLINED;
}
"#;

/// Makes other words of the same length of two.
const SWAPS: &str = r#"#!/bin/sh
while IFS= read -r line && [ "$line" != "config|ready" ]; do :; done
printf '%s\n' "register|filter|smtp-in|data-line" "register|ready"
while IFS='|' read -r kind version time subsystem phase session token line; do
    case $line in
    "Subject: one") line="Subject: two" ;;
    black) line=white ;;
    esac
    printf '%s\n' "filter-dataline|$session|$token|$line"
done
"#;

#[test]
fn perl_plugins_see_the_message_that_a_filter_has_made_of_it() {
    let looks = [("look", LOOKS), ("look_again", LOOKS)];
    let config = config("look\nrcpt_ok\nqueue/maildir {work}/Maildir", &looks);
    let filter = config.program("swaps", SWAPS);
    let lines = format!("look\nfilter {}\nlook_again", filter.display());
    config.write("plugins", &format!("{lines}\nrcpt_ok\nqueue/maildir {{work}}/Maildir"));
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    for _ in 0..2 {
        client.envelope();
        client.ask("Subject: one\r\n\r\nblack\r\n.", "250");
        let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
        assert!(mail.ends_with("Subject: two\n\nwhite\n"), "{mail}");
    }
    client.quit();
    server.stop().unwrap();
    let seen = fs::read_to_string(config.path("Maildir/seen")).unwrap();
    assert_eq!(seen, "one black\ntwo white\n".repeat(2));
}

/// A process with one session alone frees no memory at its end, but files go.
#[test]
fn files_that_are_asked_for_after_the_last_transaction_go_too() {
    let text = "sub hook_post_connection { my ($self) = @_; my $file = $self->temp_file; \
        open my $out, '>', $file or die $!; mkdir $self->temp_dir . '/inner' or die $!; \
        $self->log(LOGINFO, \"made $file\"); return DECLINED }";
    for model in Model::ALL {
        let config = config("late\nrcpt_ok\nqueue/discard", &[("late", text)]);
        let server = Server::start(&config, model);
        let mut client = server.connect();
        helo(&mut client);
        client.quit();
        server.log().wait_for("made ");
        server.stop().unwrap();
        assert!(config.spool_left().is_empty(), "{model:?}: {:?}", config.spool_left());
    }
}
