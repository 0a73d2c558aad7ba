//! Configuration, inheritance, instances, modules.

use std::fs;

use super::{PROBE, asks, config, helo};
use crate::harness::{Model, Server};

const QUEUE: &str = "queue/maildir {work}/Maildir";

const PROVIDER: &str = r#"
sub hook_config {
    my ($self, $transaction, $name) = @_;
    return (OK, 'one', "for " . ($self->connection->remote_ip || 'nobody')) if $name eq 'provided';
    return (OK, 'example.com', 'provided.example') if $name eq 'rcpthosts';
    return (OK) if $name eq 'empty';
    die "no such thing\n" if $name eq 'broken';
    return DECLINED;
}
sub hook_user_config {
    my ($self, $transaction, $address, $name) = @_;
    return (OK, $address->user . " likes $name") if $name eq 'taste' && $address->host eq 'example.com';
    return DECLINED;
}
"#;

const ASKER: &str = r#"
use Qpsmtpd::Address;
sub do_list { my ($self, $t, $name) = @_; my @all = $self->qp->config($name); return join '/', @all }
sub do_one { my ($self, $t, $name) = @_; return scalar $self->qp->config($name) }
sub do_own { my ($self, $t, $name) = @_; return scalar $self->config($name) }
sub do_user { my ($self, $t, $path, $name) = @_; return scalar $self->qp->config($name, Qpsmtpd::Address->new($path)) }
sub do_map { my ($self, $t, $name, $key) = @_; my $map = $self->qp->config($name, 'map'); return $map->{$key} }
sub do_keys { my ($self, $t, $name) = @_; return join '/', sort keys %{ $self->qp->config($name, 'map') } }
"#;

#[test]
fn configuration_comes_from_files_maps_and_perl_plugins() {
    let asker = [PROBE, ASKER].concat();
    let lines = format!("provider\nasker\nrcpt_ok\n{QUEUE}");
    let config = config(&lines, &[("provider", PROVIDER), ("asker", &asker)]);
    config.write("simple", "# a comment\nfirst line\n\nsecond");
    config.write("people", "zero: 0");
    let mut map = cdb2::CDBWriter::create(config.path("config/people.cdb")).unwrap();
    map.add(b"ali", b"boss").unwrap();
    map.add(b"bob", b"").unwrap();
    map.finish().unwrap();
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    let first = "250 <b@provided.example>, recipient ok";
    asks(
        &mut client,
        &[
            ("NOOP list simple", "250 first line/second"),
            ("NOOP one simple", "250 first line"),
            ("NOOP own me", "250 mail.test"),
            ("NOOP one nothing", "250 undef"),
            ("NOOP list provided", "250 one/for 127.0.0.1"),
            ("NOOP list empty", "250 "),
            ("NOOP user <ali@example.com> taste", "250 ali likes taste"),
            ("NOOP user <ali@example.net> simple", "250 first line"),
            ("NOOP map people ali", "250 boss"),
            ("NOOP map people bob", "250 "),
            ("NOOP map people eve", "250 undef"),
            ("NOOP keys people", "250 ali/bob"),
            ("NOOP one broken", "451 Internal error - try again later"),
        ],
    );
    client.ask("MAIL FROM:<a@example.net>", "250");
    asks(&mut client, &[("RCPT TO:<b@provided.example>", first)]);
    client.quit();
    server.stop().unwrap();
}

const PARENT: &str = r#"
sub register { my ($self, $qp, @args) = @_; $self->{_word} = $args[0] || 'none' }
sub hook_vrfy { my ($self) = @_; return (OK, $self->plugin_name . " $self->{_word} " . $self->manner) }
sub manner { 'parent' }
"#;
const CHILD: &str = r#"
sub init { my ($self, $qp, @args) = @_; $self->isa_plugin('family/parent'); $self->set_isa_plugin_args('given') if @args > 1 }
sub manner { my $self = shift; return 'child of ' . $self->SUPER::manner }
"#;
const RCPT_CHILD: &str = r#"
sub init { my ($self) = @_; $self->isa_plugin('rcpt_ok') }
sub hook_rcpt {
    my ($self, $transaction, $recipient, @rest) = @_;
    return (DENY, 'not you') if $recipient->user eq 'nobody';
    my ($code, @text) = $self->SUPER::hook_rcpt($transaction, $recipient, @rest);
    return $code == DENY ? (DENYSOFT, "later: @text") : ($code, @text);
}
"#;

#[test]
fn perl_plugins_inherit_from_perl_and_native_plugins() {
    for (line, text) in [
        ("child", "250 child none child of parent"),
        ("child own", "250 child own child of parent"),
        ("child own args", "250 child given child of parent"),
    ] {
        let lines = format!("{line}\nrcpt_child\n{QUEUE}");
        let plugins = [("family/parent", PARENT), ("child", CHILD), ("rcpt_child", RCPT_CHILD)];
        let config = config(&lines, &plugins);
        let server = Server::start(&config, Model::Inetd);
        let mut client = server.connect();
        helo(&mut client);
        client.ask("MAIL FROM:<a@example.net>", "250");
        asks(
            &mut client,
            &[
                ("VRFY x", text),
                ("RCPT TO:<nobody@example.com>", "550 not you"),
                ("RCPT TO:<b@example.com>", "250 <b@example.com>, recipient ok"),
                ("RCPT TO:<b@far.test>", "450 later: Relaying denied (#5.7.1)"),
            ],
        );
        client.quit();
        server.stop().unwrap();
    }
}

const COUNTED: &str = r#"
my $loaded = 0;
sub register { my ($self, $qp, @args) = @_; $self->{_args} = "@args"; $self->{_nth} = ++$loaded }
sub hook_noop {
    my ($self, $t, $name) = @_;
    return DECLINED unless $name eq $self->{_args};
    $self->qp->respond(250, $self->plugin_name . " $self->{_nth}");
    return DONE;
}
"#;
const MODULE: &str = r#"
package My::Plugin;
use strict;
use warnings;
use Qpsmtpd::Constants;
use parent -norequire, 'Qpsmtpd::Plugin';
require Qpsmtpd::Plugin;
sub hook_noop {
    my ($self, $t, $name) = @_;
    return DECLINED unless $name eq 'module';
    $self->qp->respond(250, $self->plugin_name);
    return DONE;
}
1;
"#;

/// Each line of `config/plugins` is a plugin of its own, with variables of its own.
#[test]
fn instances_are_apart_and_modules_are_plugins() {
    let lines = format!("counted a\ncounted:0 b\ncounted:1 c\nMy::Plugin\nrcpt_ok\n{QUEUE}");
    let config = config(&lines, &[("counted", COUNTED)]);
    fs::create_dir_all(config.path("lib/My")).unwrap();
    fs::write(config.path("lib/My/Plugin.pm"), MODULE).unwrap();
    let lib = config.path("lib").display().to_string();
    let config = config.env("PERL5LIB", &lib);
    let server = Server::start(&config, Model::Prefork);
    let mut client = server.connect();
    helo(&mut client);
    asks(
        &mut client,
        &[
            ("NOOP a", "250 counted 1"),
            ("NOOP b", "250 counted_3a0 1"),
            ("NOOP c", "250 counted_3a1 1"),
            ("NOOP module", "250 My::Plugin"),
            ("NOOP d", "250 OK"),
        ],
    );
    client.quit();
    server.stop().unwrap();
}

/// What is wrong with a plugin is said when it is loaded.
#[test]
fn plugins_that_cannot_be_loaded_are_named() {
    for (text, why) in [
        ("sub hook_rcpt { my $x = ; }", "syntax error"),
        ("sub register { die \"no such user\\n\" }", "broken: no such user"),
        (
            "sub init { $_[0]->isa_plugin('no_such_plugin') }",
            "unknown plugin 'no_such_plugin' to inherit from",
        ),
        ("sub register { $_[0]->register_hook('lunch', 'eat') }", "there is no hook 'lunch'"),
        ("use No::Such::Module;", "needs the Perl module No::Such::Module"),
        ("sub register { exit 3 }", "the Perl process died"),
    ] {
        let config = config(&format!("rcpt_ok\nbroken\n{QUEUE}"), &[("broken", text)]);
        let failed = Server::try_start(&config, Model::Prefork, &[]).err();
        let said = failed.unwrap_or_else(|| panic!("{text} can be loaded"));
        assert!(
            said.contains("config/plugins:2: broken: ") && said.contains(why),
            "{text}: {said}"
        );
        config.nothing_left().unwrap();
    }
}
