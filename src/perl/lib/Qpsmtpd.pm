package Qpsmtpd;

# The server as Perl plugins see it: what `$self->qp` is.  There is one, for as long as the process
# lives; its connection and its transaction change.

use strict;
use warnings;

use Scalar::Util ();

use Qpsmtpd::Address;
use Qpsmtpd::Base;
use Qpsmtpd::Constants;

our @ISA = ('Qpsmtpd::Base');
our $VERSION = '2.0.0';
our $TraceLevel = 7;
our $Spool_dir;
our $Size_threshold;
our $hooks = {};

my $server = bless {
    _auth => undef,
    _lines => {},
    _commands => { map { $_ => '' } qw(ehlo helo rset mail rcpt data help vrfy noop quit) },
}, 'Qpsmtpd::TcpServer';
@Qpsmtpd::TcpServer::ISA = qw(Qpsmtpd::SMTP);
@Qpsmtpd::SMTP::ISA = qw(Qpsmtpd);

sub the_server { return $server }

sub version { return $VERSION }
sub TRACE_LEVEL { return $TraceLevel }
sub trace_level { return $TraceLevel }
sub init_logger { return $TraceLevel }
sub load_logging { }

# All handlers by hook, or those of one: a list, or a reference to it. What a plugin changes there
# holds in this process.
sub hooks {
    my ($self, $hook) = @_;
    Qpsmtpd::Chain::is_known();
    return $hooks unless $hook;
    return wantarray ? @{ $hooks->{$hook} || [] } : $hooks->{$hook} || [];
}

# An address that knows the session, for what its user has in the configuration.
sub address {
    my ($self, @parts) = @_;
    my $address = Qpsmtpd::Address->new(@parts);
    $address->qp($server) if $address;
    return $address;
}

sub connection {
    my $self = shift;
    $server->{_connection} = shift if @_;
    return $server->{_connection} ||= Qpsmtpd::Connection->new;
}

sub transaction {
    return $server->{_transaction} ||= Qpsmtpd::Transaction->new;
}

sub reset_transaction {
    my ($self) = @_;
    Qpsmtpd::Host::ask('reset_transaction');
    return $self->transaction;
}

# ------------------------------------------------------------------------------------- log

sub log {
    my ($self, $level, @text) = @_;
    $self->varlog($level, join ' ', map { defined $_ ? $_ : '' } @text);
}

# With two arguments more than the level, they are the hook and the text; with more, the hook, the
# plugin and the text.  The worker knows which plugin runs in which hook.
sub varlog {
    my ($self, $level, @rest) = @_;
    splice @rest, 0, @rest == 2 ? 1 : 2 if @rest > 1;
    Qpsmtpd::Log::line($level, join ' ', map { defined $_ ? $_ : '' } @rest);
}

# ----------------------------------------------------------------------------------- config

# `config(NAME)`, `config(NAME, "map")`, or `config(NAME, $address)` for what one recipient wants.
# Some plugins give a hash, which has never meant anything.
sub config {
    my ($self, $name, $type) = @_;
    if (defined $type && !ref $type && $type eq 'map') {
        require Qpsmtpd::Map;
        return Qpsmtpd::Map::of($name);
    }
    my @lines;
    if (Scalar::Util::blessed($type)) {
        @lines = @{ Qpsmtpd::Host::ask('user_config', Qpsmtpd::State::parts($type), $name) };
    }
    else {
        @lines = $self->config_lines($name);
    }
    return wantarray ? @lines : $lines[0];
}

sub config_lines {
    my ($self, $name) = @_;
    if ($Qpsmtpd::Host::LOADING) {
        for my $handler (@{ $hooks->{config} || [] }) {
            my ($code, @lines) = $handler->{code}->($server, $self->transaction, $name);
            return @lines if defined $code && $code == OK;
        }
        return @{ Qpsmtpd::Host::ask('config', $name) };
    }
    # Plugins that give configuration may say something else every time.
    return @{ Qpsmtpd::Host::ask('config', $name) }
        if $hooks->{config} || !Qpsmtpd::State::keeps_config();
    return @{ $server->{_lines}{$name} ||= Qpsmtpd::Host::ask('config', $name) };
}

sub get_qmail_config { return shift->config(@_) }
sub clear_config_cache { $server->{_lines} = {} }

# The configuration as an object.
sub conf {
    require Qpsmtpd::Config;
    return $server->{_config} ||= Qpsmtpd::Config->new;
}

sub config_dir {
    my ($self, $name) = @_;
    return Qpsmtpd::Host::ask('config_dir', $name);
}

sub plugin_dirs {
    return @{ Qpsmtpd::Host::ask('plugin_dirs') };
}

# ---------------------------------------------------------------------------------- session

sub respond {
    my ($self, $code, @lines) = @_;
    Qpsmtpd::Host::notify('respond', $code, join "\n", map { defined $_ ? $_ : '' } @lines);
    return 1;
}

sub fault {
    my ($self, $text) = @_;
    $text = 'program fault - command not performed' unless defined $text;
    return $self->respond(451, "Internal error - try again later - $text");
}

sub disconnect { Qpsmtpd::Host::notify('disconnect') }

sub authenticated { return _or_nothing('_auth') }
sub auth_user { return _or_nothing('_auth_user') }
sub auth_mechanism { return _or_nothing('_auth_mechanism') }

sub _or_nothing {
    my ($name) = @_;
    return defined $server->{$name} ? $server->{$name} : '';
}

sub command_counter { return Qpsmtpd::Host::ask('commands') }

# Asks all plugins, native ones too; what they answer comes back and nothing is said to the client.
sub run_hooks_no_respond {
    my ($self, $hook, @args) = @_;
    @args = map { Scalar::Util::blessed($_) ? Qpsmtpd::State::parts($_) : $_ } @args;
    return @{ Qpsmtpd::Chain::apart(sub { Qpsmtpd::Host::ask('run_hooks', $hook, @args) }) };
}

sub run_hooks { return shift->run_hooks_no_respond(@_) }

sub _register_hook {
    my ($self, $hook, $entry, $first) = @_;
    Qpsmtpd::Chain::add($hook, $entry, $first);
}

# --------------------------------------------------------------------------------- plugins

# Loads a line of a plugin's own list, `name arguments`, from these folders: for those that choose
# plugins by client.
sub _load_plugin {
    my ($self, $line, @folders) = @_;
    my ($name, @args) = split ' ', $line;
    (my $file_name = $name) =~ s/:\d+\z//;
    my $class;
    if ($name =~ /::/) {
        $class = Qpsmtpd::Plugin::load_module($file_name);
    }
    else {
        my ($file) = grep { -f } map { "$_/$file_name" } @folders ? @folders : $self->plugin_dirs;
        $file or die "there is no plugin '$name' in ", join(', ', @folders), "\n";
        my $why = Qpsmtpd::Host::ask('cannot_work', $file);
        die "$file cannot work here: $why; the native plugin peers takes native plugins\n" if $why;
        $class = Qpsmtpd::Plugin::load_file($name, $file);
    }
    my $plugin = $class->new;
    $plugin->_register($server, @args);
    return $plugin;
}

sub load_plugins {
    my ($self) = @_;
    return map { $self->_load_plugin($_, $self->plugin_dirs) } $self->config('plugins');
}

# ------------------------------------------------------------------------------------ spool

sub spool_dir {
    return $Spool_dir ||= Qpsmtpd::Host::ask('spool_dir');
}

sub size_threshold {
    my ($self) = @_;
    return $self->config('size_threshold') || 0;
}

# A name only.  The time, the process and a count make it the only one of that name; the worker's
# process id lets the daemon find what a process left behind.
my $count = 0;

sub temp_file {
    my ($self) = @_;
    return $self->spool_dir . join ':', time, $$, $count++;
}

sub temp_dir {
    my ($self, $mode) = @_;
    my $name = $self->temp_file;
    mkdir $name, defined $mode ? $mode : 0700 or die "cannot make the folder $name: $!\n";
    return $name;
}

sub DESTROY { }

1;
