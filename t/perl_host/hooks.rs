//! Every hook, its arguments and its order.

use std::fs;

use super::{PROBE, ask, asks, config, helo};
use crate::harness::{Client, Config, Model, Server, TIMEOUT, poll};

/// Writes down every hook that it is asked at, with its arguments; `name=` for names with values.
const TRACER: &str = r#"
my %quiet = map { $_ => 1 } qw(logging config ok);
sub register {
    my ($self) = @_;
    for my $hook (grep { !$quiet{$_} } @Qpsmtpd::Plugin::hooks) {
        $self->register_hook($hook, sub { shift; shift; $self->trace($hook, @_) });
    }
}
sub trace {
    my ($self, $hook, @args) = @_;
    @args = map { "$args[2 * $_]=" } 0 .. $#args / 2 if $hook eq 'pre-connection';
    open my $file, '>>', '{work}/trace' or die "trace: $!";
    print {$file} join(' ', $hook, map { !defined $_ ? 'undef' : ref $_ eq 'HASH' ? '{' . join(',', %$_) . '}' : "'$_'" } @args), "\n";
    return DECLINED;
}
"#;

fn trace(config: &Config) -> Vec<String> {
    let text = fs::read_to_string(config.path("trace")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn traced(config: Config) -> Config {
    fs::write(config.path("trace"), "").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(config.path("trace"), fs::Permissions::from_mode(0o666)).unwrap();
    config
}

#[test]
fn every_hook_is_run_with_its_arguments() {
    let lines = "tracer\nauth/auth_flat_file\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = traced(config(lines, &[("tracer", TRACER)]));
    config.write("flat_auth_pw", "ali@example.com:secret");
    let one = ["--children", "1", "--idle-children", "1"];
    let server = Server::start_with(&config, Model::Prefork, &one);
    let mut client = server.connect();
    client.expect("220");
    for (line, code) in [
        ("HELO one.test", "250"),
        ("EHLO two.test", "250"),
        ("AUTH PLAIN AGFsaUBleGFtcGxlLmNvbQBzZWNyZXQ=", "235"),
        ("VRFY somebody else", "252"),
        ("NOOP a b", "250"),
        ("HELP me", "214"),
        ("FROB x  y", "500"),
        ("MAIL FROM:<a@example.net> SIZE=10", "250"),
        ("RCPT TO:<\"b c\"@example.com>", "250"),
        ("RCPT TO:<no@example.org>", "250"),
        ("DATA", "354"),
        ("Subject: x\r\n\r\nx\r\n.", "250"),
        ("MAIL FROM:<>", "250"),
        ("RSET", "250"),
        ("QUIT", "221"),
    ] {
        client.ask(line, code);
    }
    client.closed();
    let ended = || trace(&config).contains(&"post-connection".to_owned()).then_some(());
    poll(TIMEOUT, ended).unwrap_or_else(|| panic!("{:?}", trace(&config)));
    server.stop().unwrap();
    let want = "\
        pre-connection 'remote_ip=' 'remote_port=' 'local_ip=' 'local_port=' 'max_conn_ip=' 'child_addrs='
connect
helo_parse 'one.test'
helo 'one.test'
ehlo_parse 'two.test'
ehlo 'two.test'
reset_transaction
auth_parse 'PLAIN AGFsaUBleGFtcGxlLmNvbQBzZWNyZXQ='
auth-plain 'plain' 'ali@example.com' 'secret' undef undef
vrfy 'somebody' 'else'
noop 'a' 'b'
help 'me'
unrecognized_command 'frob' 'x  y'
reset_transaction
mail_parse 'FROM:<a@example.net> SIZE=10'
mail_pre '<a@example.net>' {size,10}
mail '<a@example.net>' 'size' '10'
rcpt_parse 'TO:<\"b c\"@example.com>'
rcpt_pre '<\"b c\"@example.com>' {}
rcpt '<\"b\\ c\"@example.com>'
rcpt_parse 'TO:<no@example.org>'
rcpt_pre '<no@example.org>' {}
rcpt '<no@example.org>'
data
data_headers_end
received_line 'ESMTPA' '(smtp-auth username ali@example.com, mechanism PLAIN) ' ''
data_post_headers
data_post
queue_pre
queue
queue_post
reset_transaction
reset_transaction
mail_parse 'FROM:<>'
mail_pre '<>' {}
mail '<>'
reset_transaction
quit
disconnect
reset_transaction
post-connection";
    let (forked, found): (Vec<_>, Vec<_>) =
        trace(&config).into_iter().partition(|line| line == "post-fork");
    assert_eq!(found.join("\n"), want);
    assert!(!forked.is_empty());
}

const JUDGE: &str = r#"
sub hook_ok { my ($self, $t, $plugin, $code, $text) = @_; $self->note("ok $plugin $code $text") if $plugin =~ /first|rcpt_ok/; DECLINED }
sub hook_deny { my ($self, $t, $plugin, $code, $text) = @_; $self->note("deny $plugin $code $text"); DECLINED }
sub note { my ($self, $text) = @_; my $c = $self->connection; $c->notes(heard => [@{ $c->notes('heard') || [] }, $text]) }
sub do_heard { my ($self) = @_; my @all = @{ $self->connection->notes('heard') || [] }; $self->connection->notes(heard => []); join ',', @all }
"#;

const FIRST: &str = r#"
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    my $user = $recipient->user;
    return (DENYSOFT, 'later') if $user eq 'soft';
    return (OK, 'welcome') if $user eq 'ok';
    return DECLINED;
}
"#;

#[test]
fn answers_are_told_to_the_deny_and_ok_hooks() {
    let judge = [super::PROBE, JUDGE].concat();
    let lines = "judge\nfirst\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("judge", &judge), ("first", FIRST)]);
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("NOOP heard", "250");
    for (user, heard) in [
        ("soft@example.com", "250 deny first 902 later"),
        ("ok@example.com", "250 ok first 900 welcome"),
        ("b@example.com", "250 ok first 909 ,ok rcpt_ok 900 "),
        ("b@example.org", "250 ok first 909 ,deny rcpt_ok 901 Relaying denied (#5.7.1)"),
    ] {
        ask(&mut client, &format!("RCPT TO:<{user}>"));
        asks(&mut client, &[("NOOP heard", heard)]);
    }
    client.quit();
    server.stop().unwrap();
}

const PARSER: &str = r#"
sub hook_mail_parse {
    my ($self, $transaction) = @_;
    return (OK, sub {
        my ($object, $command, $line) = @_;
        return (DENY, 'who are you?') unless $line =~ /^by (\S+)(?: (\w+)=(\w+))?$/;
        return (OK, $1, defined $2 ? "$2=$3" : ());
    });
}
sub hook_mail_pre { my ($self, $t, $path) = @_; return (OK, "<$path>") }
sub hook_rcpt_pre { my ($self, $t, $path) = @_; $path =~ s/\.>$/>/; return (OK, $path) }
sub hook_helo_parse { return (OK, sub { my ($o, $c, $line) = @_; return (OK, "really-$line") }) }
sub hook_mail { my ($self, $t, $sender, %args) = @_; return (DENY, "size $args{size}") if $args{size}; DECLINED }
"#;

#[test]
fn perl_plugins_parse_commands() {
    let config = config("parser\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("parser", PARSER)]);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.expect("220");
    asks(
        &mut client,
        &[
            ("HELO x.test", "250 mail.test Hi localhost [127.0.0.1]; I am so happy to meet you."),
            ("MAIL FROM:<a@example.net>", "501 who are you?"),
            ("MAIL by a@example.net SIZE=7", "550 size 7"),
            (
                "MAIL by a@example.net",
                "250 <a@example.net>, sender OK - how exciting to get mail from you!",
            ),
            ("RCPT TO:<b@example.com.>", "250 <b@example.com>, recipient ok"),
            ("DATA", "354 go ahead"),
        ],
    );
    client.ask("Subject: x\r\n\r\n.", "250");
    client.quit();
    server.stop().unwrap();
    let mail = String::from_utf8(config.mails().remove(0)).unwrap();
    assert!(mail.contains("(HELO really-x.test)"), "{mail}");
}

const OWN: &str = r#"
sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    return (DENY, $self->plugin_name . ' is asked') if $recipient->user eq 'who';
    return $recipient->user eq 'mine' ? OK : DECLINED;
}
"#;
const LATE: &str = r#"
sub register { my ($self) = @_; $self->register_hook('rcpt', 'early', 1); $self->register_hook('rcpt', 'late') }
sub early { my ($self, $t, $recipient) = @_; return $recipient->user eq 'early' ? (DENY, 'early') : DECLINED }
sub late { return (OK, 'late') }
"#;

/// The order is that of `config/plugins`, be a plugin Perl or not; `register_hook` can go first.
#[test]
fn perl_and_native_plugins_take_turns() {
    let plugins = [("own", OWN), ("late", LATE)];
    let queue = "queue/maildir {work}/Maildir";
    for (lines, replies) in [
        ("own\nrcpt_ok\nlate", [550, 250, 250, 550, 550]),
        ("own\nlate\nrcpt_ok", [550, 250, 250, 250, 550]),
        ("rcpt_ok\nown\nlate", [550, 550, 250, 550, 550]),
    ] {
        let config = config(&format!("{lines}\n{queue}"), &plugins);
        let server = Server::start(&config, Model::Inetd);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        let users =
            ["who@far.test", "mine@far.test", "b@example.com", "b@far.test", "early@example.com"];
        let found: [i32; 5] =
            users.map(|user| ask(&mut client, &format!("RCPT TO:<{user}>"))[..3].parse().unwrap());
        assert_eq!(found, replies, "{lines}");
        client.quit();
        server.stop().unwrap();
    }
}

const REPLIER: &str = r#"
sub hook_noop {
    my ($self, $transaction, $what) = @_;
    $self->qp->respond(250, 'first line', 'second line');
    $self->qp->disconnect if $what eq 'away';
    return DONE;
}
sub hook_vrfy { my ($self) = @_; $self->qp->respond(550, 'no'); $self->qp->disconnect; return DONE }
sub hook_quit { my ($self) = @_; $self->qp->respond(221, 'so long', 'and thanks'); return DONE }
sub hook_unrecognized_command { my ($self, $t, $cmd, @args) = @_; return $cmd eq 'bad' ? (DENY_DISCONNECT, "$cmd @args") : DECLINED }
"#;

#[test]
fn perl_plugins_reply_and_hang_up() {
    let config = config("replier\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("replier", REPLIER)]);
    let server = Server::start(&config, Model::Prefork);
    for (line, reply) in [
        ("NOOP away", "250-first line|250 second line"),
        ("VRFY x", "550 no"),
        ("QUIT", "221-so long|221 and thanks"),
        ("BAD word", "521 bad word"),
    ] {
        let mut client = server.connect();
        helo(&mut client);
        asks(&mut client, &[("NOOP stay", "250-first line|250 second line"), (line, reply)]);
        client.closed();
    }
    server.stop().unwrap();
}

const GATE: &str = r#"
sub hook_pre_connection {
    my ($self, $transaction, %args) = @_;
    require Socket;
    my $same = grep { $_ eq Socket::inet_aton($args{remote_ip}) } @{ $args{child_addrs} };
    return (DENY, "no $args{remote_ip}, $same here") if $args{remote_ip} eq '127.0.0.9' || $same > 1;
    $self->{_seen}++;
    return DECLINED;
}
sub hook_post_connection { my ($self) = @_; $self->log(LOGWARN, 'over: ' . $self->connection->remote_ip); return DECLINED }
"#;

/// `pre-connection` runs in the parent, the other end of a connection in the worker.
#[test]
fn perl_plugins_see_connections_come_and_go() {
    for model in Model::PARENTS {
        let config = config("gate\nrcpt_ok\nqueue/maildir {work}/Maildir", &[("gate", GATE)]);
        let server = Server::start(&config, model);
        let mut refused = server.connect_from([127, 0, 0, 9].into());
        assert_eq!(refused.expect("550").lines, ["550 no 127.0.0.9, 0 here"]);
        let mut client = server.connect();
        helo(&mut client);
        let mut second = server.connect();
        helo(&mut second);
        let third = server.connect().expect("550");
        assert_eq!(third.lines, ["550 no 127.0.0.1, 2 here"]);
        second.quit();
        client.quit();
        server.log().wait_for("gate: over: 127.0.0.1");
        server.stop().unwrap();
    }
}

/// What a plugin keeps in `$self` before a client has a process is there in the client's session, as in
/// Debian's connection_time.
#[test]
fn what_is_kept_at_pre_connection_is_there_in_the_session() {
    let keeper = r#"
sub register { my ($self) = @_; $self->{old} = 'here' }
sub hook_pre_connection {
    my ($self, $transaction, %args) = @_;
    $self->{port} = $args{remote_port};
    $self->{list} = [1, {at => 'first'}];
    $self->{code} = sub { 'only here' };
    delete $self->{old};
    return DECLINED;
}
sub do_kept {
    my ($self) = @_;
    my $is_own = $self->{port} == $self->connection->remote_port;
    return ($is_own ? 'own' : $self->{port}, $self->{list}[1]{at}, exists $self->{old} ? 'old' : 'gone');
}
"#;
    let config = config("keeper\nrcpt_ok", &[("keeper", &[PROBE, keeper].concat())]);
    for model in Model::PARENTS {
        let server = Server::start(&config, model);
        let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
        for client in &mut clients {
            helo(client);
            assert_eq!(ask(client, "NOOP kept"), "250 own first gone", "{model}");
        }
        clients.into_iter().for_each(Client::quit);
        for _ in 0..3 {
            let mut client = server.connect();
            helo(&mut client);
            assert_eq!(ask(&mut client, "NOOP kept"), "250 own first gone", "{model}");
            client.quit();
        }
        server.stop().unwrap();
    }
}
