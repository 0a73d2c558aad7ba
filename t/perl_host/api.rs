//! The methods and attributes of 1.00 and 0.94.

use super::{PROBE, ask, asks, config, helo, plugin};
use crate::harness::{Client, Model, Server};

const KNOWS: &str = r#"
sub hook_auth_plain { my ($self, $t, $mechanism, $user, $clear) = @_; return $clear eq 'x' ? (OK, 'yes') : DENY }
sub do_auth {
    my ($self) = @_;
    my $qp = $self->qp;
    return ($qp->authenticated || '-', map { defined $_ ? $_ : 'undef' } @{$qp}{qw(_auth _auth_user _auth_mechanism)},
        $self->auth_user || '-', $qp->auth_mechanism || '-');
}
sub do_sets { my ($self) = @_; @{ $self->qp }{qw(_auth _auth_user _auth_mechanism)} = (OK, 'by@me', 'own'); 'set' }
sub do_relay { my ($self) = @_; $self->connection->relay_client(1) }
sub do_note { my ($self, $t) = @_; return shown($t->notes('rcpt_ok')) }
sub do_result { my ($self, $t) = @_; return $t->notes('rcpt_ok')->{hook_rcpt}{return} }
sub do_environment { return join ' ', map { defined $ENV{$_} ? $_ =~ /PORT/ ? 'port' : $ENV{$_} : 'undef' } qw(TCPREMOTEIP TCPREMOTEPORT TCPLOCALIP) }
sub do_asks {
    my ($self) = @_;
    my @config = $self->qp->run_hooks('config', 'none');
    my @rcpt = map { $self->qp->run_hooks_no_respond('rcpt', Qpsmtpd::Address->new("<b\@$_>")) } qw(example.com elsewhere.test);
    return join ' ', @config, @rcpt[0, 1];
}
sub do_shapes {
    my ($self, $t) = @_;
    my $bare = $t->notes('rcpt_ok');
    my $deep = $t->notes('rcpt_ok')->{'hook_rcpt'}{return};
    my $over_lines = $t
        ->notes('rcpt_ok')
        ->{hook_rcpt}{return};
    my $after = $t->notes('rcpt_ok');
    return (shown($bare), $deep, $over_lines, shown($after));
}
sub do_hash { my ($self, $t) = @_; $t->notes(rcpt_ok => {mine => 1}); my $note = $t->notes('rcpt_ok'); return shown($note) }
sub hook_user_config { my ($self, $t, $address, $name) = @_; return $name eq 'own' ? (OK, 'for ' . $address->user) : DECLINED }
sub hook_rcpt { my ($self, $t, $to) = @_; $self->connection->notes(own => scalar $to->config('own')); return DECLINED }
sub do_own { return $_[0]->connection->notes('own') }
sub do_address {
    my ($self) = @_;
    my $address = $self->qp->address('<Some.Body@example.com>');
    my ($user, undef, $why) = Qpsmtpd::Address->canonify('no path');
    return ($address->config('own'), $address->qp == $self->qp ? 'same' : 'other', defined $user ? $user : 'undef', $why);
}
sub hook_config { my ($self, $t, $name) = @_; return $name eq 'nothing' ? (OK, undef) : DECLINED }
sub do_nothing { my ($self) = @_; my @all = $self->qp->config('nothing'); return (scalar @all, shown(scalar $self->qp->config('nothing'))) }
sub do_size { my $own = Qpsmtpd::Transaction->new; $own->{_body_size} = 7; return ($own->data_size, $_[1]->data_size) }
sub do_write { my ($self, $t) = @_; $t->body_write("12345\n"); return ($t->data_size, $t->body_as_string) }
sub do_conf {
    my ($self) = @_;
    my $conf = $self->qp->conf;
    return ($conf->config($self->qp, 'me'), $conf->from_file('rcpthosts'), $conf->default('timeout'), ref $conf);
}
sub do_ip {
    my ($self, $t, $ip) = @_;
    return map { $_->is_localhost($ip), $_->is_valid_ip($ip), $_->is_ipv6($ip) } $self, $self->qp, $t;
}
sub do_tabs { my ($self) = @_; $self->log(LOGNOTICE, "one\ttwo"); 'said' }
sub do_hooks { my ($self) = @_; my @all = $self->qp->hooks('rcpt'); return (scalar @all, $all[0]{name}, scalar $self->qp->hooks('vrfy')) }
sub hook_helo_parse { return (OK, sub { my ($self, $command, $line) = @_; return (OK, split / /, $line) }) }
sub hook_helo { my ($self, $t, @all) = @_; $self->connection->notes(helo => "@all"); return DECLINED }
sub do_helo { return $_[0]->connection->notes('helo') }
sub do_module { require Of::The::Site; return Of::The::Site::name() }
"#;

fn knows() -> crate::harness::Config {
    let lines = "knows\nrcpt_ok\nqueue/maildir {work}/Maildir";
    let config = config(lines, &[("knows", &[PROBE, KNOWS].concat())]);
    std::fs::create_dir_all(config.path("lib/Of/The")).unwrap();
    // What the hook config says of it comes first, even that there is nothing.
    config.write("nothing", "something");
    let module = "package Of::The::Site; sub name { return 'from lib' } 1;";
    std::fs::write(config.path("lib/Of/The/Site.pm"), module).unwrap();
    config
}

#[test]
fn plugins_know_who_has_authenticated() {
    let config = knows();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    client.hello();
    asks(
        &mut client,
        &[
            ("NOOP auth", "250 2.0.0 - undef undef undef - -"),
            ("AUTH PLAIN AGFsaQB4", "235 2.7.0 PLAIN authentication successful for ali - yes"),
            ("NOOP auth", "250 2.0.0 900 900 ali plain ali plain"),
        ],
    );
    client.quit();
    // The next session of the same process knows nothing of it, and can be told.
    let mut client = server.connect();
    client.hello();
    asks(
        &mut client,
        &[
            ("NOOP auth", "250 2.0.0 - undef undef undef - -"),
            ("NOOP sets", "250 2.0.0 set"),
            ("NOOP auth", "250 2.0.0 900 900 by@me own by@me own"),
        ],
    );
    assert!(ask(&mut client, "AUTH PLAIN AGFsaQB4").starts_with("503"));
    client.quit();
    server.stop().unwrap();
}

/// A note is what was noted; what a handler has answered is there where it is asked for.
#[test]
fn a_plugins_name_is_a_note_like_any_other() {
    let config = knows();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    asks(
        &mut client,
        &[
            ("NOOP note", "250 undef"),
            ("NOOP result", "250 900"),
            ("NOOP shapes", "250 undef 900 900 undef"),
            ("NOOP hash", r#"250 {"hook_rcpt" => {"return" => 900},"mine" => 1}"#),
        ],
    );
    client.quit();
    server.stop().unwrap();
}

#[test]
fn addresses_configuration_and_hooks_are_those_of_1_00() {
    let config = knows();
    let server = Server::start(&config, Model::Prefork);
    let mut client: Client = server.connect();
    client.expect("220");
    client.ask("HELO one two three", "250");
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<b@example.com>", "250");
    asks(
        &mut client,
        &[
            ("NOOP helo", "250 one two three"),
            ("NOOP own", "250 for b"),
            ("NOOP address", "250 for Some.Body same undef no angle brackets"),
            ("NOOP conf", "250 mail.test example.com .example.org 1200 Qpsmtpd::Config"),
            ("NOOP ip 127.0.0.1", "250 1 1 0 1 1 0 1 1 0"),
            ("NOOP ip 2001:db8::1", "250 0 1 1 0 1 1 0 1 1"),
            ("NOOP nothing", "250 0 undef"),
            ("NOOP size", "250 7 0"),
            ("NOOP write", "250 6 12345"),
            ("NOOP tabs", "250 said"),
            ("NOOP environment", "250 127.0.0.1 port 127.0.0.1"),
            ("NOOP asks", "250 909 900 901"),
            ("NOOP module", "250 from lib"),
        ],
    );
    let hooks = ask(&mut client, "NOOP hooks");
    assert!(hooks.starts_with("250 1 knows ARRAY("), "{hooks}");
    server.log().wait_for("knows: one\ttwo");
    client.quit();
    server.stop().unwrap();
}

/// A number that is a part of a code has always ended the chain, without a decision.
#[test]
fn a_handler_that_returns_1_ends_the_chain() {
    let lines = "odd\nbadrcptto\nqueue/maildir {work}/Maildir";
    let odd =
        "sub hook_rcpt { my ($self, $t, $to) = @_; return $to->user eq 'one' ? 1 : DECLINED }";
    let config = config(lines, &[("odd", odd)]);
    config.write("badrcptto", "one@example.com\ntwo@example.com");
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    helo(&mut client);
    client.ask("MAIL FROM:<a@example.net>", "250");
    client.ask("RCPT TO:<one@example.com>", "450");
    client.ask("RCPT TO:<two@example.com>", "550");
    client.quit();
    server.stop().unwrap();
}

/// What a program says that does not start.
fn refusal(config: &crate::harness::Config) -> String {
    let output = Server::command(config, Model::Prefork, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_a_plugin_says_before_it_dies_is_shown() {
    for (end, says) in [("die \"no more\\n\"", "no more"), ("exit 1", "the Perl process died")] {
        let text =
            format!("sub register {{ my ($self) = @_; $self->log(LOGWARN, 'I am ill'); {end} }}");
        let config = config("ill\nrcpt_ok", &[("ill", &text)]);
        let failed = refusal(&config);
        assert!(failed.contains("ill: I am ill"), "{failed}");
        assert!(failed.contains(says), "{failed}");
    }
}

/// A configuration with the older name finds the file of the newer one.
#[test]
fn older_names_find_perl_files() {
    let resolves =
        "sub hook_mail { my ($self, $t, $from) = @_; return (DENY, 'as ' . $self->plugin_name) }";
    let config = config("require_resolvable_fromhost\nrcpt_ok\nqueue/maildir {work}/Maildir", &[]);
    plugin(&config, "resolvable_fromhost", resolves);
    let server = Server::start(&config, Model::Forkserver);
    let mut client = server.connect();
    helo(&mut client);
    asks(&mut client, &[("MAIL FROM:<a@example.net>", "550 as require_resolvable_fromhost")]);
    client.quit();
    server.stop().unwrap();
}

/// One start says all that has to be installed.
#[test]
fn all_that_is_missing_is_told_at_once() {
    let lines = "no_such\nrcpt_ok\nneeds\nanother/one x\nNo::Such::Plugin\nlistens\nqueue/discard";
    let plugins = [
        ("needs", "use No::Such::Module;\nsub hook_rcpt { }\n"),
        ("listens", "sub hook_connect { my $line = <STDIN>; }\n"),
    ];
    let config = config(lines, &plugins);
    let failed = refusal(&config);
    let folder = config.path("plugins");
    for (number, says) in [
        (
            1,
            format!(
                "unknown plugin 'no_such': it is not native, and there is no Perl file of that name in {}",
                folder.display()
            ),
        ),
        (
            3,
            format!(
                "needs: its Perl file {} needs the Perl module No::Such::Module, which is not installed",
                folder.join("needs").display()
            ),
        ),
        (4, "unknown plugin 'another/one': it is not native".into()),
        (5, "No::Such::Plugin: the Perl module No::Such::Plugin is not installed".into()),
        (6, "listens cannot work here: it reads from the client's socket".into()),
    ] {
        let line = failed.lines().find(|line| line.contains(&format!("plugins:{number}: ")));
        assert!(line.is_some_and(|line| !line.contains("@INC")), "{number}: {failed}");
        assert!(line.is_some_and(|line| line.contains(&says)), "{number}: {failed}");
    }
}
