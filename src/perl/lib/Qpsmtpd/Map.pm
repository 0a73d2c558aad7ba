package Qpsmtpd::Map;

# `config(NAME, "map")`: a hash of which each key is looked up in NAME.cdb when it is asked for.

use strict;
use warnings;

sub of {
    my ($name) = @_;
    tie my %map, __PACKAGE__, $name;
    return \%map;
}

sub TIEHASH {
    my ($class, $name) = @_;
    return bless { name => $name }, $class;
}

sub FETCH {
    my ($self, $key) = @_;
    my $name = $self->{name};
    my $missing = Qpsmtpd::the_server()->{_missing_maps} ||= {};
    return undef if $missing->{$name};
    my $value = Qpsmtpd::Host::ask('map', $name, $key);
    return $value unless ref $value;
    # There is no such map, and for this session there will be none.
    $missing->{$name} = 1 if Qpsmtpd::State::keeps_config();
    return undef;
}

sub EXISTS {
    my ($self, $key) = @_;
    return defined $self->FETCH($key);
}

sub FIRSTKEY {
    my ($self) = @_;
    $self->{keys} = Qpsmtpd::Host::ask('map_keys', $self->{name});
    return shift @{ $self->{keys} };
}

sub NEXTKEY {
    my ($self) = @_;
    return shift @{ $self->{keys} };
}

sub SCALAR {
    my ($self) = @_;
    return scalar @{ Qpsmtpd::Host::ask('map_keys', $self->{name}) };
}

sub STORE { die "the maps of the configuration cannot be changed\n" }
sub DELETE { die "the maps of the configuration cannot be changed\n" }
sub CLEAR { die "the maps of the configuration cannot be changed\n" }

1;
