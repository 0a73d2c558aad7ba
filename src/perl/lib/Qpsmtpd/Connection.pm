package Qpsmtpd::Connection;

# The client's connection as Perl plugins see it.  Every field can be read and set; a client's name
# is looked up when it is first asked for.

use strict;
use warnings;

our @FIELDS = qw(remote_host remote_ip remote_info remote_port local_ip local_port relay_client
    hello hello_host);

for my $name (@FIELDS) {
    my $field = "_$name";
    no strict 'refs';
    *$name = sub {
        my $self = shift;
        $self->{$field} = shift if @_;
        return $self->{$field};
    };
}

for my $name (qw(remote_host remote_info)) {
    my $field = "_$name";
    no strict 'refs';
    no warnings 'redefine';
    *$name = sub {
        my $self = shift;
        $self->{$field} = shift if @_;
        $self->{$field} = Qpsmtpd::Host::ask($name)
            if !defined $self->{$field} && $self == Qpsmtpd::the_server()->connection
            && defined $self->{_remote_ip};
        return $self->{$field};
    };
}

sub new {
    my ($class) = @_;
    return bless {}, ref $class || $class;
}

sub start {
    my ($self, %args) = @_;
    $self = $self->new unless ref $self;
    for my $name (@FIELDS) {
        $self->$name($args{$name}) if $args{$name};
    }
    return $self;
}

sub clone {
    my ($self, %args) = @_;
    my @known = grep { $self->{$_} } '_notes', map { "_$_" } @FIELDS;
    my $copy = $self->new;
    @{$copy}{@known} = @{$self}{@known};
    $self->reset if !$args{no_reset};
    return $copy;
}

sub reset {
    my ($self) = @_;
    $self->{_notes} = undef;
    return $self->new;
}

# The note `tls_socket` is there under TLS, for the plugins that ask it for the cipher.
sub notes {
    my ($self, $name, @value) = @_;
    return $self->{_notes}{$name} = $value[0] if @value;
    return bless { %$self }, 'Qpsmtpd::Connection::Tls'
        if $name eq 'tls_socket' && $self->{_tls_cipher} && !defined $self->{_notes}{$name};
    return $self->{_notes}{$name};
}

package Qpsmtpd::Connection::Tls;

sub get_cipher { return $_[0]{_tls_cipher} }
sub get_sslversion { return $_[0]{_tls_protocol} }

1;
