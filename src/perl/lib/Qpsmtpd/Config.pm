# The configuration, for those who ask an object for it: `$qp->conf`.
#
# Replaces the Qpsmtpd::Config of Perl qpsmtpd.
package Qpsmtpd::Config;

use strict;
use warnings;

use Sys::Hostname ();

use Qpsmtpd;

our @ISA = qw(Qpsmtpd);

# What a setting is where there is no file.
our %defaults = (me => Sys::Hostname::hostname(), timeout => 1200);

sub new {
    my ($class) = @_;
    return bless {}, ref $class || $class;
}

# `config($qp, NAME, more)`; who asks in the old way, without $qp, is answered, too.
sub config {
    my ($self, @words) = @_;
    shift @words if ref $words[0];
    return $self->SUPER::config(@words);
}

sub clear_cache { return $_[0]->clear_config_cache }

sub default {
    my ($self, $name) = @_;
    return exists $defaults{$name} ? $defaults{$name} : ();
}

# What plugins have no part in: a map, or the lines of a file.
sub get_qmail {
    my ($self, $name, $type) = @_;
    return defined $type && !ref $type && $type eq 'map' ? $self->get_qmail_map($name) : $self->from_file($name);
}

sub get_qmail_map {
    my ($self, $name) = @_;
    return $self->SUPER::config($name, 'map');
}

# The lines of a file of the configuration, or of `$path`.
sub from_file {
    my ($self, $name, $path) = @_;
    my @lines = defined $path ? _lines_of($path) : @{ Qpsmtpd::Host::ask('config_file', $name) };
    return wantarray ? @lines : $lines[0];
}

sub _lines_of {
    my ($path) = @_;
    open my $file, '<', $path or return;
    my @lines = <$file>;
    s/^\s+|\s+\z//g for @lines;
    return grep { /^[^#]/ } @lines;
}

1;
