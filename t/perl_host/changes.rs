//! What plugins change: the message, the chain, the header section.

use super::{PROBE, ask, asks, config, helo};
use crate::harness::{Client, Model, Server};

const WRITER: &str = r#"
my %ways = (
    name => sub {
        my ($t) = @_;
        open my $file, '+<', $t->body_filename or die;
        my $text = do { local $/; <$file> };
        $text =~ s/old/brand new/;
        seek $file, 0, 0;
        print {$file} $text;
        close $file;
    },
    renamed => sub {
        my ($t) = @_;
        my $path = $t->body_filename;
        open my $file, '>', "$path.new" or die;
        print {$file} "X-Longer: than before\nSubject: x\n\nall is new\n";
        close $file;
        rename "$path.new", $path or die;
    },
    handle => sub {
        my ($t) = @_;
        $t->body_resetpos;
        my $file = $t->body_fh;
        print {$file} "\nNEW text\n";
    },
    same_size => sub {
        my ($t) = @_;
        $t->body_resetpos;
        print { $t->body_fh } "\nOLD";
    },
    added => sub { $_[0]->body_write("one line more\n") },
    array => sub { $_[0]{_body_array}[-1] = "last line\n" },
    pushed => sub { push @{ $_[0]{_body_array} }, "no end" },
    start => sub {
        my ($t) = @_;
        my $file = $t->body_fh;
        seek $file, 0, 0;
        print {$file} "Subject: shorter\n\n";
        seek $file, -1, 1;
        $t->set_body_start;
        $t->body_getline;
        print {$file} "text\n";
        truncate $file, tell $file;
    },
    nothing => sub { my ($t) = @_; $t->body_as_string; $t->body_filename },
);
sub hook_data_post {
    my ($self, $t) = @_;
    my $way = $t->notes('way') or return DECLINED;
    $ways{$way}->($t);
    $self->connection->notes(seen => $t->body_as_string);
    return DECLINED;
}
sub do_way { $_[1]->notes(way => $_[2]) }
sub do_seen { shown($_[0]->connection->notes('seen')) }
"#;

/// Sends a message with two lines of text.
fn send(client: &mut Client, prepare: &str) {
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask(prepare, "250");
    client.ask("DATA", "354");
    client.ask("Subject: x\r\n\r\nold text\r\nend\r\n.", "250");
}

/// What a plugin writes into the file of the message, by whatever way, native queues deliver.
#[test]
fn a_message_that_perl_plugins_change_is_queued_changed() {
    let text = [PROBE, WRITER].concat();
    let config = config("writer\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("writer", &text)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    for (way, want) in [
        ("name", "\nbrand new text\nend\n"),
        ("renamed", "\nall is new\n"),
        ("handle", "\nNEW text\nend\n"),
        ("same_size", "\nOLD text\nend\n"),
        ("added", "\nold text\nend\none line more\n"),
        ("array", "\nold text\nlast line\n"),
        ("pushed", "\nold text\nend\nno end\n"),
        ("start", "\ntext\n"),
        ("nothing", "\nold text\nend\n"),
    ] {
        send(&mut client, &format!("NOOP way {way}"));
        let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
        let (header, text) = mail.split_once("\n\n").unwrap();
        assert_eq!(format!("\n{text}"), want, "{way}");
        assert!(header.ends_with("Subject: x"), "{way}: {mail}");
    }
    client.quit();
    server.stop().unwrap();
}

const HEADERS: &str = r#"
package Some::Header;
sub as_string { return join '', @{ $_[0] } }
package Qpsmtpd::Plugin::headers;
sub hook_data_post {
    my ($self, $t) = @_;
    my $way = $t->notes('way') or return DECLINED;
    my $header = $t->header;
    $t->header($header) if $way eq 'same';
    $header->add('X-More', 'yes'), $t->header($header) if $way eq 'changed';
    $t->header($header->dup) if $way eq 'copy';
    $t->header(bless ["Subject: other\n", "X-A: b\n\tc\n"], 'Some::Header') if $way =~ /^other/;
    return DECLINED;
}
sub hook_queue_pre {
    my ($self, $t) = @_;
    push @{ $t->header }, "X-Late: yes\n" if ($t->notes('way') || '') eq 'other_late';
    return DECLINED;
}
sub do_way { $_[1]->notes(way => $_[2]) }
"#;

#[test]
fn header_objects_can_be_set() {
    let text = [PROBE, HEADERS].concat();
    let config = config("headers\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("headers", &text)]);
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    helo(&mut client);
    for (way, want) in [
        ("same", "\nSubject: x"),
        ("copy", "\nSubject: x"),
        ("changed", "\nSubject: x\nX-More: yes"),
        ("other", "\nSubject: other\nX-A: b\n\tc"),
        ("other_late", "\nSubject: other\nX-A: b\n\tc\nX-Late: yes"),
    ] {
        send(&mut client, &format!("NOOP way {way}"));
        let mail = String::from_utf8(config.take_mails().remove(0)).unwrap();
        assert!(mail.contains(&format!("{want}\n\nold text\n")), "{way}: {mail}");
    }
    client.quit();
    server.stop().unwrap();
}

const LATE: &str = r#"
sub hook_mail {
    my ($self, $t, $from) = @_;
    my $user = $from->user;
    $self->register_hook('rcpt', 'late') if $user eq 'late';
    $self->register_hook('vrfy', 'verify', 1) if $user eq 'late';
    unshift @{ $self->qp->hooks->{rcpt} }, {name => 'x', code => sub { (DENY, 'first of all') }} if $user eq 'first';
    $self->qp->hooks->{rcpt} = [] if $user eq 'none';
    push @{ $self->qp->hooks('mail') }, {name => 'x', code => sub { (DENY, 'not this time') }} if $user eq 'self';
    return DECLINED;
}
sub hook_rcpt { my ($self, $t, $to) = @_; return $to->user eq 'no' ? (DENY, 'early no') : DECLINED }
sub late {
    my ($self, $t, $to) = @_;
    $self->log(LOGINFO, 'I am late for ' . $to->user);
    return $to->user eq 'never' ? (DENY, 'late no') : DECLINED;
}
sub verify { return (OK, 'verified late') }
"#;

/// Handlers that come later run from then on in their process, and those that go do not.
#[test]
fn handlers_come_and_go() {
    let config = config("late\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("late", LATE)]);
    config.write("loglevel", "6");
    let server = Server::start(&config, Model::Forkserver);
    let session = |from: &str| {
        let mut client = server.connect();
        helo(&mut client);
        client.ask(&format!("MAIL FROM:<{from}@example.net>"), "250");
        client
    };
    let mut client = session("late");
    asks(&mut client, &[("RCPT TO:<no@example.com>", "550 early no")]);
    // rcpt_ok, which is native, decides first.
    client.ask("RCPT TO:<never@example.com>", "250");
    asks(&mut client, &[("VRFY x", "250 verified late")]);
    client.quit();
    let mut client = session("first");
    asks(&mut client, &[("RCPT TO:<b@example.com>", "550 first of all")]);
    client.quit();
    let mut client = session("none");
    client.ask("RCPT TO:<no@example.com>", "250");
    client.quit();
    let mut client = session("self");
    client.ask("RCPT TO:<b@example.com>", "250");
    client.ask("RSET", "250");
    asks(&mut client, &[("MAIL FROM:<b@example.net>", "550 not this time")]);
    client.quit();
    let mut client = session("plain");
    asks(&mut client, &[("RCPT TO:<no@example.com>", "550 early no")]);
    assert!(ask(&mut client, "VRFY x").starts_with("252"));
    client.quit();
    server.stop().unwrap();
}

/// In the manner of a plugin of SME Server: all other plugins are chosen by the client's address.
const BY_CLIENT: &str = r#"
sub hook_connect {
    my ($self) = @_;
    my $qp = $self->qp;
    my $list = 'peers/' . ($self->connection->remote_ip eq '127.0.0.1' ? 'local' : 0);
    my $hooks = $qp->hooks;
    delete $hooks->{$_} for grep { $_ ne 'logging' && $_ ne 'connect' } keys %$hooks;
    $qp->_load_plugin($_, $qp->plugin_dirs) for $qp->config($list);
    return DECLINED;
}
sub hook_rcpt { return (DENY, 'must be gone') }
"#;

const TAKES: &str = r#"
sub register {
    my ($self, $qp, @domains) = @_;
    $self->{_domains} = {map { $_ => 1 } @domains};
}
sub hook_rcpt {
    my ($self, $t, $to) = @_;
    $self->log(LOGNOTICE, 'asked');
    return $self->{_domains}{ $to->host } ? OK : (DENY, join ' ', 'not', sort keys %{ $self->{_domains} });
}
sub hook_auth_plain { return (OK, 'by list') }
"#;

const QUEUES: &str = "sub hook_queue { return (OK, 'queued by list') }\n";

#[test]
fn a_plugin_chooses_plugins_by_client() {
    let config =
        config("by_client", &[("by_client", BY_CLIENT), ("takes", TAKES), ("queues", QUEUES)]);
    std::fs::create_dir(config.path("config/peers")).unwrap();
    config.write("peers/local", "takes example.com local.test\nqueues");
    config.write("peers/0", "takes example.com\nqueues");
    let server = Server::start(&config, Model::Forkserver);
    for (last, other) in [(1, "250"), (2, "550 5.7.1 not example.com")] {
        let mut client = server.connect_from(std::net::Ipv4Addr::new(127, 0, 0, last));
        client.expect("220");
        let hello = client.ask("EHLO client.test", "250").lines.join("|");
        assert!(hello.contains("AUTH") && hello.contains("PLAIN"), "{hello}");
        client.ask("MAIL FROM:<a@example.net>", "250");
        let reply = ask(&mut client, "RCPT TO:<b@local.test>");
        assert!(reply.starts_with(other), "{reply}");
        client.ask("RCPT TO:<b@example.com>", "250");
        client.ask("DATA", "354");
        let reply = client.ask("Subject: x\r\n\r\ntext\r\n.", "250").lines.join("|");
        assert!(reply.contains("queued by list"), "{reply}");
        client.quit();
    }
    server.log().wait_for("takes: asked");
    server.stop().unwrap();
}
