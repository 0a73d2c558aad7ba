# The daemon's own store (config/store), which native plugins use, too: shared by all processes, and
# with Redis by hosts.  Every entry ends by itself.
#
#     my $store = Qpsmtpd::DB::Store->new(name => $self->plugin_name);
#     my $count = $store->update($ip, 3600, sub { ($_[0] || 0) + 1 });
#
# It can be used while a session lasts, not when the plugin is loaded or at pre-connection.  Without the
# store its methods die.
package Qpsmtpd::DB::Store;

use strict;
use warnings;

use Qpsmtpd::DB;

our @ISA = ('Qpsmtpd::DB');

# For how many seconds an entry is kept where nothing is said.
use constant MONTH => 30 * 24 * 3600;

# Arguments in pairs: name, by which `qpsmtpd --store list` shows the entries.
sub new {
    my ($class, %arg) = @_;
    my $name = $arg{name};
    die "the store needs a name\n" unless defined $name && length $name;
    return bless { name => $name }, $class;
}

sub get {
    my ($self, $key) = @_;
    return unless $self->_has_key(get => $key);
    return Qpsmtpd::Host::ask('store_get', $self->{name}, $key);
}

sub mget {
    my ($self, @keys) = @_;
    return unless $self->_has_key(mget => @keys);
    return map { $self->get($_) } @keys;
}

sub set {
    my ($self, $key, $value, $seconds) = @_;
    return unless $self->_has_key(set => $key);
    $self->update($key, $seconds, sub { $value });
    return 1;
}

# Changes the value as the function says, which is given the old one, undef for none, and returns the
# new one, undef to forget it.  Where another process comes in between, the function is asked again.
sub update {
    my ($self, $key, $seconds, $change) = @_;
    return unless $self->_has_key(update => $key);
    $seconds = MONTH unless defined $seconds;
    while (1) {
        my $old = Qpsmtpd::Host::ask('store_get', $self->{name}, $key);
        my $new = $change->($old);
        my @all = ($self->{name}, $key, $old, $new, int $seconds);
        return $new if Qpsmtpd::Host::ask('store_swap', @all);
    }
}

# How many of these keys there were.
sub delete {
    my ($self, @keys) = @_;
    return unless $self->_has_key(delete => @keys);
    my $count = 0;
    for my $key (@keys) {
        $self->update($key, 0, sub { $count++ if defined $_[0]; return undef });
    }
    return $count;
}

sub get_keys { return @{ Qpsmtpd::Host::ask('store_keys', $_[0]{name}) } }
sub size { return scalar(my @keys = $_[0]->get_keys) }

sub flush {
    my ($self) = @_;
    my @keys = $self->get_keys;
    return @keys ? $self->delete(@keys) : 0;
}

1;
