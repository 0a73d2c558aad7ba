package Qpsmtpd::Config;

# Configuration for code that asks a class of its own for it.

use strict;
use warnings;

use Qpsmtpd;

our @ISA = qw(Qpsmtpd);

sub new {
    my ($class) = @_;
    return bless {}, ref $class || $class;
}

1;
